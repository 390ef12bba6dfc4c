"""Draw what was measured onto a frame: skeleton, joint angles, repetition counter.

`draw_overlay` takes an image and the measurements of its people and returns a new image; it measures
nothing itself. Left limbs are orange, right limbs blue, the midline white; a bone fades with the
confidence of its ends and is left out where a keypoint is missing. Joints that form feedback names are red.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.reporting.lettering import PANEL, Colour, draw_text, text_size
from shared_utils.data_models import Angles, Poses

LEFT: Colour = (255, 146, 43)
RIGHT: Colour = (51, 154, 240)
MIDDLE: Colour = (241, 243, 245)
ACCENT: Colour = (105, 219, 124)
TEXT: Colour = (248, 249, 250)
MUTED: Colour = (173, 181, 189)
WRONG: Colour = (250, 82, 82)

# The angles worth a label in the picture, by the keypoint they are written beside.
_LABELLED = {f"{side}_{joint}": f"{side}_{joint}_flexion_deg" for side in ("left", "right") for joint in ("elbow", "hip", "knee")}
# Fine facial points clutter a picture of a whole body.
_HIDDEN_PARTS = ("eye", "mouth", "ear", "pinky", "thumb")


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonStatus:
    """What the counter panel shows of one person.

    Args:
        track_id: Whose.
        title: Exercise or the person's number.
        count: Completed repetitions.
        phase: Name of the present phase, empty when unknown.
        progress: 0..1 through the repetition, None to hide the bar.
    """

    track_id: int
    title: str
    count: int
    phase: str = ""
    progress: float | None = None


def draw_overlay(
    image: NDArray[np.uint8],
    poses: Poses,
    angles: Angles | None = None,
    *,
    status: Sequence[PersonStatus] = (),
    highlight: Mapping[int, Sequence[str]] | None = None,
    marks: Mapping[int, Collection[str]] | None = None,
    sentences: Sequence[str] = (),
    min_confidence: float = 0.3,
    caption: str = "",
    scale: float | None = None,
) -> NDArray[np.uint8]:
    """A copy of `image` with skeletons, angle labels, counters and a caption.

    Args:
        image: (H, W, 3) uint8 RGB.
        poses: People in the pixel frame of `image`.
        angles: Their angles; labels are drawn for those with a reading. None draws no labels.
        status: One panel per entry, stacked from the top left.
        highlight: Track id -> names of angles to label even where others are crowded out.
        marks: Track id -> names of keypoints that form feedback names: they, and the bones between them, are red.
        sentences: What it says, one line each above the caption.
        min_confidence: Keypoints below it (0..1) are not drawn.
        caption: One line at the bottom left, for example the time.
        scale: Size of text and lines, 1 = for a picture 480 px high; default by the picture's shorter side.

    Returns:
        (H, W, 3) uint8 RGB, a new array.

    Example:
        >>> from shared_utils import COCO_17
        >>> picture = draw_overlay(np.zeros((120, 160, 3), np.uint8), Poses.empty(COCO_17), caption="0.0 s")
        >>> picture.shape, bool(picture.any())
        ((120, 160, 3), True)
    """
    canvas = np.ascontiguousarray(image).copy()
    scale = max(min(canvas.shape[:2]) / 480.0, 0.4) if scale is None else scale
    for row in range(len(poses)):
        wrong = (marks or {}).get(int(poses.track_ids[row]), ())
        _draw_skeleton(canvas, poses, row, min_confidence, scale, wrong)
    if angles is not None:
        for row in range(len(poses)):
            _draw_angle_labels(canvas, poses, row, angles, min_confidence, scale, highlight or {})
    y = int(10 * scale)
    for entry in status:
        y += _draw_panel(canvas, entry, (int(10 * scale), y), scale) + int(6 * scale)
    bottom = canvas.shape[0]
    for line, colour in ((caption, TEXT), *((s, WRONG) for s in reversed(sentences))):
        if line:
            size_px = _fitting(line, int(15 * scale), canvas.shape[1] - int(20 * scale))
            bottom -= text_size(line, size_px)[1] + int(8 * scale)
            draw_text(canvas, line, (int(10 * scale), bottom), size_px, colour, shade=True)
    return canvas


def side_colour(name: str) -> Colour:
    """Colour of a keypoint or angle name by its side prefix."""
    return LEFT if name.startswith("left_") else RIGHT if name.startswith("right_") else MIDDLE


def _fitting(line: str, size_px: int, width_px: int) -> int:
    """Size of text at which a line fits into the picture, px; not smaller than can be read."""
    return max(min(size_px, int(size_px * width_px / max(text_size(line, size_px)[0], 1))), 8)


def _draw_skeleton(
    canvas: NDArray[np.uint8], poses: Poses, row: int, min_confidence: float, scale: float, wrong: Collection[str] = ()
) -> None:
    skeleton = poses.skeleton
    xy, confidence = poses.keypoints_xy[row], poses.keypoint_confidence[row]
    shown = poses.visible[row] & (confidence >= min_confidence)
    # Coordinates beyond 16 bit overflow OpenCV's fixed-point drawing.
    shown &= (np.abs(np.nan_to_num(xy)) < 16000).all(-1)
    body = float(np.sqrt(max(poses.areas_px[row], 1.0)))
    thickness = max(1, round(min(body / 60.0, 4.5 * scale)))
    for (name_a, name_b), (a, b) in zip(skeleton.edges, skeleton.edge_indices, strict=True):
        if not (shown[a] and shown[b]) or _is_hidden(name_a) or _is_hidden(name_b):
            continue
        same_side = name_a.split("_")[0] == name_b.split("_")[0]
        colour = WRONG if name_a in wrong and name_b in wrong else side_colour(name_a) if same_side else MIDDLE
        fade = 0.45 + 0.55 * float(min(confidence[a], confidence[b]))
        start, end = _fixed(xy[a]), _fixed(xy[b])
        cv2.line(canvas, start, end, PANEL, thickness + 2, cv2.LINE_AA, 3)
        cv2.line(canvas, start, end, _dim(colour, fade), thickness, cv2.LINE_AA, 3)
    for i, name in enumerate(skeleton.keypoints):
        if shown[i] and not _is_hidden(name):
            cv2.circle(canvas, _fixed(xy[i]), int(8 * (thickness * 0.9 + 1)), PANEL, -1, cv2.LINE_AA, 3)
            colour = WRONG if name in wrong else side_colour(name)
            cv2.circle(canvas, _fixed(xy[i]), int(8 * thickness * 0.9), colour, -1, cv2.LINE_AA, 3)


def _draw_angle_labels(
    canvas: NDArray[np.uint8],
    poses: Poses,
    row: int,
    angles: Angles,
    min_confidence: float,
    scale: float,
    highlight: Mapping[int, Sequence[str]],
) -> None:
    track_id = int(poses.track_ids[row])
    readings = angles.row(track_id)
    wanted = set(highlight.get(track_id, ()))
    taken: list[tuple[float, float]] = []
    # Highlighted angles first, so that they win where two labels would overlap.
    for keypoint, name in sorted(_LABELLED.items(), key=lambda item: item[1] not in wanted):
        value = readings.get(name, float("nan"))
        if keypoint not in poses.skeleton or np.isnan(value):
            continue
        at = poses.skeleton.index(keypoint)
        x, y = poses.keypoints_xy[row, at]
        if np.isnan(x) or poses.keypoint_confidence[row, at] < min_confidence:
            continue
        text = f"{value:.0f}°"
        width = text_size(text, int(14 * scale))[0]
        # Away from the body's middle, so that the labels of two legs do not meet.
        left_half = float(x) < float(poses.boxes_xyxy[row, [0, 2]].mean())
        x, y = float(x) + (-10 * scale - width if left_half else 10 * scale), float(y) - 8 * scale
        if any(abs(x - tx) < 44 * scale and abs(y - ty) < 20 * scale for tx, ty in taken):
            continue
        taken.append((x, y))
        draw_text(canvas, text, (int(x), int(y)), int(14 * scale), side_colour(name), shade=True)


def _draw_panel(canvas: NDArray[np.uint8], entry: PersonStatus, at: tuple[int, int], scale: float) -> int:
    """Draw one counter panel with its top left corner at `at`; returns its height in px."""
    pad = int(10 * scale)
    number, title, phase = str(entry.count), entry.title.upper(), entry.phase
    number_size = text_size(number, int(40 * scale))
    words_width = max(text_size(title, int(13 * scale))[0], text_size(phase or " ", int(16 * scale))[0], int(90 * scale))
    width, height = number_size[0] + words_width + 3 * pad, int(58 * scale)
    x, y = at
    x2, y2 = min(x + width, canvas.shape[1]), min(y + height, canvas.shape[0])
    if x2 <= x or y2 <= y:
        return height
    area = canvas[y:y2, x:x2]
    cv2.addWeighted(area, 0.28, np.full_like(area, PANEL), 0.72, 0.0, dst=area)
    draw_text(canvas, number, (x + pad, y + (height - number_size[1]) // 2), int(40 * scale), TEXT)
    left = x + 2 * pad + number_size[0]
    draw_text(canvas, title, (left, y + int(9 * scale)), int(13 * scale), MUTED)
    draw_text(canvas, phase, (left, y + int(25 * scale)), int(16 * scale), ACCENT)
    if entry.progress is not None:
        bar_y, bar_w = y + height - int(8 * scale), words_width
        thick = max(int(4 * scale), 2)
        cv2.rectangle(canvas, (left, bar_y), (left + bar_w, bar_y + thick - 1), (73, 80, 87), -1)
        filled = int(bar_w * float(np.clip(entry.progress, 0.0, 1.0)))
        if filled:
            cv2.rectangle(canvas, (left, bar_y), (left + filled, bar_y + thick - 1), ACCENT, -1)
    return height


@lru_cache(maxsize=256)
def _is_hidden(name: str) -> bool:
    return any(part in name for part in _HIDDEN_PARTS)


def _dim(colour: Colour, factor: float) -> Colour:
    return int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor)


def _fixed(xy: NDArray[np.float32]) -> tuple[int, int]:
    """Pixel position with OpenCV's three fractional bits."""
    return round(float(xy[0]) * 8), round(float(xy[1]) * 8)
