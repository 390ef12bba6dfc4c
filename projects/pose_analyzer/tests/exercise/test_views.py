"""What the camera does to a count: cuts to another view, zooms, legs out of the picture."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.exercise import RepetitionCounter, load_profile
from pose_analyzer.exercise.body import SINKING, Bodies
from pose_analyzer.exercise.cuts import ViewWatch
from pose_analyzer.synthetic import scene_for
from pose_analyzer.synthetic.observed import observed
from shared_utils.data_models import EventType, Poses
from shared_utils.skeletons import BLAZEPOSE_33

LEGS = [i for i, name in enumerate(BLAZEPOSE_33.keypoints) if name.split("_")[-1] in ("knee", "ankle", "heel", "index", "hip")]
LEGS = [i for i in LEGS if i >= 23]


def seen(exercise, azimuth_deg, *, reps=3, fps=20.0):
    """(poses, time) of a set from one direction; the movement is the same from all."""
    return [(poses, t) for poses, t, _ in observed(scene_for(exercise, azimuth_deg=azimuth_deg, reps=reps, seed=9961, fps=fps), seed=9961)]


def counted(exercise, sequence, *, with_poses=True):
    counter = RepetitionCounter(load_profile(exercise))
    events = []
    for i, (p, t) in enumerate(sequence):
        events += counter.update(joint_angles(p, timestamp_s=t), p if with_poses else None, timestamp_s=t, frame_index=i)
    return events + counter.flush()


def completed(events):
    return sum(e.type == EventType.REP_COMPLETED for e in events)


def changes(sequence):
    """Indices of the frames at which a change of the camera is told."""
    bodies = Bodies()
    angles = [bodies.add_to(joint_angles(p, timestamp_s=t), p, timestamp_s=t) for p, t in sequence]
    watch = ViewWatch(angles[0].names)
    return [i for i, (a, (_, t)) in enumerate(zip(angles, sequence, strict=True)) if watch.look(a.value_deg[0], t) == "changed"]


def without_legs(sequence):
    out = []
    for p, t in sequence:
        confidence = p.keypoint_confidence.copy()
        confidence[:, LEGS] = 0.0
        out.append((p.replace(keypoint_confidence=confidence), t))
    return out


def moved(poses, *, factor=1.0, down_px=0.0):
    shift = np.array([0.0, down_px], np.float32)
    return poses.replace(
        keypoints_xy=poses.keypoints_xy * np.float32(factor) + shift, boxes_xyxy=poses.boxes_xyxy * np.float32(factor) + np.tile(shift, 2)
    )


@pytest.mark.parametrize("at", range(30, 75, 5))
def test_a_cut_to_another_view_neither_adds_nor_doubles_a_repetition(at):
    """At rest, on the way down, at the bottom, on the way up: at most the lift that was cut in two is not counted."""
    first, second = seen("squat", 80), seen("squat", 10)
    assert completed(counted("squat", first[:at] + second[at:])) in (2, 3)


def test_a_cut_during_a_rest_costs_nothing():
    first, second = seen("squat", 80), seen("squat", 0)
    one, two, _ = (e for e in counted("squat", first) if e.type == EventType.REP_COMPLETED)
    rest = (one.frames[-1] + two.frames[0]) // 2
    assert completed(counted("squat", first[:rest] + second[rest:])) == 3
    assert len(changes(first[:rest] + second[rest:])) == 1


def test_a_cut_in_mid_movement_is_noticed_once():
    bottom = next(e for e in counted("squat", seen("squat", 80)) if e.type == EventType.REP_COMPLETED).frames[1]
    told = changes(seen("squat", 80)[:bottom] + seen("squat", 0)[bottom:])
    assert len(told) == 1
    assert bottom <= told[0] <= bottom + 4


@pytest.mark.parametrize(("exercise", "azimuth_deg", "fps"), [("jumping_jack", 0, 30.0), ("squat", 60, 10.0), ("sit_up", 80, 20.0)])
def test_no_movement_is_a_cut(exercise, azimuth_deg, fps):
    assert changes(seen(exercise, azimuth_deg, fps=fps)) == []


def test_a_zoom_is_no_other_view_and_costs_nothing():
    sequence = [(moved(p, factor=1.8) if 40 <= i < 70 else p, t) for i, (p, t) in enumerate(seen("squat", 60))]
    assert changes(sequence) == []
    assert completed(counted("squat", sequence)) == 3


def test_a_glitch_of_two_frames_is_no_cut():
    front, side = seen("squat", 80), seen("squat", 0)
    assert changes(front[:45] + side[45:47] + front[47:]) == []


@pytest.mark.parametrize(("exercise", "azimuth_deg"), [("squat", 20), ("squat", 75), ("barbell_squat", 40)])
def test_a_squat_counts_with_the_legs_out_of_the_picture(exercise, azimuth_deg):
    sequence = without_legs(seen("squat", azimuth_deg))
    events = counted(exercise, sequence)
    assert completed(events) == 3
    assert completed(counted(exercise, sequence, with_poses=False)) == 0
    assert all(e.data["range_deg"] is None for e in events)  # no knee was seen
    json.dumps([e.to_dict() for e in events], allow_nan=False)


def test_a_camera_that_leaps_is_no_squat():
    standing = without_legs(seen("squat", 40))[:8]
    still = [(p, i / 20) for i, (p, _) in enumerate(standing * 12)]
    leaping = [(moved(p, down_px=150.0) if (i // 25) % 2 else p, t) for i, (p, t) in enumerate(still)]
    assert counted("squat", leaping) == []


def test_sinking_is_measured_in_trunks_whatever_the_size():
    def most(sequence):
        bodies = Bodies()
        return max(bodies.add_to(joint_angles(p, timestamp_s=t), p, timestamp_s=t)[SINKING][0] for p, t in sequence)

    sequence = seen("squat", 45)
    large = [(moved(p, factor=2.0), t) for p, t in sequence]
    assert most(large) == pytest.approx(most(sequence), abs=1)
    assert 60 < most(sequence) < 130  # a thigh is 85 % of a trunk
    assert np.isnan(Bodies().add_to(joint_angles(sequence[0][0], timestamp_s=0), Poses.empty(BLAZEPOSE_33), timestamp_s=0)[SINKING]).all()
