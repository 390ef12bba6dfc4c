"""Named keypoint sets and the maps between them.

A `Skeleton` holds keypoint names in the order of its arrays, the edges to draw, the left/right pairs
and the per-keypoint constants of object keypoint similarity. Code asks for keypoints by name
(`skeleton.index("left_knee")`), never by a bare integer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from shared_utils.errors import ValidationError


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A named set of k keypoints.

    Args:
        name: Identifier, for example `"coco_17"`.
        keypoints: k names in array order. A side is a prefix: `left_`, `right_`.
        edges: Pairs of names to draw as bones.
        oks_sigmas: (k,) constants of object keypoint similarity, in units of the square root of the
            person's area. COCO's published values where COCO defines the keypoint.

    Example:
        >>> COCO_17.index("left_knee")
        13
        >>> COCO_17.mirror("left_knee")
        'right_knee'
    """

    name: str
    keypoints: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    oks_sigmas: NDArray[np.float64] = field(repr=False)

    def __post_init__(self) -> None:
        if len(set(self.keypoints)) != len(self.keypoints):
            raise ValidationError(f"skeleton {self.name}: keypoint names repeat")
        unknown = {n for edge in self.edges for n in edge} - set(self.keypoints)
        if unknown:
            raise ValidationError(f"skeleton {self.name}: edges name unknown keypoints {sorted(unknown)}")
        if self.oks_sigmas.shape != (len(self.keypoints),):
            raise ValidationError(f"skeleton {self.name}: oks_sigmas has shape {self.oks_sigmas.shape}, expected ({len(self.keypoints)},)")
        self.oks_sigmas.setflags(write=False)

    def __len__(self) -> int:
        return len(self.keypoints)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Skeleton) and self.name == other.name and self.keypoints == other.keypoints

    def __hash__(self) -> int:
        return hash((self.name, self.keypoints))

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (get_skeleton, (self.name,)) if _REGISTRY.get(self.name) is self else super().__reduce__()  # type: ignore[return-value]

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.keypoints)}

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def index(self, name: str) -> int:
        """Position of a keypoint in the arrays.

        Raises:
            ValidationError: The skeleton has no keypoint of that name.
        """
        try:
            return self._index[name]
        except KeyError:
            raise ValidationError(f"{self.name} has no keypoint {name!r}; it has {', '.join(self.keypoints)}") from None

    def indices(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Positions of several keypoints, (len(names),)."""
        return np.array([self.index(n) for n in names], dtype=np.intp)

    @cached_property
    def edge_indices(self) -> NDArray[np.intp]:
        """(e, 2) positions of the edges' ends."""
        return np.array([[self.index(a), self.index(b)] for a, b in self.edges], dtype=np.intp).reshape(-1, 2)

    @cached_property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(left, right) names of every keypoint that has a twin."""
        return tuple((n, self.mirror(n)) for n in self.keypoints if n.startswith("left_") and self.mirror(n) != n)

    @cached_property
    def flip_indices(self) -> NDArray[np.intp]:
        """(k,) order that swaps left and right, for mirrored images."""
        return self.indices([self.mirror(n) for n in self.keypoints])

    def mirror(self, name: str) -> str:
        """The same keypoint on the other side; a keypoint on the midline is its own mirror."""
        self.index(name)
        for side, other in (("left_", "right_"), ("right_", "left_")):
            if name.startswith(side) and other + name.removeprefix(side) in self:
                return other + name.removeprefix(side)
        return name


_FACE_COCO = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
_BODY = tuple(f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right"))
_LIMB_EDGES = (
    *((f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in (("shoulder", "elbow"), ("elbow", "wrist"))),
    *((f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in (("shoulder", "hip"), ("hip", "knee"), ("knee", "ankle"))),
    ("left_shoulder", "right_shoulder"),
    ("left_hip", "right_hip"),
)
_FACE_EDGES = (("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear"))
# COCO's per-keypoint standard deviations (cocodataset.org, keypoint evaluation), as used by pycocotools.
_COCO_SIGMAS = np.array([0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89]) / 10

COCO_17 = Skeleton("coco_17", (*_FACE_COCO, *_BODY), (*_FACE_EDGES, *_LIMB_EDGES), _COCO_SIGMAS)

# Halpe's own constants for the nine keypoints that COCO lacks (AlphaPose, Halpe-26 evaluation).
HALPE_26 = Skeleton(
    "halpe_26",
    (
        *COCO_17.keypoints,
        "head_top",
        "neck",
        "mid_hip",
        *(f"{side}_{part}" for part in ("big_toe", "small_toe", "heel") for side in ("left", "right")),
    ),
    (
        *COCO_17.edges,
        ("head_top", "neck"),
        ("neck", "mid_hip"),
        *((f"{s}_ankle", f"{s}_{p}") for s in ("left", "right") for p in ("heel", "big_toe", "small_toe")),
    ),
    np.concatenate([_COCO_SIGMAS, [0.026, 0.026, 0.066, 0.079, 0.079, 0.079, 0.079, 0.079, 0.079]]),
)

_BLAZE_NAMES = (
    "nose",
    *(f"{side}_{part}" for side in ("left", "right") for part in ("eye_inner", "eye", "eye_outer")),
    "left_ear",
    "right_ear",
    "left_mouth",
    "right_mouth",
    *_BODY[:6],
    *(f"{side}_{part}" for part in ("pinky", "index", "thumb") for side in ("left", "right")),
    *_BODY[6:],
    *(f"{side}_{part}" for part in ("heel", "foot_index") for side in ("left", "right")),
)
_BLAZE_EXTRA_SIGMA = {"eye": 0.025, "mouth": 0.035, "pinky": 0.062, "index": 0.062, "thumb": 0.062, "heel": 0.089, "foot_index": 0.089}


def _blaze_sigma(name: str) -> float:
    if name in COCO_17:
        return float(_COCO_SIGMAS[COCO_17.index(name)])
    part = name.split("_", 1)[1]
    return _BLAZE_EXTRA_SIGMA.get(part, _BLAZE_EXTRA_SIGMA["eye"])


BLAZEPOSE_33 = Skeleton(
    "blazepose_33",
    _BLAZE_NAMES,
    (
        *(("nose", f"{s}_eye_inner") for s in ("left", "right")),
        *(
            (f"{s}_{a}", f"{s}_{b}")
            for s in ("left", "right")
            for a, b in (("eye_inner", "eye"), ("eye", "eye_outer"), ("eye_outer", "ear"))
        ),
        ("left_mouth", "right_mouth"),
        *_LIMB_EDGES,
        *((f"{s}_wrist", f"{s}_{p}") for s in ("left", "right") for p in ("pinky", "index", "thumb")),
        *((f"{s}_pinky", f"{s}_index") for s in ("left", "right")),
        *(
            (f"{s}_{a}", f"{s}_{b}")
            for s in ("left", "right")
            for a, b in (("ankle", "heel"), ("heel", "foot_index"), ("ankle", "foot_index"))
        ),
    ),
    np.array([_blaze_sigma(n) for n in _BLAZE_NAMES]),
)

_REGISTRY = {s.name: s for s in (COCO_17, HALPE_26, BLAZEPOSE_33)}

# Keypoints that one set derives from others: the mean of the named ones, in order of preference.
_DERIVED: dict[str, tuple[tuple[str, ...], ...]] = {
    "neck": (("left_shoulder", "right_shoulder"),),
    "mid_hip": (("left_hip", "right_hip"),),
    **{f"{s}_big_toe": ((f"{s}_foot_index",),) for s in ("left", "right")},
    **{f"{s}_foot_index": ((f"{s}_big_toe",),) for s in ("left", "right")},
}


def get_skeleton(name: str) -> Skeleton:
    """The skeleton of that name.

    Raises:
        ValidationError: There is none.
    """
    try:
        return _REGISTRY[name]
    except KeyError:
        raise ValidationError(f"unknown skeleton {name!r}; there are {', '.join(sorted(_REGISTRY))}") from None


@cache
def keypoint_map(source: Skeleton, target: Skeleton) -> NDArray[np.float64]:
    """(k_target, k_source) weights that turn keypoints of one skeleton into another's.

    Rows sum to 1; a row of zeros is a keypoint that the source cannot give (the caller marks it
    missing). Same name: copied. `neck` and `mid_hip` are midpoints; the big toe and BlazePose's foot
    index are taken for each other (they lie within about 2 cm).

    Example:
        >>> weights = keypoint_map(BLAZEPOSE_33, COCO_17)
        >>> int(weights[COCO_17.index("nose")].argmax())
        0
    """
    weights = np.zeros((len(target), len(source)))
    for row, name in enumerate(target.keypoints):
        options = ((name,), *_DERIVED.get(name, ()))
        names = next((o for o in options if all(n in source for n in o)), ())
        for n in names:
            weights[row, source.index(n)] = 1.0 / len(names)
    weights.setflags(write=False)
    return weights
