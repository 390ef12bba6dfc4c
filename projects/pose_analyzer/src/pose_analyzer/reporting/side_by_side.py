"""Two recordings beside each other at one height and on one clock: each with its skeleton, count and angle, and both curves below.

`SideBySide.pictures(frames_a, frames_b)` takes the frames of both sources and gives pictures at an even rate. A's clock leads; a
recording that has not begun or has ended stands still, darkened.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.reporting.alignment import TimeMap, by_offset, by_repetitions, by_warping
from pose_analyzer.reporting.columns import angle_columns, joint_of
from pose_analyzer.reporting.curve_strip import CurveStrip
from pose_analyzer.reporting.lettering import Colour, draw_text, text_size
from pose_analyzer.reporting.overlay import MUTED, TEXT, PersonStatus, draw_overlay
from pose_analyzer.reporting.people import ChoiceError, exercise_of, person_rows, poses_of, skeleton_of
from shared_utils.data_models import Angles, Event, EventType, Frame, Poses, Series, Session
from shared_utils.errors import ValidationError

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Align = Literal["auto", "repetitions", "dtw", "start", "offset"]

BACKGROUND: Colour = (20, 23, 27)
COLOUR_A: Colour = (77, 208, 225)
COLOUR_B: Colour = (255, 202, 40)
_GAP_PX = 4
_FAINT = np.float32(0.31)
# A joint that moves this share of the one that moves most is as good, and shown if it stands earlier in the list.
_AS_MUCH = 0.5
# Joints whose angle says most of a movement, best first.
_PREFERRED = ("knee_flexion", "elbow_flexion", "hip_flexion", "shoulder_elevation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One recording.

    Args:
        session: What was measured in it.
        label: Name above the picture; default the source's.
        track_id: Who is compared; default who has most repetitions, then most frames.
        drawn: Whether skeletons are in the pictures already (an annotated video).
        shift_s: What to add to the times of frames to get the session's.
    """

    session: Session
    label: str = ""
    track_id: int | None = None
    drawn: bool = False
    shift_s: float = 0.0


class SideBySide:
    """Lays two recordings out beside each other.

    Args:
        a, b: Left and right.
        align: "repetitions" lets beginning, turn and end of each repetition meet; "dtw" warps the curve of the joint; "offset" takes
            `offset_s`; "start" lets both begin together. "auto" takes the first of repetitions, dtw and start that can be done.
        offset_s: What happens at t in A happens at t + offset_s in B.
        joint: Whose angle is shown, for example "knee_flexion"; default one that moves most in both.
        height_px: Of both pictures.

    Raises:
        ChoiceError: Nobody was found in one of them, no joint was seen in both, or they cannot be aligned so.
        ValidationError: The height is not 120 to 2160.
    """

    def __init__(
        self, a: Side, b: Side, *, align: Align = "auto", offset_s: float = 0.0, joint: str | None = None, height_px: int = 540
    ) -> None:
        if not 120 <= height_px <= 2160:
            raise ValidationError(f"height_px must lie in 120..2160, got {height_px}")
        self._height = height_px // 2 * 2
        self._unit = self._height / 540
        (track_a, rows_a), (track_b, rows_b) = (person_rows(s.session, s.track_id, guess=True) for s in (a, b))
        self.joint = shared_joint(rows_a, rows_b, joint)
        curves = [(r["timestamp_s"], joint_curve(r, self.joint)) for r in (rows_a, rows_b)]
        events = [[e for e in s.session.events if e.track_id == t] for s, t in ((a, track_a), (b, track_b))]
        self.clock = aligned(align, offset_s, events, curves)
        self._views = (
            _View(a, track_a, rows_a, curves[0], self._height, "A", COLOUR_A),
            _View(b, track_b, rows_b, curves[1], self._height, "B", COLOUR_B),
        )
        times_a, times_b = curves[0][0], curves[1][0]
        ends_b = self.clock.to_a(np.array([times_b[0], times_b[-1]]))
        self._span = min(float(times_a[0]), float(ends_b[0])), max(float(times_a[-1]), float(ends_b[1]))
        self._events = events[0]
        self._strip: CurveStrip | None = None

    def pictures(self, frames_a: Iterable[Frame], frames_b: Iterable[Frame], *, fps: float = 30.0) -> Iterator[tuple[Image, float]]:
        """The pictures and their times from 0, at an even rate.

        Args:
            frames_a: Of the left source, in the order of time.
            frames_b: Of the right source.
            fps: Pictures per second.

        Yields:
            ((H, W, 3) uint8 RGB, seconds); all of one size, even both ways.

        Raises:
            ValidationError: A source gives no frame, or the rate is not positive.
        """
        if not (math.isfinite(fps) and fps > 0):
            raise ValidationError(f"fps must be positive, got {fps}")
        players = _Player(frames_a, self._views[0]), _Player(frames_b, self._views[1])
        start, end = self._span
        for k in range(math.floor((end - start) * fps + 1e-6) + 1):
            at_a = start + k / fps
            at_b = float(self.clock.to_b(at_a))
            parts = [player.picture(at) for player, at in zip(players, (at_a, at_b), strict=True)]
            yield self._composed(parts, at_a, at_b), k / fps

    def _composed(self, parts: list[Image], at_a: float, at_b: float) -> Image:
        width = sum(p.shape[1] for p in parts) + _GAP_PX
        head, foot = round(40 * self._unit), round(120 * self._unit) // 2 * 2
        canvas = np.empty((head // 2 * 2 + self._height + foot, width + width % 2, 3), np.uint8)
        canvas[:] = BACKGROUND
        x = 0
        for part, view, at in zip(parts, self._views, (at_a, at_b), strict=True):
            canvas[head // 2 * 2 : head // 2 * 2 + self._height, x : x + part.shape[1]] = part
            view.draw_head(canvas, x, part.shape[1], head, at, self._unit)
            x += part.shape[1] + _GAP_PX
        if self._strip is None:
            self._strip = self._make_strip(canvas.shape[1], foot)
        values = [view.value_at(at) for view, at in zip(self._views, (at_a, at_b), strict=True)]
        canvas[-foot:] = self._strip.at(at_a, values[0], values[1])
        return canvas

    def _make_strip(self, width: int, height: int) -> CurveStrip:
        (times_a, a), (times_b, b) = (v.curve for v in self._views)
        shades = [(e.start_s, e.end_s) for e in self._events if e.type == EventType.REP_COMPLETED]
        return CurveStrip(
            width=width,
            height=height,
            span_s=self._span,
            curves=((times_a, a, COLOUR_A), (self.clock.to_a(times_b), b, COLOUR_B)),
            shades=shades,
            title=f"{self.joint.replace('_', ' ')} · {self.clock.how}",
        )


def aligned(align: Align, offset_s: float, events: list[list[Event]], curves: list[tuple[Array, Array]]) -> TimeMap:
    """The clock that was asked for.

    Raises:
        ChoiceError: It cannot be made, or an offset is given that would be ignored.
    """
    if align not in ("auto", "repetitions", "dtw", "start", "offset"):
        raise ChoiceError(f"there is no alignment {align!r}; there are auto, repetitions, dtw, start, offset")
    if offset_s and align not in ("offset", "auto"):
        raise ChoiceError(f"an offset does not go with align={align}; use align=offset")
    if align == "offset" or offset_s:
        return by_offset(offset_s)
    if align == "start":
        return TimeMap(a_s=curves[0][0][:1], b_s=curves[1][0][:1], how="begun together")
    if align == "repetitions" or (align == "auto" and all(any(e.type == EventType.REP_COMPLETED for e in own) for own in events)):
        return by_repetitions(events[0], events[1], curves[0], curves[1])
    try:
        return by_warping(curves[0], curves[1])
    except ChoiceError:
        if align == "dtw":
            raise
        return aligned("start", 0.0, events, curves)


def shared_joint(a: Series, b: Series, wanted: str | None) -> str:
    """The joint to compare: knee, elbow, hip or shoulder, the first that moves about as much as any in both; or the one asked for.

    Raises:
        ChoiceError: It was not seen in both.
    """
    joints = [list(dict.fromkeys(joint_of(n) for n in angle_columns(s, space="image") if np.isfinite(s[n]).sum() > 3)) for s in (a, b)]
    known = [j for j in joints[0] if j in joints[1]]
    if wanted is not None:
        if wanted not in known:
            raise ChoiceError(f"{wanted!r} was not seen in both; there are {', '.join(known) or 'none'}")
        return wanted
    known = [j for j in known if j in _PREFERRED] or known
    if not known:
        raise ChoiceError("no joint angle was seen in both recordings, so there is nothing to compare")

    def moved(joint: str) -> float:
        return min(float(np.ptp(np.nanpercentile(joint_curve(s, joint), [5, 95]))) for s in (a, b))

    most = max(map(moved, known))
    return next(j for j in [*(p for p in _PREFERRED if p in known), *known] if moved(j) >= _AS_MUCH * most)


def joint_curve(own: Series, joint: str) -> Array:
    """(t,) degrees of a joint: of both sides together where both are seen throughout, else of the side that is seen more.

    One side per recording, as changing sides within it would look like a movement.
    """
    columns = [own[n].astype(np.float64) for n in (f"left_{joint}_deg", f"right_{joint}_deg", f"{joint}_deg") if n in own]
    seen = [float(np.isfinite(c).mean()) for c in columns]
    if len(columns) > 1 and min(seen[:2]) > 0.95:
        pair = np.stack(columns[:2])
        return np.where(np.isfinite(pair).all(0), pair.mean(0), np.nan)
    return columns[int(np.argmax(seen))]


class _View:
    """One recording as it is drawn."""

    def __init__(
        self, side: Side, track_id: int, rows: Series, curve: tuple[Array, Array], height: int, letter: str, colour: Colour
    ) -> None:
        self.side, self.track_id, self.rows, self.curve, self.height = side, track_id, rows, curve, height
        self.letter, self.colour = letter, colour
        self.label = side.label or side.session.source
        series = side.session.series
        self._series = series
        self._times = np.where(np.isfinite(series["timestamp_s"]), series["timestamp_s"], np.inf)
        self._step_s = float(np.median(np.diff(rows["timestamp_s"]))) if len(rows) > 1 else 0.05
        self._angles = angle_columns(series, space="image")
        self._exercise = exercise_of(side.session, track_id)
        self._has_keypoints = skeleton_of(series) is not None

    def draw(self, frame: Frame) -> Image:
        """The frame at the common height with what was measured."""
        scale = self.height / frame.height
        width = max(round(frame.width * scale), 2)
        image = cv2.resize(frame.image, (width, self.height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        image = np.asarray(image, np.uint8)
        if self.side.drawn or not self._has_keypoints:
            return image
        rows = self._rows_at(frame.timestamp_s + self.side.shift_s)
        if not rows.any():
            return image
        own = self._series.where(rows)
        poses = _scaled(poses_of(own), scale)
        mine = poses.track_ids == self.track_id
        # Others are there, but it is not about them: faint, and without figures.
        faint = np.where(mine[:, None], poses.keypoint_confidence, np.minimum(poses.keypoint_confidence, _FAINT))
        values = np.stack([own[n][mine] for n in self._angles], axis=1) if self._angles else np.zeros((int(mine.sum()), 0))
        angles = Angles(tuple(self._angles), poses.track_ids[mine], values)
        return draw_overlay(image, poses.replace(keypoint_confidence=faint), angles, status=self._status(own), scale=self.height / 480)

    def _rows_at(self, time_s: float) -> NDArray[np.bool_]:
        """Rows of the analysed frame at a time; none where there was none within most of a frame."""
        near = float(self._times[int(np.abs(self._times - time_s).argmin())])
        return (self._times == near) & (abs(near - time_s) <= 0.75 * self._step_s)

    def _status(self, own: Series) -> list[PersonStatus]:
        mine = np.flatnonzero(own["track_id"] == self.track_id)
        if not len(mine) or "repetitions" not in own or not self._exercise:
            return []
        row, title = int(mine[0]), self._exercise.replace("_", " ")
        return [PersonStatus(track_id=self.track_id, title=title, count=int(own["repetitions"][row]), phase=str(own["phase"][row]))]

    def value_at(self, time_s: float) -> float:
        """The joint's angle at a time, degrees; NaN = no reading."""
        times, values = self.curve
        near = int(np.abs(times - time_s).argmin())
        return float(values[near]) if abs(times[near] - time_s) <= 0.75 * self._step_s else math.nan

    def draw_head(self, canvas: Image, x: int, width: int, height: int, time_s: float, unit: float) -> None:
        """Letter, name and time above the picture."""
        size, pad = max(round(16 * unit), 9), round(12 * unit)
        box = round(24 * unit)
        y = (height - box) // 2
        cv2.rectangle(canvas, (x + pad, y), (x + pad + box, y + box), self.colour, -1)
        letter = text_size(self.letter, size)
        draw_text(canvas, self.letter, (x + pad + (box - letter[0]) // 2 + 1, y + (box - letter[1]) // 2 + 1), size, BACKGROUND)
        clock = f"{max(time_s, 0.0):.2f} s"
        clock_size = text_size(clock, size)
        room = width - 3 * pad - box - clock_size[0] - pad
        label = _shortened(self.label, room, size)
        middle = height // 2
        draw_text(canvas, label, (x + 2 * pad + box, middle - text_size(label, size)[1] // 2), size, TEXT)
        draw_text(canvas, clock, (x + width - pad - clock_size[0], middle - clock_size[1] // 2), size, MUTED)


class _Player:
    """Keeps the frame of a recording that is to be seen at a time; times come in order."""

    def __init__(self, frames: Iterable[Frame], view: _View) -> None:
        self._frames, self._view = iter(frames), view
        first = next(self._frames, None)
        if first is None:
            raise ValidationError(f"{view.label} gives no frame")
        self._frame, self._next = first, next(self._frames, None)
        self._drawn: Image | None = None

    def picture(self, time_s: float) -> Image:
        """What is to be seen: the last frame that is not later, darkened before the first and after the last."""
        at = time_s - self._view.side.shift_s
        while self._next is not None and self._next.timestamp_s <= at + 1e-6:
            self._frame, self._next = self._next, next(self._frames, None)
            self._drawn = None
        if self._drawn is None:
            self._drawn = self._view.draw(self._frame)
        gone = at < self._frame.timestamp_s - 1e-6 or (self._next is None and at > self._frame.timestamp_s + 0.5)
        return (self._drawn * 0.45).astype(np.uint8) if gone else self._drawn


def _scaled(poses: Poses, scale: float) -> Poses:
    factor = np.float32(scale)
    return poses.replace(boxes_xyxy=poses.boxes_xyxy * factor, keypoints_xy=poses.keypoints_xy * factor)


def _shortened(text: str, room: int, size: int) -> str:
    """A name that fits; its middle is left out where it is too long."""
    if text_size(text, size)[0] <= room:
        return text
    for keep in range(len(text) - 2, 1, -1):
        shorter = text[: (keep + 1) // 2] + "…" + text[len(text) - keep // 2 :]
        if text_size(shorter, size)[0] <= room:
            return shorter
    return ""
