"""Scenes: pictures that show what the truth says, the same bytes in any order, people who hide each other."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from pose_analyzer.errors import SceneError
from pose_analyzer.synthetic import Exercise, Scene, load_truth, random_body, save_truth, scene_for
from pose_analyzer.synthetic.anthropometry import Segment
from shared_utils.skeletons import BLAZEPOSE_33

SMALL = {"width": 160, "height": 160, "fps": 10}


def index(name):
    return BLAZEPOSE_33.index(name)


def digest(scene, i):
    return hashlib.sha256(scene.frame_at(i)[0].image.tobytes()).hexdigest()


def two_people(first, second, **scene):
    return Scene.from_dict({"athletes": [first, second], "image": SMALL, "duration_s": 1.0} | scene)


def idle(x=0.0, y=0.0, heading=0.0, **athlete):
    return {"motion": {"exercise": "idle", "gestures": ["rest"]}, "position_m": [x, y], "heading_deg": heading} | athlete


# --- determinism ---------------------------------------------------------------------------------
def test_the_same_spec_gives_the_same_bytes_in_any_order():
    spec = {"reps": 1, "seed": 7, "noise_sigma": 5.0, "low_light": 0.3, "rate_jitter": 0.5, "pan_deg_per_s": 3.0, **SMALL}
    forward, backward = scene_for("squat", **spec), scene_for("squat", **spec)
    order = [0, 5, 9, 14]
    first = [digest(forward, i) for i in order]
    second = [digest(backward, i) for i in reversed(order)][::-1]
    assert first == second
    assert len(set(first)) == len(order)


def test_another_seed_gives_another_picture():
    assert digest(scene_for("squat", seed=1, **SMALL), 0) != digest(scene_for("squat", seed=2, **SMALL), 0)


def test_truth_without_a_picture_is_the_same_truth():
    scene = scene_for("deadlift", reps=1, seed=3, **SMALL)
    _, with_picture = scene.frame_at(12)
    alone = scene.truth_at(12)
    assert alone.joints_xy == pytest.approx(with_picture.joints_xy, abs=0)
    assert (alone.visible == with_picture.visible).all()
    assert (alone.boxes_xyxy == with_picture.boxes_xyxy).all()


# --- time ----------------------------------------------------------------------------------------
def test_frames_lie_at_their_place_on_the_media_clock():
    scene = scene_for("squat", reps=1, fps=25, width=64, height=64)
    assert len(scene) == round(scene.duration_s * 25)
    assert scene.timestamps_s == pytest.approx([i / 25 for i in range(len(scene))], abs=1e-5)


def test_a_variable_rate_jitters_without_running_backwards():
    scene = scene_for("squat", reps=2, fps=30, rate_jitter=0.9, seed=4, width=64, height=64)
    steps = np.diff(scene.timestamps_s)
    assert steps.min() > 0
    assert steps.std() > 0.1 / 30
    assert scene.timestamps_s[0] == 0.0
    # The truth is that of the jittered time, not of the frame's number.
    frame, truth = scene.frame_at(20)
    assert truth.timestamp_s == frame.timestamp_s == scene.timestamps_s[20]
    assert truth.progress[0] == pytest.approx(scene.athletes[0].line.at(frame.timestamp_s).u)


def test_asking_beyond_the_last_frame_is_an_index_error():
    scene = scene_for("squat", reps=1, **SMALL)
    with pytest.raises(IndexError, match="of"):
        scene.frame_at(len(scene))


# --- repetitions ---------------------------------------------------------------------------------
@pytest.mark.parametrize("exercise", [e for e in Exercise if e.value not in ("plank", "wall_sit", "walking", "idle")])
def test_a_scene_has_as_many_repetitions_as_asked_for(exercise):
    scene = scene_for(exercise, reps=4, partial={2: 0.5}, **SMALL)
    repetitions = scene.repetitions(1)
    assert len(repetitions) == 4
    assert sum(r.counts for r in repetitions) == 3
    last = scene.truth_at(len(scene) - 1)
    assert last.repetitions.tolist() == [3]


def test_counts_and_phases_in_the_truth_follow_the_boundaries():
    scene = scene_for("squat", reps=2, **SMALL)
    first = scene.repetitions(1)[0]
    for i, t in enumerate(scene.timestamps_s):
        truth = scene.truth_at(i) if i % 4 == 0 else None
        if truth is None:
            continue
        assert truth.repetitions[0] == sum(r.end_s <= t for r in scene.repetitions(1))
        inside = first.start_s <= t < first.end_s
        assert (truth.attempts[0] == 1) == inside
        if first.turn_start_s <= t <= first.turn_end_s:
            assert truth.phases == ("bottom",)
            assert truth.angle_deg("left_knee_flexion_deg") == pytest.approx(110, abs=1e-6)


def test_a_clip_that_ends_early_has_an_incomplete_repetition():
    scene = scene_for("squat", reps=2, duration_s=4.0, **SMALL)
    assert [r.complete for r in scene.repetitions(1)] == [True, False]
    assert sum(r.counts for r in scene.repetitions(1)) == 1


def test_holds_are_no_repetitions():
    scene = scene_for("plank", hold_s=3.0, **SMALL)
    assert scene.repetitions(1) == ()
    (hold,) = scene.holds(1)
    assert hold.turn_end_s - hold.turn_start_s == pytest.approx(3.0)


def test_times_of_somebody_who_enters_later_are_on_the_media_clock():
    scene = Scene.from_dict(
        {"athletes": [{"motion": {"exercise": "squat", "reps": 1, "start_delay_s": 0.5}, "enters_s": 2.0}], "image": SMALL}
    )
    assert scene.repetitions(1)[0].start_s == pytest.approx(2.5)
    assert len(scene.truth_at(10)) == 0
    assert len(scene.truth_at(21)) == 1


# --- pictures ------------------------------------------------------------------------------------
_SEGMENTS = {
    "knee": {Segment.LEFT_THIGH, Segment.LEFT_SHANK},
    "elbow": {Segment.LEFT_UPPER_ARM, Segment.LEFT_FOREARM},
    "ankle": {Segment.LEFT_SHANK, Segment.LEFT_FOOT},
    "shoulder": {Segment.LEFT_UPPER_ARM, Segment.THORAX, Segment.NECK},
    "wrist": {Segment.LEFT_FOREARM, Segment.LEFT_HAND},
}


@pytest.mark.parametrize("azimuth", [0, 50, 90, 150, 180, 250])
@pytest.mark.parametrize("exercise", ["squat", "lateral_raise", "push_up"])
def test_where_a_joint_is_visible_the_picture_shows_its_limb(exercise, azimuth):
    scene = scene_for(exercise, azimuth_deg=azimuth, reps=1, seed=2, width=320, height=320, fps=10)
    checked = 0
    for i in (1, 12, 17):
        truth = scene.truth_at(i)
        person, segment = scene.segments_at(i)
        for side in (0, 1):
            for part, allowed in _SEGMENTS.items():
                k = index(("left_", "right_")[side] + part)
                if not truth.visible[0, k]:
                    continue
                x, y = np.floor(truth.joints_xy[0, k]).astype(int)
                expected = {s + side if s >= Segment.LEFT_CLAVICLE else s for s in allowed}
                assert person[y, x] == 0
                # The joint's own ray lies up to half a pixel beside the pixel's.
                around = set(segment[y - 1 : y + 2, x - 1 : x + 2].ravel().tolist())
                assert around & expected, f"{part} {side} at {azimuth}: {Segment(segment[y, x]).name}"
                checked += 1
    assert checked >= 8


def test_the_box_is_the_extent_of_the_silhouette():
    scene = scene_for("squat", azimuth_deg=30, reps=1, seed=1, **SMALL)
    person, _ = scene.segments_at(10)
    rows, columns = np.nonzero(person == 0)
    expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert scene.truth_at(10).boxes_xyxy[0].tolist() == expected


def test_somebody_in_front_hides_who_stands_behind():
    scene = two_people(idle(x=1.0), idle(x=-1.0), camera={"azimuth_deg": 0, "elevation_deg": 3})
    truth = scene.truth_at(2)
    assert truth.visible_share[0] == pytest.approx(1.0)
    assert truth.visible_share[1] < 0.35
    trunk = [index(n) for n in ("left_hip", "right_hip", "left_shoulder", "right_shoulder", "nose")]
    assert truth.visible[0, trunk].all()
    assert not truth.visible[1, trunk].any()
    person, _ = scene.segments_at(2)
    x, y = np.floor(truth.joints_xy[1, index("nose")]).astype(int)
    assert person[y, x] == 0


def test_two_who_cross_change_nothing_but_who_is_in_front():
    walker = {"motion": {"exercise": "walking"}}
    near = walker | {"motion": {"exercise": "walking", "path_m": [[0.8, -1.5], [0.8, 1.5]]}}
    far = walker | {"motion": {"exercise": "walking", "path_m": [[-0.8, 1.5], [-0.8, -1.5]]}}
    scene = Scene.from_dict({"athletes": [near, far], "image": SMALL, "camera": {"distance_m": 6.0, "target_m": [0, 0, 0.9]}})
    shares = np.array([scene.truth_at(i).visible_share for i in range(len(scene))])
    assert (shares[:, 0] > 0.999).all()
    middle = len(scene) // 2
    assert shares[middle - 1 : middle + 2, 1].min() < 0.4
    assert shares[[2, -3], 1].min() > 0.95
    truth = scene.truth_at(middle)
    person, _ = scene.segments_at(middle)
    x, y = np.floor(truth.joints_xy[0, index("left_hip")]).astype(int)
    assert person[y, x] == 0


def test_the_far_side_of_the_own_body_is_hidden_in_a_side_view():
    truth = scene_for("bicep_curl", azimuth_deg=90, reps=1, side="left", **SMALL).truth_at(2)
    for part in ("shoulder", "hip", "elbow", "ear"):
        assert truth.visible[0, index(f"left_{part}")]
        assert not truth.visible[0, index(f"right_{part}")]


def test_the_face_is_hidden_from_behind():
    truth = scene_for("squat", azimuth_deg=180, reps=1, **SMALL).truth_at(1)
    assert not truth.visible[0, [index(n) for n in ("nose", "left_eye", "right_eye", "left_mouth")]].any()
    assert truth.visible[0, [index(n) for n in ("left_shoulder", "right_shoulder", "left_hip", "right_hip")]].all()


def test_joints_outside_of_the_picture_are_not_visible_but_known():
    scene = scene_for("squat", reps=1, distance_m=1.2, target_m=[0, 0, 1.5], **SMALL)
    truth = scene.truth_at(0)
    ankle = index("left_ankle")
    assert truth.joints_xy[0, ankle, 1] > 160
    assert not truth.visible[0, ankle]
    assert not truth.inside[0, ankle]
    assert truth.poses().keypoint_presence[0, ankle] == 0


def test_people_come_and_go_in_their_time():
    scene = two_people(idle(y=-0.8), idle(y=0.8, enters_s=0.3, leaves_s=0.7, track_id=9))
    present = [scene.truth_at(i).track_ids.tolist() for i in range(len(scene))]
    assert present == [[1]] * 3 + [[1, 9]] * 4 + [[1]] * 3


def test_an_empty_scene_is_a_room():
    frame, truth = Scene.from_dict({"athletes": [], "image": SMALL, "duration_s": 0.2}).frame_at(0)
    assert len(truth) == 0
    assert len(truth.poses()) == 0
    assert frame.image.std() > 5


def test_the_camera_finds_a_distance_at_which_the_whole_movement_fits():
    for exercise in ("jumping_jack", "push_up", "overhead_press"):
        for azimuth in (0, 90):
            scene = scene_for(exercise, azimuth_deg=azimuth, reps=1, **SMALL)
            boxes = np.concatenate([scene.truth_at(i).boxes_xyxy for i in range(0, len(scene), 4)])
            assert boxes.min() > 0
            assert boxes.max() < 160


def test_a_panning_camera_shows_the_room_that_a_turned_camera_would_see():
    spec = {
        "athletes": [],
        "image": SMALL,
        "duration_s": 2.0,
        "camera": {"distance_m": 4.0, "target_m": [0, 0, 1.0], "pan_deg_per_s": 10.0},
    }
    panned = Scene.from_dict(spec)
    late = panned.frame_at(19)[0].image.astype(float)
    camera = panned.camera_at(1.9)
    from pose_analyzer.synthetic.render.exposure import Exposure
    from pose_analyzer.synthetic.render.room import room_image

    stage = panned._stage
    direct = room_image(camera, panned.spec.room, size_m=stage.size, centre_m=stage.centre, seed=0)
    expected = Exposure(panned.spec.image, 0).develop(direct, None, 0).astype(float)
    # Both are samples of the same room; the warp blurs by less than a pixel.
    assert np.abs(late - expected).mean() < 2.0
    assert np.abs(panned.frame_at(0)[0].image.astype(float) - expected).mean() > 6.0


# --- what the camera does to the picture --------------------------------------------------------------
def test_noise_has_the_asked_for_deviation_and_no_pattern_between_frames():
    clean, noisy = (scene_for("squat", reps=1, noise_sigma=s, width=320, height=240) for s in (0.0, 6.0))
    difference = [noisy.frame_at(i)[0].image.astype(float) - clean.frame_at(i)[0].image for i in (3, 4)]
    assert difference[0].std() == pytest.approx(6.0, rel=0.05)
    assert abs(difference[0].mean()) < 0.3
    assert abs(np.corrcoef(difference[0].ravel(), difference[1].ravel())[0, 1]) < 0.02


def test_low_light_is_darker_and_noisier():
    day, night = (scene_for("squat", reps=1, low_light=v, **SMALL).frame_at(0)[0].image.astype(float) for v in (0.0, 0.8))
    assert night.mean() < 0.6 * day.mean()
    wall = (slice(2, 30), slice(2, 30))
    assert np.abs(np.diff(night[wall], axis=1)).mean() > np.abs(np.diff(day[wall], axis=1)).mean()


def test_motion_blur_softens_what_moves_and_nothing_else():
    tempo = [0.4, 0.0, 0.4, 0.0]
    sharp, blurred = (scene_for("squat", reps=1, tempo=tempo, motion_blur=b, **SMALL) for b in (0.0, 1.0))
    i = 7
    assert sharp.truth_at(i).phases == ("down",)
    a, b = (s.frame_at(i)[0].image.astype(float) for s in (sharp, blurred))
    assert np.abs(a - b).max() > 30
    assert np.abs(a[:20, :20] - b[:20, :20]).max() <= 1


def test_nobody_fades_in_under_motion_blur():
    sharp, blurred = (scene_for("squat", reps=1, motion_blur=b, **SMALL).frame_at(0)[0].image.astype(float) for b in (0.0, 1.0))
    assert np.abs(sharp - blurred).mean() < 0.5


def test_a_camera_below_the_floor_is_refused():
    with pytest.raises(SceneError, match="above the floor"):
        scene_for("squat", elevation_deg=-25, distance_m=6.0, **SMALL)


def test_compression_changes_little_and_gamma_darkens():
    plain, squeezed, dark = (
        scene_for("squat", reps=1, **SMALL, **extra).frame_at(0)[0].image.astype(float)
        for extra in ({}, {"jpeg_quality": 40}, {"gamma": 1.6})
    )
    assert 0.2 < np.abs(plain - squeezed).mean() < 8
    assert dark.mean() < plain.mean() - 10


def test_smooth_edges_lie_between_the_colours_on_both_sides():
    hard, soft = (scene_for("squat", reps=1, antialias=a, **SMALL).frame_at(5)[0].image.astype(int) for a in (False, True))
    changed = np.abs(hard - soft).max(-1) > 8
    # Only a rim changes, and by shades rather than by swapping one side for the other.
    assert 0.005 < changed.mean() < 0.08
    steps = [np.abs(np.diff(i, axis=1)).max(-1) for i in (hard, soft)]
    assert (steps[1] > 120).sum() < (steps[0] > 120).sum()


# --- truth --------------------------------------------------------------------------------------------
def test_pixels_are_the_projection_of_the_metres():
    scene = scene_for("lunge", azimuth_deg=35, reps=1, elevation_deg=15, roll_deg=4, **SMALL)
    truth = scene.truth_at(9)
    camera_xyz = truth.joints_camera_m[0]
    by_hand = truth.focal_px * camera_xyz[:, :2] / camera_xyz[:, 2:] + [80, 80]
    assert truth.joints_xy[0] == pytest.approx(by_hand, abs=1e-9)


def test_poses_are_what_a_perfect_detector_would_say():
    truth = scene_for("squat", azimuth_deg=40, reps=1, **SMALL).truth_at(14)
    poses = truth.poses()
    assert poses.skeleton == BLAZEPOSE_33
    assert poses.track_ids.tolist() == [1]
    assert poses.keypoints_xy[0] == pytest.approx(truth.joints_xy[0], abs=1e-3)
    assert (poses.keypoint_confidence[0] == truth.visible[0]).all()
    hips = poses.world_xyz_m[0, [index("left_hip"), index("right_hip")]]
    assert hips.mean(0) == pytest.approx([0, 0, 0], abs=1e-6)
    # y points down, z away from the camera; at 40 degrees the left hip is nearer.
    assert poses.world_xyz_m[0, index("nose"), 1] < -0.3
    assert hips[0, 2] < hips[1, 2]


def test_angles_in_space_and_in_the_picture_agree_when_the_movement_lies_in_it():
    scene = scene_for("squat", azimuth_deg=90, elevation_deg=0, reps=1, distance_m=30.0, fov_deg=10, **SMALL)
    truth = scene.truth_at(17)
    angles = truth.angles()
    flat, space = float(angles["left_knee_flexion_deg"][0]), float(angles["left_knee_flexion_3d_deg"][0])
    assert space == pytest.approx(110, abs=1e-6)
    assert flat == pytest.approx(space, abs=5.0)
    front = scene_for("squat", azimuth_deg=0, reps=1, **SMALL).truth_at(17)
    assert front.angle_deg("left_knee_flexion_deg") == pytest.approx(110, abs=1e-6)
    assert abs(float(front.angles()["left_knee_flexion_deg"][0]) - 110) > 15


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_truth_survives_writing_and_reading_exactly(tmp_path, suffix):
    scene = two_people(
        {"motion": {"exercise": "squat", "reps": 1, "faults": {"knee_valgus_deg": 12.0}}, "position_m": [0.0, -0.7]},
        idle(y=0.7, enters_s=0.4),
    )
    truth = scene.clip_truth()
    again = load_truth(save_truth(tmp_path / f"clip.truth{suffix}", truth))
    assert again.repetitions == truth.repetitions
    assert Scene.from_dict(again.spec).spec == scene.spec
    assert len(again.frames) == len(scene)
    for a, b in zip(again.frames, truth.frames, strict=True):
        for name in type(a).__slots__:
            x, y = getattr(a, name), getattr(b, name)
            if isinstance(x, np.ndarray):
                assert x.dtype == y.dtype, name
                assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f"), name
            else:
                assert x == y, name


def test_a_file_that_is_no_truth_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"format": 1}')
    with pytest.raises(SceneError, match="not a truth"):
        load_truth(tmp_path / "a.json")
    (tmp_path / "a.npz").write_bytes(b"nothing")
    with pytest.raises(SceneError, match="not a truth"):
        load_truth(tmp_path / "a.npz")
    with pytest.raises(SceneError, match="no truth at"):
        load_truth(tmp_path / "missing.npz")


def test_asking_for_an_angle_or_athlete_that_is_not_there_names_what_is():
    truth = scene_for("squat", reps=1, **SMALL).truth_at(0)
    with pytest.raises(SceneError, match="left_knee_flexion_deg"):
        truth.angle_deg("left_knee")
    with pytest.raises(SceneError, match="there are"):
        truth.angle_deg("left_knee_flexion_deg", track_id=5)


def test_random_bodies_differ_and_are_valid():
    bodies = {random_body(seed) for seed in range(30)}
    assert len(bodies) == 30
    assert {b.hair_style for b in bodies} == {"short", "long", "bun"}
