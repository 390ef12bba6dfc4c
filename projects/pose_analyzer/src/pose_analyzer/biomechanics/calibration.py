"""Fits the constants of `keypoint_sigma` to keypoints whose true places are known.

Errors have heavier tails than the normal distribution: most readings are better than their band says, and a few frames, in
which the network takes one thing for another, are far worse. The shape is therefore fitted by Student's t with 4 degrees of
freedom, which such frames do not dominate; the size of the bands is then set so that both promises, 68 % within one and 95 %
within two standard deviations, are missed by as little as possible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from pose_analyzer.biomechanics.consensus import view_basis
from pose_analyzer.biomechanics.geometry import Array
from pose_analyzer.biomechanics.keypoint_sigma import FEATURES, SigmaModel, person_size_px, sigma_features
from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import Skeleton

_FREEDOM = 4.0
_LEAST_SAMPLES = 50
_NEAR_DEG = 60.0  # errors above it count by their size, below it by their square
_COMMON_SHARE = 0.1
_SHRINK = 0.01  # of weights that tell an angle's error: what says little says nothing
GOALS = ((1.0, 0.68, 0.08), (2.0, 0.95, 0.04))
"""Band in standard deviations, share of readings that it should hold, how far off that may be."""


class Coverage(NamedTuple):
    """Share of errors within one and two standard deviations, 0..1, of how many."""

    within_1: float
    within_2: float
    readings: int

    @property
    def met(self) -> bool:
        """Whether both shares lie within `GOALS`."""
        return all(abs(share - goal) <= margin for share, (_, goal, margin) in zip(self[:2], GOALS, strict=True))


def coverage(error: Array, sigma: Array) -> Coverage:
    """How many errors lie within their bands; missing ones are left out.

    Example:
        >>> coverage(np.array([0.5, -1.5, 3.0, np.nan]), np.ones(4))
        Coverage(within_1=0.3333333333333333, within_2=0.6666666666666666, readings=3)
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.abs(np.asarray(error) / np.asarray(sigma))
    z = z[np.isfinite(z)]
    return Coverage(float((z <= 1).mean()), float((z <= 2).mean()), len(z)) if len(z) else Coverage(np.nan, np.nan, 0)


def fit_keypoints(samples: Iterable[tuple[Poses, NDArray[Any]]], *, about: Mapping[str, Any] | None = None) -> SigmaModel:
    """A model without angles from people and the true places of their keypoints.

    Args:
        samples: `Poses` of n people of one skeleton, and (n, k, 2) px where their keypoints truly are.
        about: Where the samples come from.

    Raises:
        ValidationError: There are fewer than 50 samples, or several skeletons.
    """
    features, errors, skeleton = _gathered(samples)
    parts = sorted({_part(n) for n in skeleton.keypoints})
    column = np.array([parts.index(_part(n)) for n in skeleton.keypoints])
    flat = features.reshape(-1, features.shape[-1])
    usual = np.nan_to_num(np.nanmedian(flat, axis=0))
    features = np.where(np.isnan(features), usual, features)
    lowest, highest = np.quantile(features.reshape(-1, features.shape[-1]), [0.001, 0.999], axis=0)
    features = np.clip(features, lowest, highest)
    there = np.isfinite(errors).all(-1)
    squared = np.where(there[..., None], errors, 0.0) ** 2
    count = max(int(there.sum()) * 2, 1)

    def loss(theta: Array) -> tuple[float, Array]:
        log_sigma = theta[: len(parts)][column] + features @ theta[len(parts) :]
        scaled = squared * np.exp(-2.0 * log_sigma)[..., None] / _FREEDOM
        value = (log_sigma[..., None] + (_FREEDOM + 1) / 2 * np.log1p(scaled)) * there[..., None]
        slope = ((1.0 - (_FREEDOM + 1) * scaled / (1.0 + scaled)) * there[..., None]).sum(-1)
        of_parts = np.bincount(column, slope.sum(0), minlength=len(parts))
        return float(value.sum() / count), np.concatenate([of_parts, np.einsum("nk,nkf->f", slope, features)]) / count

    start = np.concatenate([np.full(len(parts), -4.3), np.zeros(len(FEATURES))])
    theta = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    log_sigma = theta[: len(parts)][column] + features @ theta[len(parts) :]
    z = (np.sqrt(squared) / np.exp(log_sigma)[..., None])[there]
    shift = np.log(balanced_scale(z.ravel()))
    return SigmaModel(
        parts=dict(zip(parts, (theta[: len(parts)] + shift).tolist(), strict=True)),
        weights=theta[len(parts) :],
        usual=usual,
        lowest=lowest,
        highest=highest,
        about=dict(about or {}),
    )


def fit_angle(error_deg: Array, features: Array, rough: NDArray[np.bool_] | None = None) -> list[float] | None:
    """Weights of `angle_sigma.ANGLE_FEATURES` for the band of one angle; None when there are fewer than 50 readings.

    Args:
        error_deg: (m,) measured minus true.
        features: (m, 9) from `angle_sigma.angle_features`.
        rough: (m,) readings made in bad conditions, where errors are larger than the features tell. The size of the band is then
            a compromise: the promises are to be kept in both conditions. None = all conditions are alike.
    """
    there = np.isfinite(error_deg) & np.isfinite(features).all(-1)
    if int(there.sum()) < _LEAST_SAMPLES:
        return None
    error, features = error_deg[there], features[there]

    def loss(theta: Array) -> tuple[float, Array]:
        log_sigma = np.clip(features @ theta, -5.0, 6.0)
        squared = (error * np.exp(-log_sigma)) ** 2 / _FREEDOM
        value = (log_sigma + (_FREEDOM + 1) / 2 * np.log1p(squared)).mean() + _SHRINK * (theta[1:] ** 2).sum()
        slope = features.T @ (1.0 - (_FREEDOM + 1) * squared / (1.0 + squared)) / len(error)
        return float(value), slope + 2 * _SHRINK * np.concatenate([[0.0], theta[1:]])

    start = np.zeros(features.shape[1])
    start[:2] = 1.0, 0.5
    theta = minimize(loss, start, jac=True, method="L-BFGS-B").x
    z = error * np.exp(-features @ theta)
    conditions = [z] if rough is None else [z[rough[there]], z[~rough[there]]]
    theta[0] += np.log(balanced_scale(*(part for part in conditions if len(part) >= _LEAST_SAMPLES)))
    return theta.tolist()


def fit_trust(lifted_deg: Array, plain_deg: Array, true_deg: Array, seen: Array, front: Array) -> list[float] | None:
    """Weights of the lifted angle against the plain one, for `consensus.agreed`; None when there are fewer than 50 readings.

    The weights make the errors small by iterated weighted least squares: squared errors, but those of lost frames count by
    their size only. Where few readings show a view, its weight stays near the common one.

    Args:
        lifted_deg: (m,).
        plain_deg: (m,).
        true_deg: (m,).
        seen: (m,) share of the shorter-seen segment.
        front: (m,) share of the breadth that is seen.
    """
    there = np.isfinite(lifted_deg) & np.isfinite(plain_deg)
    if int(there.sum()) < _LEAST_SAMPLES:
        return None
    basis, apart, wanted = view_basis(seen, front)[there], (lifted_deg - plain_deg)[there], (true_deg - plain_deg)[there]
    weighted, trust = basis * apart[:, None], np.ones(basis.shape[1])
    for _ in range(30):
        with_error = 1.0 / np.hypot(wanted - weighted @ trust, _NEAR_DEG)
        common = np.clip((with_error * apart * wanted).sum() / (with_error * apart**2).sum(), 0.0, 1.0)
        normal = (weighted * with_error[:, None]).T @ weighted
        pull = _COMMON_SHARE * np.trace(normal) / len(normal)
        trust = np.linalg.solve(normal + pull * np.eye(len(normal)), (weighted * with_error[:, None]).T @ wanted + pull * common)
    return np.clip(trust, 0.0, 1.0).tolist()


def balanced_scale(*parts: Array) -> float:
    """Factor on sigma at which the worst of both promises of `GOALS` is missed by the least share of its margin.

    Args:
        parts: Errors in units of sigma; the promises are to hold in each part.

    Example:
        >>> z = np.abs(np.random.default_rng(0).normal(size=20000))
        >>> bool(abs(balanced_scale(z) - 1.0) < 0.02)
        True
    """
    in_order = [np.sort(np.abs(z)) for z in parts]

    def miss(scale: float) -> float:
        return max(abs(float(np.searchsorted(z, band * scale)) / len(z) - goal) / margin for z in in_order for band, goal, margin in GOALS)

    return min(np.exp(np.linspace(-2.0, 2.0, 801)).tolist(), key=miss)


def _gathered(samples: Iterable[tuple[Poses, NDArray[Any]]]) -> tuple[Array, Array, Skeleton]:
    features: list[Array] = []
    errors: list[Array] = []
    skeletons: list[Skeleton] = []
    for poses, true_xy in samples:
        if not len(poses):
            continue
        features.append(sigma_features(poses))
        errors.append((poses.keypoints_xy - true_xy) / person_size_px(poses)[:, None, None])
        skeletons.append(poses.skeleton)
    if sum(map(len, features)) < _LEAST_SAMPLES or len(set(skeletons)) != 1:
        raise ValidationError(f"a calibration needs {_LEAST_SAMPLES} people of one skeleton, got {sum(map(len, features))}")
    return np.concatenate(features), np.concatenate(errors), skeletons[0]


def fit_depth_share(trials: Mapping[float, Array]) -> float:
    """The share of depth with the least mean error among trials: share -> errors in degrees; none counts for more than 45.

    Example:
        >>> fit_depth_share({0.5: np.array([1.0, 80.0]), 1.0: np.array([2.0, 50.0])})
        0.5
    """
    return float(min(trials, key=lambda share: float(np.nanmean(np.minimum(np.abs(trials[share]), 45.0)))))


def _part(name: str) -> str:
    return name.removeprefix("left_").removeprefix("right_")
