"""How far off an angle may be: a standard deviation in degrees, from the errors of its keypoints and from what goes with large errors.

Errors of neighbouring keypoints go together (a region of interest that is a little off moves all of them), so the first-order
error of an angle, which takes them as independent, is only one of the things that tell how sure it is. With the features of
`angle_features`, and weights per angle from the calibration (`calibration.fit_angle`),

    sigma_deg = exp(weights . features).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics.geometry import Array
from pose_analyzer.biomechanics.keypoint_sigma import PERSON_FEATURES, SigmaModel
from shared_utils.data_models import Angles

ANGLE_FEATURES = ("one", "propagated", "disagreement", "bend", *PERSON_FEATURES)
"""Names of the features, in order; see `angle_features`."""

_OWN = 4  # features from here on are the person's
_LEAST_DEG, _MOST_DEG = 0.5, 90.0
_NEAR_DEG, _FAR_DEG = 5.0, 60.0  # disagreement below the one says little, and above the other no more
_BEND_UNIT_DEG, _MOST_BEND_DEG = 60.0, 120.0
_LOG_SIGMA = (-3.0, 5.0)


def scaled(angles: Angles, model: SigmaModel, person: Array) -> Angles:
    """Angles whose propagated `sigma_deg` becomes the calibrated one; NaN for angles without calibration.

    Args:
        angles: n people, with first-order errors; without them they come back as they are.
        model: The calibration.
        person: (n, 5) from `SigmaModel.person_features`.
    """
    if angles.sigma_deg is None:
        return angles
    columns, weights = _calibrated(model, angles.names)
    # The sum over features, written out: this runs for every frame of a live stream.
    said = weights[0] + person @ weights[_OWN:]
    for weight, feature in zip(weights[1:_OWN], _own_features(angles, columns), strict=True):
        said += weight * feature
    sigma = np.full(angles.value_deg.shape, np.nan)
    sigma[:, columns] = np.exp(np.minimum(np.maximum(said, _LOG_SIGMA[0]), _LOG_SIGMA[1]))
    return Angles(angles.names, angles.track_ids, angles.value_deg, sigma, angles.timestamp_s)


def angle_features(angles: Angles, person: Array) -> Array:
    """(n, a, 9) what the error of an angle depends on; NaN where there is no reading or no propagated error.

    one: 1. propagated: logarithm of the first-order error in degrees. disagreement: logarithm of 5 degrees more than the same
    angle measured the other way is away from it. bend: the angle in units of 60 degrees. The others are the person's, see
    `keypoint_sigma.sigma_features`.

    Args:
        angles: n people, with first-order errors.
        person: (n, 5) from `SigmaModel.person_features`.
    """
    every = np.arange(len(angles.names))
    own = np.stack(_own_features(angles, every), axis=-1)
    return np.concatenate(
        [np.ones((*own.shape[:-1], 1)), own, np.broadcast_to(person[:, None], (*own.shape[:-1], person.shape[-1]))], axis=-1
    )


def _own_features(angles: Angles, columns: NDArray[np.intp]) -> tuple[Array, Array, Array]:
    """Each (n, columns): propagated, disagreement and bend."""
    assert angles.sigma_deg is not None  # noqa: S101 - for the type checker: `scaled` and the calibration see to it
    value, first_order = angles.value_deg[:, columns], angles.sigma_deg[:, columns]
    propagated = np.log(np.minimum(np.maximum(first_order, _LEAST_DEG), _MOST_DEG))
    disagreement = np.log(_NEAR_DEG + np.minimum(disagreement_deg(angles)[:, columns], _FAR_DEG))
    return propagated, disagreement, np.minimum(np.abs(value), _MOST_BEND_DEG) / _BEND_UNIT_DEG


def disagreement_deg(angles: Angles) -> Array:
    """(n, a) degrees between each angle and the same one measured the other way; 0 where there is no other.

    The other way of an angle in the picture, and of the best estimate in space, is the network's own in space; of that, the
    best estimate, or else the picture's.

    Example:
        >>> pair = Angles(("left_knee_flexion_deg", "left_knee_flexion_3d_deg"), np.array([1]), np.array([[50.0, 42.0]]), None, 0.0)
        >>> disagreement_deg(pair).tolist()
        [[8.0, 8.0]]
    """
    columns, others = _witnesses(angles.names)
    apart = np.zeros(angles.value_deg.shape)
    apart[:, columns] = np.abs(angles.value_deg[:, columns] - angles.value_deg[:, others])
    apart[np.isnan(apart)] = 0.0
    return apart


@lru_cache(maxsize=32)
def _witnesses(names: tuple[str, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Columns of angles that have another witness, and the other's."""
    at = {name: column for column, name in enumerate(names)}
    columns, others = [], []
    for name, column in at.items():
        stem = name.removesuffix("_deg").removesuffix("_3d").removesuffix("_lifted").replace("_in_plane", "")
        plain = name.endswith("_3d_deg")
        other = next((at[o] for o in (f"{stem}_lifted_deg", f"{stem}_deg") if o in at), None) if plain else at.get(f"{stem}_3d_deg")
        if other is not None:
            columns.append(column)
            others.append(other)
    return np.array(columns, np.intp), np.array(others, np.intp)


def angle_key(name: str) -> str:
    """What an angle's band is filed under: its name without side; that of the body's middle, which is surer, on its own.

    Example:
        >>> angle_key("left_trunk_lean_deg"), angle_key("trunk_lean_deg")
        ('trunk_lean_deg', 'middle_trunk_lean_deg')
    """
    plain = name.removeprefix("left_").removeprefix("right_")
    return f"middle_{name}" if plain == name else plain


# Models are compared by identity, so that these are looked up once for each.
@lru_cache(maxsize=32)
def _calibrated(model: SigmaModel, names: tuple[str, ...]) -> tuple[NDArray[np.intp], Array]:
    """Columns of the angles that have weights, and their (9, a) weights."""
    keys = [angle_key(name) for name in names]
    columns = [i for i, key in enumerate(keys) if key in model.angles]
    return np.array(columns, np.intp), np.array([model.angles[keys[i]] for i in columns]).reshape(-1, len(ANGLE_FEATURES)).T.copy()
