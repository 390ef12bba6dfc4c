"""How far off a keypoint may be: a standard deviation in px from confidence, person size, joint and view, and degrees from it.

The model was fitted on the synthetic athlete, whose joints are known exactly (`calibration`; the constants lie in
`keypoint_sigma.json` beside this file, with the command that made them). For keypoint j of a person whose box is s px long,

    sigma_px = s * exp(part_j + weights . features),

with the features of `sigma_features`. What follows for angles is told by `angle_sigma`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics.geometry import Array
from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import Skeleton

PERSON_FEATURES = ("smallness", "person_doubt", "trunk_tilt", "disagreement", "shoulder_breadth")
FEATURES = ("doubt", *PERSON_FEATURES)
"""Names of the features, in order; see `sigma_features`."""

_BODY = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_FORMAT = 2
_FILE = "keypoint_sigma.json"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SigmaModel:
    """Constants of the model.

    Args:
        parts: Joint without its side ("knee") -> logarithm of its error as a share of the person's size.
        weights: (f,) of the features.
        usual: (f,) value of a feature that cannot be told (no metric landmarks, a hidden trunk).
        lowest: (f,) and
        highest: (f,) values seen in calibration; beyond them the nearest counts.
        angles: `angle_sigma.angle_key` -> weights of `angle_sigma.ANGLE_FEATURES`; an angle that is not listed has no known error.
        depth_share: Part -> share of the landmarks' depth that is believed, see `lifting`.
        trust: Angle without its side and unit -> weights of the lifted angle against the plain one, see `consensus`.
        about: Where the constants come from: detector, frames, command.
    """

    parts: Mapping[str, float]
    weights: Array
    usual: Array
    lowest: Array
    highest: Array
    angles: Mapping[str, Sequence[float]] = field(default_factory=dict)
    depth_share: Mapping[str, float] = field(default_factory=dict)
    trust: Mapping[str, Sequence[float]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("weights", "usual", "lowest", "highest"):
            if getattr(self, name).shape != (len(FEATURES),):
                raise ValidationError(f"SigmaModel.{name} must have {len(FEATURES)} values, got shape {getattr(self, name).shape}")

    def person_features(self, poses: Poses) -> Array:
        """(n, 5) `PERSON_FEATURES`, the usual value where one cannot be told, within what the calibration has seen."""
        person = _person_features(poses)
        person = np.where(np.isnan(person), self.usual[1:], person)
        return np.minimum(np.maximum(person, self.lowest[1:]), self.highest[1:])

    def keypoint_sigma_px(self, poses: Poses, *, person: Array | None = None) -> NDArray[np.float32]:
        """(n, k) px, standard deviation of each coordinate; NaN where a keypoint is missing.

        Args:
            poses: n people.
            person: Their `person_features`, where those are known already.
        """
        # The first feature is a keypoint's, the others are the person's.
        shared = (self.person_features(poses) if person is None else person) @ self.weights[1:]
        doubt = np.minimum(np.maximum(_doubt(poses), self.lowest[0]), self.highest[0])
        sigma = person_size_px(poses)[:, None] * np.exp(_bases(self, poses.skeleton) + self.weights[0] * doubt + shared[:, None])
        return np.where(poses.visible, sigma, np.nan).astype(np.float32)

    def to_json(self) -> str:
        """As text that `from_json` reads back."""

        def rounded(values: Any) -> Any:
            return [round(float(v), 5) for v in values]

        data = {
            "format": _FORMAT,
            "about": dict(self.about),
            "parts": {k: round(v, 5) for k, v in sorted(self.parts.items())},
            "features": {
                name: dict(zip(("weight", "usual", "lowest", "highest"), rounded(row), strict=True))
                for name, *row in zip(FEATURES, self.weights, self.usual, self.lowest, self.highest, strict=True)
            },
            "angles": {k: rounded(v) for k, v in sorted(self.angles.items())},
            "depth_share": {k: round(v, 3) for k, v in self.depth_share.items()},
            "trust": {k: [round(float(v), 3) for v in row] for k, row in sorted(self.trust.items())},
        }
        return json.dumps(data, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> SigmaModel:
        """Reads what `to_json` wrote.

        Raises:
            ValidationError: It is not such a text.
        """
        try:
            data = json.loads(text)
            if data["format"] != _FORMAT or tuple(data["features"]) != FEATURES:
                raise ValidationError(f"a keypoint sigma model of format {_FORMAT} with features {', '.join(FEATURES)} is needed")
            columns = {c: np.array([row[c] for row in data["features"].values()], np.float64) for c in ("usual", "lowest", "highest")}
            return cls(
                parts=data["parts"],
                weights=np.array([row["weight"] for row in data["features"].values()], np.float64),
                angles={name: tuple(map(float, row)) for name, row in data["angles"].items()},
                depth_share=data["depth_share"],
                trust=data["trust"],
                about=data["about"],
                **columns,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, ValidationError):
                raise
            raise ValidationError(f"not a keypoint sigma model: {error!r}") from error


@cache
def default_sigma_model() -> SigmaModel:
    """The model that comes with the package.

    Example:
        >>> sorted(default_sigma_model().about)[:2]
        ['command', 'detector']
    """
    return SigmaModel.from_json(resources.files("pose_analyzer.biomechanics").joinpath(_FILE).read_text(encoding="utf-8"))


def fill_keypoint_sigma(poses: Poses, *, model: SigmaModel | None = None, person: Array | None = None) -> Poses:
    """The same people with `keypoint_sigma_px` from the model; a sigma that the detector itself gave is kept.

    Args:
        poses: n people.
        model: Default: `default_sigma_model()`.
        person: The model's `person_features` of the people, where those are known already.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> xy = np.random.default_rng(0).uniform(0, 200, (1, 17, 2))
        >>> poses = Poses(
        ...     boxes_xyxy=[[0, 0, 200, 200]], scores=[1.0], keypoints_xy=xy, keypoint_confidence=np.ones((1, 17)), skeleton=COCO_17
        ... )
        >>> sigma = fill_keypoint_sigma(poses).keypoint_sigma_px
        >>> bool((sigma > 0).all())
        True
    """
    if poses.keypoint_sigma_px is not None and bool((np.isfinite(poses.keypoint_sigma_px) | ~poses.visible).all()):
        return poses
    estimated = (model or default_sigma_model()).keypoint_sigma_px(poses, person=person)
    if poses.keypoint_sigma_px is not None:
        estimated = np.where(np.isfinite(poses.keypoint_sigma_px), poses.keypoint_sigma_px, estimated)
    return poses.replace(keypoint_sigma_px=estimated)


def person_size_px(poses: Poses) -> Array:
    """(n,) px, the longer side of each person's box."""
    boxes = poses.boxes_xyxy.astype(np.float64)
    return (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0.0)


def sigma_features(poses: Poses) -> Array:
    """(n, k, 6) what the error of a keypoint depends on; NaN where it cannot be told.

    doubt: log(1.02 - confidence). smallness: 100 px / size. person_doubt: 1 - mean confidence of the body's joints. trunk_tilt:
    sine of the trunk's lean in the picture (lying people are harder). disagreement: how far the landmarks in the picture lie
    from those in space, seen from afar and fitted by shift and scale (median over the joints, in thirtieths of the size).
    shoulder_breadth: as seen, in thirds of the size.
    """
    per_person = _person_features(poses)
    spread = np.broadcast_to(per_person[:, None], (*poses.keypoint_confidence.shape, per_person.shape[-1]))
    return np.concatenate([_doubt(poses)[..., None], spread], axis=-1)


def _doubt(poses: Poses) -> Array:
    return np.log(1.02 - poses.keypoint_confidence.astype(np.float64))


def _person_features(poses: Poses) -> Array:
    """(n, 5) all features but the first, which are alike for a person's keypoints; NaN where one cannot be told."""
    confidence = poses.keypoint_confidence.astype(np.float64)
    body, ends = _points(poses.skeleton)
    size = person_size_px(poses)
    joints = poses.keypoints_xy[:, ends].astype(np.float64)
    breadth = joints[:, 0] - joints[:, 1]
    trunk = 0.5 * (joints[:, 0] + joints[:, 1] - joints[:, 2] - joints[:, 3])
    with np.errstate(divide="ignore", invalid="ignore"):
        features = [
            100.0 / size,
            1.0 - confidence[:, body].mean(1),
            np.abs(trunk[:, 0]) / np.hypot(trunk[:, 0], trunk[:, 1]),
            30.0 * _disagreement_px(poses, body) / size,
            3.0 * np.hypot(breadth[:, 0], breadth[:, 1]) / size,
        ]
    stacked = np.array(features).T
    return np.where(np.isfinite(stacked), stacked, np.nan)


def _disagreement_px(poses: Poses, body: NDArray[np.intp]) -> Array:
    if poses.world_xyz_m is None or not len(poses):
        return np.full(len(poses), np.nan)
    flat, seen = poses.world_xyz_m[:, body, :2].astype(np.float64), poses.keypoints_xy[:, body].astype(np.float64)
    usable = np.isfinite(flat).all(-1) & np.isfinite(seen).all(-1)
    scale, offset = similarity(flat, seen, usable)
    distance = np.linalg.norm(seen - scale[:, None, None] * flat - offset[:, None], axis=-1)
    distance = np.sort(np.where(usable, distance, np.inf), axis=1)
    count = usable.sum(1)
    middle = distance[np.arange(len(distance)), np.minimum(count // 2, distance.shape[1] - 1)]
    return np.where(count >= 4, middle, np.nan)


def similarity(source: Array, target: Array, usable: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Least-squares scale (n,) and offset (n, d) with `scale * source + offset` near `target`, both (n, k, d); no turn.

    NaN where fewer than two points are usable or the sources coincide.
    """
    weight = usable[..., None].astype(np.float64)
    count = weight.sum(1)
    a, b = np.where(usable[..., None], source, 0.0), np.where(usable[..., None], target, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        a_mean, b_mean = a.sum(1) / count, b.sum(1) / count
        da, db = (a - a_mean[:, None]) * weight, (b - b_mean[:, None]) * weight
        scale = (da * db).sum((1, 2)) / (da * da).sum((1, 2))
    return np.where(np.isfinite(scale), scale, np.nan), b_mean - scale[:, None] * a_mean


# Models are compared by identity, so that these are looked up once for each.
@lru_cache(maxsize=32)
def _bases(model: SigmaModel, skeleton: Skeleton) -> Array:
    unknown = max(model.parts.values())
    return np.array([model.parts.get(_part(name), unknown) for name in skeleton.keypoints])


def _part(name: str) -> str:
    return name.removeprefix("left_").removeprefix("right_")


@cache
def _points(skeleton: Skeleton) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    body = skeleton.indices([f"{side}_{part}" for part in _BODY for side in ("left", "right")])
    return body, skeleton.indices(["left_shoulder", "right_shoulder", "left_hip", "right_hip"])
