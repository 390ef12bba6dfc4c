"""Who is followed in one stream, when new people are looked for, and when two findings are one person."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.detection.blazepose.decode import Candidate, Landmarks
from pose_analyzer.detection.blazepose.regions import Region, RegionSmoother
from pose_analyzer.detection.nms import oks_matrix
from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33

# Two crops of one person agree to a few pixels (similarity 0.8 and more); two people who stand in front of
# one another in the same posture stay below, as their hips are at least a hand's breadth apart.
_SAME_PERSON_OKS = 0.6
# A detected region whose centre is that near to a followed one, in parts of its side, is the same person's.
# 0.12 of a region is about 20 cm.
_SAME_CENTRE = 0.12
_SAME_SIZE_RATIO = 1.5
# A trunk this much smaller, with its middle on the larger one (and that share of its length around), would be behind it.
_SMALLER, _AROUND = 0.75, 0.2
# A newcomer of whose limbs that share lies on somebody's limbs, or that part of a trunk from them, is that person seen wrongly.
_COVERED, _LIMB = 0.9, 0.2
_BONES = np.stack([BLAZEPOSE_33.indices(list(edge)) for edge in BLAZEPOSE_33.edges])
_LIMBS = BLAZEPOSE_33.indices([f"{side}_{p}" for side in ("left", "right") for p in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")])
_TRUNK = BLAZEPOSE_33.indices(["left_shoulder", "right_shoulder", "left_hip", "right_hip"])


@dataclass(slots=True, eq=False)
class Person:
    """Somebody who is followed from frame to frame.

    Args:
        region: Where to look in the next frame.
        smoother: State of the region's filter.
    """

    region: Region
    smoother: RegionSmoother = field(default_factory=RegionSmoother)

    def follow(self, found: Landmarks) -> bool:
        """Move the region on; False when there is no region to be had."""
        x0, y0, x1, y1 = self.smoother.update(found.span_px)
        if not all(map(math.isfinite, (x0, y0, x1, y1))):
            return False
        self.region = Region.from_points((x0, y0), (x1, y1))
        return self.region.is_usable


@dataclass(slots=True, eq=False)
class Finding:
    """Landmarks that were found in a frame, and whose they are."""

    person: Person
    is_new: bool
    landmarks: Landmarks

    @property
    def drift(self) -> float:
        """How far the person is from the middle of the region they were looked for in, in parts of its side."""
        x, y, *_ = self.landmarks.span_px
        region = self.person.region
        return math.hypot(x - region.x_px, y - region.y_px) / region.size_px


class Stream:
    """The people of one stream.

    New people are looked for whenever nobody is followed, which with `max_people` 1 is all that MediaPipe
    does. With room for more, every `search_frames` frames; and after somebody was lost, in the next frame,
    then 2, 4, 8 ... frames later up to that interval, because who was lost behind somebody else soon
    comes out again. Such searches take turns: the whole image, then each of its square tiles, in which
    small people are larger. Everything goes by the count of frames, so the same frames give the same people.

    Args:
        max_people: Most people followed.
        search_frames: Frames between two searches for more people.
    """

    def __init__(self, max_people: int, search_frames: int) -> None:
        self.people: list[Person] = []
        self._max_people, self._search_frames = max_people, search_frames
        self._pause = search_frames
        self._countdown = 0
        self._size_px: tuple[int, int] | None = None
        self._views: Iterator[Region] = iter(())

    def start_frame(self, width_px: int, height_px: int) -> Region | None:
        """Begin a frame; the part of it to look for new people in, None if in none."""
        if self._size_px != (width_px, height_px):
            self._resize(width_px, height_px)
        self._countdown -= 1
        if self.people and (len(self.people) >= self._max_people or self._countdown > 0):
            return None
        return next(self._views)

    def adopt(self, regions: Sequence[Region], width_px: int, height_px: int) -> int:
        """Follow people that somebody else found; who is followed already is not taken twice.

        Args:
            regions: Where they are, best first.
            width_px: Of the picture they were found in.
            height_px: Of that picture.

        Returns:
            How many there was room for.
        """
        if self._size_px != (width_px, height_px):
            self._resize(width_px, height_px)
            self._countdown = self._search_frames
        fresh = [r for r in regions if r.is_usable and not any(_is_same_region(r, p.region) for p in self.people)]
        taken = fresh[: max(self._max_people - len(self.people), 0)]
        self.people += [Person(region) for region in taken]
        return len(taken)

    def newcomers(self, candidates: Sequence[Candidate]) -> list[Person]:
        """Those detected who are not followed yet, best first, as many as there is room for."""
        self._countdown = self._pause
        self._pause = min(2 * self._pause, self._search_frames)
        fresh = [c for c in candidates if not any(_is_same_region(c.region, p.region) for p in self.people)]
        return [Person(c.region) for c in fresh[: self._max_people - len(self.people)]]

    def _resize(self, width_px: int, height_px: int) -> None:
        # Another picture format is another view; its pixels mean other places.
        self.people.clear()
        self._size_px = (width_px, height_px)
        tiles = Region.tiles(width_px, height_px) if self._max_people > 1 else []
        self._views = cycle([Region.around(width_px, height_px), *tiles])

    def end_frame(self, findings: Sequence[Finding]) -> list[Landmarks]:
        """Keep who was found, each once; the rest is lost.

        Args:
            findings: Of followed people in their order, then of newcomers, best first.

        Returns:
            Landmarks of everybody who is there, in the order in which they came.
        """
        before = len(self.people)
        kept = _without_duplicates(findings)[: self._max_people]
        followed = sum(not f.is_new for f in kept)
        self.people = [f.person for f in kept if f.person.follow(f.landmarks)]
        if followed < before:
            self._pause = self._countdown = 1
        return [f.landmarks for f in kept]


def regions_of(poses: Poses) -> list[Region]:
    """Where people are who were found by other means: the regions that the landmark network would ask for, all but 1 %.

    Its region is centred on the middle of the hips, points along the trunk and reaches to the landmark farthest away.
    Who has no hips or shoulders has none.

    Args:
        poses: With BlazePose's landmarks.
    """
    xy = poses.keypoints_xy.astype(np.float64)
    hips, shoulders = (xy[:, BLAZEPOSE_33.indices([f"left_{part}", f"right_{part}"])].mean(1) for part in ("hip", "shoulder"))
    trunk = shoulders - hips
    length = np.hypot(trunk[:, 0], trunk[:, 1])
    farthest = np.hypot(*np.moveaxis(xy - hips[:, None], -1, 0))
    usable = np.isfinite(length) & (length > 0)
    regions = []
    for i in np.flatnonzero(usable):
        top = hips[i] + trunk[i] / length[i] * np.nanmax(farthest[i])
        regions.append(Region.from_points((float(hips[i, 0]), float(hips[i, 1])), (float(top[0]), float(top[1]))))
    return regions


def _is_same_region(a: Region, b: Region) -> bool:
    small, large = sorted((a.size_px, b.size_px))
    distance = math.hypot(a.x_px - b.x_px, a.y_px - b.y_px)
    return large <= _SAME_SIZE_RATIO * small and distance <= _SAME_CENTRE * large


def _without_duplicates(findings: Sequence[Finding]) -> list[Finding]:
    """Of findings that are one person, keep the one nearest to the middle of its region; newcomers yield to the followed."""
    if len(findings) < 2:
        return list(findings)
    trunks = [f.landmarks.xy_px[_TRUNK] for f in findings]
    findings = [f for i, f in enumerate(findings) if not any(_is_on(trunks[i], trunks[j]) for j in range(i))]
    alike = oks_matrix(np.stack([f.landmarks.xy_px for f in findings]), np.stack([f.landmarks.visibility for f in findings]), BLAZEPOSE_33)
    # Whoever drifted onto a neighbour has moved further from where the last frame saw them than the neighbour.
    order = sorted(range(len(findings)), key=lambda i: (findings[i].is_new, 0.0 if findings[i].is_new else findings[i].drift, i))
    kept: list[int] = []
    for i in order:
        doubted = findings[i].is_new
        if not any(alike[i, j] > _SAME_PERSON_OKS or (doubted and _is_covered(findings[i], findings[j])) for j in kept):
            kept.append(i)
    return [findings[i] for i in sorted(kept)]


def _is_covered(newcomer: Finding, other: Finding) -> bool:
    """Whether a newcomer lies on the limbs of somebody: a second skeleton of one body, such as one on the legs of who lies.

    Who is hidden behind somebody is a newcomer when an arm or a leg comes out.
    """
    theirs = other.landmarks.xy_px
    trunk = theirs[_TRUNK]
    reach = _LIMB * float(np.hypot(*(trunk[:2].mean(0) - trunk[2:].mean(0))))
    starts, along = theirs[_BONES[:, 0]], theirs[_BONES[:, 1]] - theirs[_BONES[:, 0]]
    offsets = newcomer.landmarks.xy_px[_LIMBS][:, None] - starts
    part = ((offsets * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-9)).clip(0, 1)
    away = np.linalg.norm(offsets - part[..., None] * along, axis=-1)
    return float((np.nan_to_num(away, nan=np.inf).min(1) < reach).mean()) >= _COVERED


def _is_on(small: NDArray[np.floating], large: NDArray[np.floating]) -> bool:
    """Whether a trunk is a shape on the trunk of somebody else, such as a print on a shirt: a smaller person there would be hidden.

    Args:
        small: (4, 2) shoulders and hips, px.
        large: The same of the other.
    """
    lengths = [float(np.hypot(*(t[:2].mean(0) - t[2:].mean(0)))) for t in (small, large)]
    if not lengths[0] < _SMALLER * lengths[1]:
        return False
    middle, margin = small.mean(0), _AROUND * lengths[1]
    return bool(((middle > large.min(0) - margin) & (middle < large.max(0) + margin)).all())
