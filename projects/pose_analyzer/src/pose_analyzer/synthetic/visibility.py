"""Which landmarks the camera can see: a ray to each, tested against every primitive of everybody.

A landmark counts as seen when nothing covers it but the flesh it lies in: the segments it belongs to may begin up to a
thickness before it (a joint centre lies inside the limb), anything else may not begin before it at all. The hip on the far side
of the pelvis is therefore hidden by the near side, and a hand before the chest hides what is behind it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.anthropometry import LEFT, Segment
from pose_analyzer.synthetic.camera import Camera
from pose_analyzer.synthetic.render.primitives import Primitives, first_hits
from shared_utils.skeletons import BLAZEPOSE_33

# Segments a landmark belongs to (left side) and how much of them may lie before it, as a share of stature: a little more than
# the thickest flesh over the point as seen from the side on which it is.
_OWN: dict[str, tuple[tuple[Segment, ...], float]] = {
    "nose": ((Segment.HEAD,), 0.020),
    "eye": ((Segment.HEAD,), 0.014),
    "ear": ((Segment.HEAD,), 0.022),
    "mouth": ((Segment.HEAD,), 0.016),
    "shoulder": ((Segment.LEFT_UPPER_ARM, Segment.THORAX, Segment.NECK), 0.075),
    "elbow": ((Segment.LEFT_UPPER_ARM, Segment.LEFT_FOREARM), 0.042),
    "wrist": ((Segment.LEFT_FOREARM, Segment.LEFT_HAND), 0.034),
    "pinky": ((Segment.LEFT_HAND,), 0.028),
    "index": ((Segment.LEFT_HAND,), 0.028),
    "thumb": ((Segment.LEFT_HAND,), 0.028),
    "hip": ((Segment.PELVIS, Segment.LEFT_THIGH, Segment.ABDOMEN), 0.105),
    "knee": ((Segment.LEFT_THIGH, Segment.LEFT_SHANK), 0.050),
    "ankle": ((Segment.LEFT_SHANK, Segment.LEFT_FOOT), 0.042),
    "heel": ((Segment.LEFT_FOOT, Segment.LEFT_SHANK), 0.034),
    "foot_index": ((Segment.LEFT_FOOT,), 0.034),
}


def _own_table() -> NDArray[np.float64]:
    """(33, segments) allowed thickness as a share of stature; 0 where a segment is foreign."""
    table = np.zeros((len(BLAZEPOSE_33), len(Segment)))
    for row, name in enumerate(BLAZEPOSE_33.keypoints):
        part = name.split("_", 1)[-1] if name != "nose" else name
        segments, thickness = _OWN["eye" if part.startswith("eye") else part]
        for segment in segments:
            paired = segment >= Segment.LEFT_CLAVICLE
            table[row, segment + (paired and not name.startswith("left_") and 1 - LEFT)] = thickness
    return table


_OWN_THICKNESS = _own_table()


def visible_landmarks(
    joints_xyz_m: NDArray[np.float64], people: NDArray[np.intp], heights_m: NDArray[np.float64], world: Primitives, camera: Camera
) -> NDArray[np.bool_]:
    """Whether each landmark is seen.

    Args:
        joints_xyz_m: (n, 33, 3) world.
        people: (n,) index of the athlete of each row, as in the primitives.
        heights_m: (n,) stature.
        world: Everything, in world coordinates.
        camera: From where.

    Returns:
        (n, 33).
    """
    n, k = joints_xyz_m.shape[:2]
    points = camera.to_camera(joints_xyz_m).reshape(-1, 3)
    depth = points[:, 2]
    xy = camera.project(joints_xyz_m)
    with np.errstate(invalid="ignore"):
        inside = ((xy >= 0) & (xy < [camera.width, camera.height])).all(-1)
    seen = world.moved(camera.rotation, -camera.rotation @ camera.position)
    entry = first_hits(seen, points / np.where(np.abs(depth) < 1e-9, 1.0, depth)[:, None])
    own = np.repeat(people, k)[:, None] == seen.person[None, :]
    landmark = np.tile(np.arange(k), n)
    allowed = _OWN_THICKNESS[landmark[:, None], seen.segment[None, :]] * np.repeat(heights_m, k)[:, None] * own
    hidden = (entry < (depth[:, None] - allowed - 0.001)).any(1)
    return inside & ~hidden.reshape(n, k)
