"""Which tiles of a stream are searched in which frame: few while everybody is near, many while somebody is far.

Tiles take turns; those in which something moves come first. Everything goes by the count of frames and by what was seen, so
the same frames give the same tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.detection.scale.merge import body_px
from pose_analyzer.detection.scale.motion import MotionMap
from pose_analyzer.detection.scale.tiles import Tile, pyramid, scattered, square_around
from pose_analyzer.errors import DetectorError
from shared_utils.data_models import Poses

ScaleMode = Literal["auto", "on"]

# Who is small stays so until a quarter taller: a person at the limit would switch the search on and off.
_HYSTERESIS = 1.25
# Somebody rather small is believed to be so after so many frames in a row: who has just been found may be measured wrongly at
# first, but not at half of the limit.
_SETTLED_FRAMES = 5
_CLEARLY_SMALL = 0.5
# Frames after a small person was lost in which their place is looked at again.
_LOOK_AGAIN = (1, 3, 7)
_MOVED_BODIES = 0.5
# A tile that was looked at because something moves there waits for so many frames, whatever moves; and so much must move.
_REST_FRAMES = 20
_LEAST_MOTION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """How a detector is helped with small people.

    Args:
        mode: `"on"`: every tile in every frame; `"auto"`: tiles in turn, more of them while small people are about.
        reach: Share of a picture's side that a person must fill for the detector to find them surely, 0..1.
        min_person_px: Least height of a person that is looked for, px.
        zoom_to_px: Tiles are enlarged to at most this side.
        squares: In a stream the detector looks by itself at the picture's squares in turn, not only at the whole of it.
        max_people: Nobody is searched for beyond this number; None = no limit.
        tiles_per_frame: Tiles searched in a frame while small people are about, until a turn through all tiles brought nobody new;
            then one in a frame.
        probe_frames: Frames between two single tiles while everybody is near.
        hold_frames: For so many frames after the last small person the search goes on as if they were there.

    Raises:
        DetectorError: A number is out of range.
    """

    mode: ScaleMode = "auto"
    reach: float = 0.25
    min_person_px: float = 40.0
    zoom_to_px: int = 640
    squares: bool = False
    max_people: int | None = None
    tiles_per_frame: int = 4
    probe_frames: int = 15
    hold_frames: int = 90

    def __post_init__(self) -> None:
        if self.mode not in ("auto", "on"):
            raise DetectorError(f"mode must be 'auto' or 'on', got {self.mode!r}; for neither, use the detector without MultiScaleDetector")
        if not 0 < self.reach <= 1:
            raise DetectorError(f"reach must lie in 0..1, above 0, got {self.reach}")
        if not (math.isfinite(self.min_person_px) and self.min_person_px >= 16):
            raise DetectorError(f"min_person_px must be 16 or more, got {self.min_person_px}; no detector knows smaller people")
        for name in ("zoom_to_px", "tiles_per_frame", "probe_frames", "hold_frames"):
            if getattr(self, name) < 1:
                raise DetectorError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.max_people is not None and self.max_people < 1:
            raise DetectorError(f"max_people must be 1 or more, or None for no limit, got {self.max_people}")

    def tiles(self, width_px: int, height_px: int, *, stream: bool = False) -> list[Tile]:
        """All tiles of a picture of this size, any few in a row far apart."""
        return scattered(
            pyramid(
                width_px,
                height_px,
                reach=self.reach,
                min_person_px=self.min_person_px,
                whole_px=self._whole_px(width_px, height_px, stream),
                zoom_to_px=self.zoom_to_px,
            )
        )

    def small_px(self, width_px: int, height_px: int, *, stream: bool = False) -> float:
        """Who is less tall is not surely found without tiles in a picture of this size."""
        return self.reach * self._whole_px(width_px, height_px, stream)

    def _whole_px(self, width_px: int, height_px: int, stream: bool) -> float:
        return min(width_px, height_px) if stream and self.squares else max(width_px, height_px)

    def focus(self, places_xyxy: NDArray[np.floating], width_px: int, height_px: int) -> list[Tile]:
        """Tiles around known people, each person wholly in one that suits their size; neighbours share.

        Args:
            places_xyxy: (n, 4) boxes.
            width_px: Of the picture.
            height_px: Of the picture.
        """
        tiles: list[Tile] = []
        boxes = np.asarray(places_xyxy, np.float64).reshape(-1, 4)
        heights = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=1.0)
        for box, height in zip(boxes, heights.tolist(), strict=True):
            margin = 0.25 * height
            if not any(_holds(tile, box, margin, width_px, height_px) and height >= self.reach * tile.side for tile in tiles):
                side = height / min(1.2 * self.reach, 0.45)
                tiles.append(square_around(box, side, width_px, height_px, zoom_to_px=self.zoom_to_px))
        return tiles

    def still(self, found: Poses, width_px: int, height_px: int) -> list[Tile]:
        """Tiles of a picture that stands alone: all, or in `auto` none when somebody was found and nobody is small."""
        if self.max_people is not None and len(found) >= self.max_people:
            return []
        calm = self.mode == "auto" and len(found) > 0 and bool((body_px(found) >= self.small_px(width_px, height_px)).all())
        return [] if calm else self.tiles(width_px, height_px)


@dataclass(slots=True, eq=False)
class StreamSearch:
    """What is remembered of one stream.

    Args:
        plan: The rules.
    """

    plan: SearchPlan
    _size_px: tuple[int, int] = (0, 0)
    _tiles: list[Tile] = field(default_factory=list)
    _next: int = 0
    _frame: int = 0
    _last_probe: int = 0
    _active_until: int = -1
    _fast_left: int = 0
    _looks: int = 0
    _small_for: int = 0
    _small: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    _lost: list[tuple[int, NDArray[np.float32]]] = field(default_factory=list)
    _motion: MotionMap = field(default_factory=MotionMap)
    _rests: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def is_active(self) -> bool:
        """Whether small people are, or were just now, about."""
        return self._frame <= self._active_until

    @property
    def places(self) -> NDArray[np.float32]:
        """(n, 4) boxes of the small people of the frame before."""
        return self._small

    def begin(self, found: Poses, image: NDArray[np.uint8]) -> list[Tile]:
        """The tiles to search in this frame.

        Args:
            found: People that the detector found by itself in this frame.
            image: (H, W, 3) the frame.
        """
        plan = self.plan
        height_px, width_px = image.shape[:2]
        if self._size_px != (width_px, height_px):
            self._size_px = (width_px, height_px)
            self._tiles, self._next = plan.tiles(width_px, height_px, stream=True), 0
            self._small, self._lost, self._motion, self._small_for = self._small[:0], [], MotionMap(), 0
            self._rests = np.zeros(len(self._tiles), np.int64)
        self._frame += 1
        if not self._tiles or (plan.max_people is not None and len(found) >= plan.max_people):
            return []
        if plan.mode == "on":
            return self._tiles
        again = [place for due, place in self._lost if due == self._frame and not _is_known(place, found)]
        self._lost = [(due, place) for due, place in self._lost if due > self._frame]
        return plan.focus(np.array(again), width_px, height_px) + self._due(self._count(found), found, image)

    def end(self, people: Poses) -> None:
        """Remember this frame's people.

        Args:
            people: Everybody found, by whatever means.
        """
        heights = body_px(people)
        limit = self.plan.small_px(*self._size_px, stream=True) * (_HYSTERESIS if self.is_active else 1.0)
        small = heights < limit
        lost = [place for place in self._small if not _is_known(place, people)]
        self._lost += [(self._frame + pause, place) for place in lost for pause in _LOOK_AGAIN]
        if lost or small.sum() > len(self._small):
            self._fast_left = len(self._tiles)
        if small.any():
            self._small_for += 1
            if self.is_active or self._small_for >= _SETTLED_FRAMES or heights.min() < _CLEARLY_SMALL * limit:
                self._active_until = self._frame + self.plan.hold_frames
        elif len(self._small):
            self._small_for = 0
            if not lost:
                # Whoever was taken for small is here, and near.
                self._active_until = min(self._active_until, self._frame)
        self._small = people.boxes_xyxy[small]

    def _count(self, found: Poses) -> int:
        """How many tiles are due."""
        if self.is_active:
            count = self.plan.tiles_per_frame if self._fast_left > 0 else 1
            self._fast_left -= count
            return count
        if len(found) and not self._small_for and self._frame - self._last_probe < self.plan.probe_frames:
            return 0
        self._last_probe = self._frame
        return 1

    def _due(self, count: int, found: Poses, image: NDArray[np.uint8]) -> list[Tile]:
        """So many tiles: half of them, a single one two times of three, those in which most moves; the rest in turn."""
        if not count:
            return []
        self._motion.update(image, np.concatenate([found.boxes_xyxy, self._small]))
        amounts = np.where(self._rests <= self._frame, self._motion.amounts(self._tiles), 0)
        # A tile counts for how little it holds beside what moves: finer tiles see it larger.
        order = np.argsort(-amounts / np.array([tile.side for tile in self._tiles]), kind="stable")
        self._looks += 1
        share = count // 2 if count > 1 else int(self._looks % 3 > 0)
        moving = [int(i) for i in order[:share] if amounts[i] >= _LEAST_MOTION]
        self._rests[moving] = self._frame + _REST_FRAMES
        turn = [(self._next + i) % len(self._tiles) for i in range(min(count - len(moving), len(self._tiles)))]
        self._next = (self._next + len(turn)) % len(self._tiles)
        return [self._tiles[i] for i in dict.fromkeys(moving + turn)]


def _holds(tile: Tile, box: NDArray[np.floating], margin: float, width_px: int, height_px: int) -> bool:
    x1, y1, x2, y2 = tile.box
    return (
        max(box[0] - margin, 0) >= x1
        and max(box[1] - margin, 0) >= y1
        and min(box[2] + margin, width_px) <= x2
        and min(box[3] + margin, height_px) <= y2
    )


def _is_known(place: NDArray[np.float32], people: Poses) -> bool:
    """Whether somebody stands about there."""
    if not len(people):
        return False
    centres = (people.boxes_xyxy[:, :2] + people.boxes_xyxy[:, 2:]) / 2
    distance = np.hypot(*((place[:2] + place[2:]) / 2 - centres).T)
    return bool((distance < _MOVED_BODIES * float((place[2:] - place[:2]).max())).any())
