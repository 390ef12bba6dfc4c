"""Evidence side by side: the frame that shows a deviation, and the reference's body at the same moment of the movement.

`evidence_picture` draws one finding; the caller has the frame and the person in it. Nothing is measured here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.exercise.features import BODY_LINES, BODY_POINTS, SIDES, Array, body_points, mirrored_points
from pose_analyzer.exercise.findings import Finding, FormScore
from pose_analyzer.exercise.recording import nanmean
from pose_analyzer.exercise.reference import Reference
from shared_utils.data_models import Poses

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
_WRONG: Colour = (250, 82, 82)
_RIGHT: Colour = (64, 192, 87)
_BODY: Colour = (206, 212, 218)
_GHOST: Colour = (73, 80, 87)
_GROUND: Colour = (24, 27, 32)
_TEXT: Colour = (248, 249, 250)
_PANEL_PX, _MARGIN = 440, 0.22
_HIPS = [BODY_POINTS.index(f"{s}_hip") for s in SIDES]
_SHOULDERS = [BODY_POINTS.index(f"{s}_shoulder") for s in SIDES]


def evidence_picture(image: Picture, person: Poses, finding: Finding, score: FormScore, reference: Reference) -> Picture:
    """A deviation beside what it should look like.

    Args:
        image: (H, W, 3) uint8 RGB, the frame `finding.frame`.
        person: That person in it, one row.
        finding: What to show.
        score: The repetition it belongs to: which view served, which side led.
        reference: What it was compared with.

    Returns:
        (h, w, 3) uint8 RGB: on the left the person, what deviates in red; on the right the reference at the same moment, the same
        part in green over the person's outline; the sentence below. Without a body in the reference the right side says so.

    Raises:
        ValueError: `person` has not one row.

    Example:
        >>> from pose_analyzer.exercise.reference import load_reference
        >>> from shared_utils.skeletons import BLAZEPOSE_33
        >>> evidence_picture(np.zeros((9, 9, 3), np.uint8), Poses.empty(BLAZEPOSE_33), None, None, load_reference("squat"))
        Traceback (most recent call last):
        ValueError: evidence shows one person, got 0
    """
    if len(person) != 1:
        raise ValueError(f"evidence shows one person, got {len(person)}")
    from PIL import Image, ImageDraw

    points = body_points(person, min_confidence=0.3)[0]
    corner, side_px = _window(points, image)
    zoom = _PANEL_PX / side_px
    mine = (points - corner) * zoom
    sheet = Image.new("RGB", (2 * _PANEL_PX + 6, _PANEL_PX + 84), _GROUND)
    x, y = (round(float(v)) for v in corner)
    edge = round(side_px)
    sheet.paste(Image.fromarray(image).crop((x, y, x + edge, y + edge)).resize((_PANEL_PX, _PANEL_PX)), (0, 0))
    draw = ImageDraw.Draw(sheet)
    _draw_body(draw, mine, finding.keypoints, _BODY, _WRONG)
    model = _placed(_model(finding, score, reference), mine)
    to_the_right = np.array([_PANEL_PX + 6.0, 0.0])
    if model is None:
        _write(draw, (_PANEL_PX + 24, _PANEL_PX // 2), "the reference keeps no body", 15)
    else:
        _draw_body(draw, mine + to_the_right, (), _GHOST, _GHOST)
        _draw_body(draw, model + to_the_right, finding.keypoints, _BODY, _RIGHT)
    when = finding.phase if finding.phase != "all" else "the turn"
    _write(draw, (12, 10), f"repetition {score.number or 'partial'}, frame {finding.frame}", 15)
    _write(draw, (_PANEL_PX + 18, 10), f"reference ({reference.exercise.replace('_', ' ')}), {when}", 15)
    for row, line in enumerate(_wrapped(finding.message[:1].upper() + finding.message[1:], 82)[:3]):
        _write(draw, (12, _PANEL_PX + 12 + 23 * row), line, 17)
    return np.asarray(sheet, np.uint8)


def stacked(pictures: list[Picture]) -> Picture:
    """Pictures of one width, one below the other.

    Example:
        >>> stacked([np.zeros((4, 6, 3), np.uint8), np.zeros((2, 6, 3), np.uint8)]).shape
        (6, 6, 3)
    """
    return np.concatenate(pictures, axis=0)


def _window(points: Array, image: Picture) -> tuple[Array, float]:
    """Upper left corner (2,) and edge, px, of a square around a person; the whole picture if nothing of the person is known."""
    seen = points[np.isfinite(points).all(1)]
    if len(seen) < 2:
        return np.zeros(2), float(max(image.shape[:2]))
    low, high = seen.min(0), seen.max(0)
    edge = max(float((high - low).max()) * (1.0 + 2.0 * _MARGIN), 16.0)
    return np.round((low + high) / 2.0 - edge / 2.0), edge


def _model(finding: Finding, score: FormScore, reference: Reference) -> Array | None:
    """(14, 2) the reference's body at the finding's moment, left and right as in the person; None where there is none."""
    view = next((v for v in reference.views if v.azimuth_deg == score.view_deg), None)
    pose = None if view is None else view.pose_at(finding.sample if finding.sample >= 0 else 16)
    return pose if pose is None or score.led == "left" else mirrored_points(pose)


def _placed(pose: Array | None, mine: Array) -> Array | None:
    """A body from its hips, scaled and moved to where a person is; seen from behind it faces the other way."""
    if pose is None:
        return None
    hips = nanmean(mine[_HIPS], 0)
    own = mine - hips
    across = [np.diff(p[_SHOULDERS, 0])[0] for p in (own, pose)]
    if min(map(abs, across)) > 0 and across[0] * across[1] < 0 and abs(across[1]) > 0.06:
        pose = pose * [-1.0, 1.0]
    both = np.isfinite(own).all(1) & np.isfinite(pose).all(1)
    if not both.any() or not np.isfinite(hips).all():
        return None
    # The size at which both bodies reach equally far: a fault moves some points, it does not make a person larger.
    reach = [float(np.median(np.hypot(*p[both].T)[np.hypot(*pose[both].T) > 0.1])) for p in (own, pose)]
    return hips + pose * (reach[0] / reach[1])


def _draw_body(draw: ImageDraw, points: Array, marked: tuple[str, ...], colour: Colour, mark: Colour) -> None:
    for thick in (False, True):
        for a, b in BODY_LINES:
            ends = points[[BODY_POINTS.index(a), BODY_POINTS.index(b)]]
            wrong = a in marked and b in marked
            if np.isfinite(ends).all() and wrong == thick:
                draw.line([tuple(map(float, e)) for e in ends], fill=mark if wrong else colour, width=7 if wrong else 3)
    for name, (x, y) in zip(BODY_POINTS, points.tolist(), strict=True):
        if np.isfinite(x) and np.isfinite(y):
            r = 6 if name in marked else 3
            draw.ellipse((x - r, y - r, x + r, y + r), fill=mark if name in marked else colour)


def _write(draw: ImageDraw, at: tuple[int, int], text: str, size_px: int) -> None:
    from matplotlib import get_data_path
    from PIL import ImageFont

    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", size_px)
    draw.text(at, text, fill=_TEXT, font=font, stroke_width=2, stroke_fill=_GROUND)


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width)
