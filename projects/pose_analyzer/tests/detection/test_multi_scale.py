"""A detector that is helped with small people: finds them, once, at a cost that is bounded, and changes nothing for the others."""

from __future__ import annotations

import contextlib

import _scale_fakes as fakes
import numpy as np
import pytest

from pose_analyzer.detection import MultiScaleDetector, PoseDetector, ScaleClass, ScaleProfile, create_detector
from pose_analyzer.errors import DetectorError
from pose_analyzer.pipeline.stream import make_detector
from pose_analyzer.settings import load_pose_settings
from pose_analyzer.synthetic import Scene
from shared_utils.data_models import Poses

SMALL = (900.3, 400.0, 60.0)
BIG = (300.0, 100.0, 500.0)


def _detector(reach: float = 0.25, **options) -> tuple[MultiScaleDetector, fakes.BarDetector]:
    inner = fakes.BarDetector(reach)
    return MultiScaleDetector(inner, reach=reach, **options), inner


def _tops(poses: Poses) -> list[int]:
    return sorted(np.rint(poses.boxes_xyxy[:, 1]).astype(int).tolist())


def _watch(detector: PoseDetector, image: np.ndarray, frames: int) -> list[Poses]:
    return [detector.detect([image], stream_ids=["s"])[0] for _ in range(frames)]


def test_it_is_a_detector_and_says_it_is_its_inner_one():
    detector, inner = _detector()
    assert isinstance(detector, PoseDetector)
    assert (detector.name, detector.skeleton, detector.models) == (inner.name, inner.skeleton, inner.models)
    assert detector.detect([]) == []


def test_somebody_too_small_for_the_inner_detector_is_found_once_and_in_place():
    detector, inner = _detector(mode="on")
    image = fakes.picture([SMALL, BIG])
    assert _tops(inner.detect([image])[0]) == [100]
    [poses] = detector.detect([image])
    assert _tops(poses) == [100, 400]
    small = poses[int(poses.boxes_xyxy[:, 1].argmax())]
    assert np.abs(small.keypoints_xy - fakes.body(*SMALL).keypoints_xy).max() < 2


@pytest.mark.parametrize("height", [42.0, 60.0, 90.0, 150.0, 240.0])
def test_wherever_somebody_stands_whole_tiles_find_them_once(height):
    detector, _ = _detector(mode="on")
    random = np.random.default_rng(int(height))
    for x, y in zip(random.uniform(60, 1220, 4), random.uniform(0, 718 - height, 4), strict=True):
        [poses] = detector.detect([fakes.picture([(x, y, height)])])
        assert len(poses) == 1


def test_all_tiles_of_all_pictures_go_to_the_inner_detector_in_one_call():
    detector, inner = _detector(mode="on")
    detector.detect([fakes.picture([BIG]), fakes.picture([SMALL]), fakes.picture([])], stream_ids=["a", "b", "c"])
    assert len(inner.calls) == 2
    assert inner.calls == [3, 3 * len(detector.plan.tiles(1280, 720))]


def test_auto_leaves_a_picture_of_somebody_near_as_it_is_but_for_a_probe_now_and_then():
    detector, inner = _detector()
    image = fakes.picture([BIG])
    plain = fakes.BarDetector().detect([image])[0]
    for poses in _watch(detector, image, 60):
        assert poses.boxes_xyxy.tobytes() == plain.boxes_xyxy.tobytes()
        assert poses.keypoint_confidence.tobytes() == plain.keypoint_confidence.tobytes()
    assert sum(inner.calls) == 60 + 60 // 15


def test_auto_searches_a_still_picture_only_when_nobody_or_somebody_small_was_found():
    detector, inner = _detector()
    detector.detect([fakes.picture([BIG])])
    assert inner.calls == [1]
    [poses] = detector.detect([fakes.picture([SMALL])])
    assert _tops(poses) == [400]


def test_in_a_stream_somebody_small_is_found_within_a_turn_and_not_lost_again():
    detector, _ = _detector()
    turn = len(detector.plan.tiles(1280, 720))
    seen = [_tops(poses) for poses in _watch(detector, fakes.picture([SMALL]), turn + 60)]
    first = seen.index([400])
    assert first <= turn
    assert all(tops == [400] for tops in seen[first:])


def test_far_people_behind_somebody_near_are_found_by_the_probes_then_at_full_speed():
    detector, _ = _detector(probe_frames=2)
    others = [(700.0, 420.0, 60.0), (950.0, 300.0, 60.0)]
    seen = [len(poses) for poses in _watch(detector, fakes.picture([BIG, *others]), 300)]
    assert seen[0] == 1
    assert seen[-1] == 3
    assert max(seen) == 3


def test_the_search_calms_down_after_the_small_people_left():
    detector, inner = _detector(hold_frames=20)
    _watch(detector, fakes.picture([SMALL, BIG]), 400)
    _watch(detector, fakes.picture([BIG]), 60)
    before = sum(inner.calls)
    _watch(detector, fakes.picture([BIG]), 30)
    assert sum(inner.calls) - before == 30 + 2


def test_who_looks_small_for_a_moment_does_not_start_the_search():
    """Somebody just found may be measured wrongly; who stands near after all leaves nothing to look for."""
    detector, inner = _detector()
    near = fakes.picture([BIG])
    _watch(detector, near, 20)
    before = sum(inner.calls)
    _watch(detector, fakes.picture([BIG, (900.3, 100.0, 190.0)]), 3)
    _watch(detector, near, 57)
    assert sum(inner.calls) - before <= 60 + 60 // 15 + 6


def test_the_search_ends_when_the_small_person_came_near():
    detector, inner = _detector(hold_frames=1000)
    _watch(detector, fakes.picture([(900.3, 100.0, 280.0), BIG]), 30)
    _watch(detector, fakes.picture([(900.3, 100.0, 290.0), BIG]), 30)
    before = sum(inner.calls)
    for tall in range(300, 460, 20):
        _watch(detector, fakes.picture([(900.3, 100.0, float(tall)), BIG]), 1)
    calm = sum(inner.calls)
    _watch(detector, fakes.picture([(900.3, 100.0, 460.0), BIG]), 30)
    assert sum(inner.calls) - calm == 30 + 2
    assert calm > before


def test_nobody_is_searched_for_beyond_max_people_and_the_surest_stay():
    people = [BIG, (700.0, 300.0, 330.0), SMALL]
    detector, inner = _detector(mode="on", max_people=2)
    [poses] = detector.detect([fakes.picture(people)])
    assert len(poses) == 2
    assert inner.calls == [1]


def test_the_same_frames_give_the_same_bytes():
    frames = [fakes.picture([(900 + 3 * i, 400, 60), BIG]) for i in range(40)]
    runs = []
    for _ in range(2):
        detector, _ = _detector(probe_frames=1)
        runs.append(b"".join(detector.detect([f], stream_ids=["s"])[0].keypoints_xy.tobytes() for f in frames))
    assert runs[0] == runs[1]


def test_streams_do_not_mix_and_several_frames_of_one_stream_may_come_at_once():
    image, nobody = fakes.picture([SMALL]), fakes.picture([])
    one, _ = _detector(probe_frames=1)
    alone = [len(p) for p in _watch(one, image, 80)]
    both, _ = _detector(probe_frames=1)
    at_once = both.detect([image, nobody] * 80, stream_ids=["s", "t"] * 80)
    assert [len(p) for p in at_once[::2]] == alone
    assert not any(len(p) for p in at_once[1::2])


def test_a_forgotten_stream_starts_anew_and_closing_closes_the_inner_detector():
    detector, inner = _detector(probe_frames=1)
    first = [len(p) for p in _watch(detector, fakes.picture([SMALL]), 80)]
    detector.forget("s")
    assert [len(p) for p in _watch(detector, fakes.picture([SMALL]), 80)] == first
    detector.close()
    assert inner.forgotten == ["s"]
    assert inner.closed


def test_another_picture_size_in_a_stream_is_another_view():
    detector, _ = _detector(mode="on")
    assert len(_watch(detector, fakes.picture([SMALL]), 2)[-1]) == 1
    assert len(_watch(detector, fakes.picture([(100, 20, 60)], 320, 240), 1)[0]) == 1
    assert len(_watch(detector, fakes.picture([(10, 2, 12)], 20, 16), 1)[0]) == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"mode": "off"}, "without MultiScaleDetector"),
        ({"reach": 0.0}, "reach"),
        ({"min_person_px": 4}, "min_person_px"),
        ({"tiles_per_frame": 0}, "tiles_per_frame"),
        ({"max_people": 0}, "max_people"),
    ],
)
def test_impossible_options_are_refused(change, text):
    with pytest.raises(DetectorError, match=text):
        MultiScaleDetector(fakes.BarDetector(), **change)


def test_it_does_not_wrap_itself_and_refuses_what_is_no_picture():
    detector, _ = _detector()
    with pytest.raises(DetectorError, match="already"):
        MultiScaleDetector(detector)
    with pytest.raises(DetectorError, match="image 0"):
        detector.detect([np.zeros((64, 64), np.uint8)])


@pytest.mark.parametrize(("setting", "mode"), [("off", None), ("auto", "auto"), ("on", "on")])
def test_the_settings_say_whether_it_is_used(setting, mode):
    overrides = {"detection.multi_scale": setting, "detection.min_person_px": 60, "detection.threads": 1, "detection.max_people": 9}
    with contextlib.closing(make_detector(load_pose_settings(overrides=overrides))) as detector:
        assert detector.name == "blazepose"
        assert isinstance(detector, MultiScaleDetector) == (mode is not None)
        if isinstance(detector, MultiScaleDetector):
            assert (detector.plan.mode, detector.plan.min_person_px, detector.plan.max_people) == (mode, 60, 9)


# --- heights ----------------------------------------------------------------------------------------
def test_classes_by_height_and_a_profile_without_jumps():
    assert [ScaleClass.of(h) for h in (400, 120, 80, 30)] == [ScaleClass.NEAR, ScaleClass.MEDIUM, ScaleClass.FAR, ScaleClass.VERY_FAR]
    profile = ScaleProfile(confidence=(1.0, 0.9, 0.8, 0.6), min_score=(0.2, 0.3, 0.4, 0.5))
    factors = profile.confidence_factor(np.arange(10, 500))
    assert (np.diff(factors) >= 0).all()
    assert np.diff(factors).max() < 0.02
    assert (factors[0], factors[-1]) == (0.6, 1.0)
    assert (np.diff(profile.least_score(np.arange(10, 500))) <= 0).all()


def test_a_small_person_needs_the_score_of_their_height_and_is_less_sure():
    profile = ScaleProfile(confidence=(1.0, 1.0, 1.0, 0.5), min_score=(0.1, 0.1, 0.1, 0.95))
    people = Poses.concatenate([fakes.body(100, 100, 300), fakes.body(400, 100, 30), fakes.body(600, 100, 30, score=0.99)])
    kept = profile.weighed(people, np.array([300.0, 30.0, 30.0]))
    assert kept.scores.tolist() == pytest.approx([0.9, 0.99])
    assert kept.keypoint_confidence[:, 0].tolist() == pytest.approx([0.9, 0.45])


@pytest.mark.parametrize("change", [{"confidence": (1.0, 1.0, 1.0)}, {"min_score": (0.0, 0.0, 0.0, 2.0)}])
def test_a_profile_of_impossible_numbers_is_refused(change):
    with pytest.raises(DetectorError, match=next(iter(change))):
        ScaleProfile(**({"confidence": (1.0,) * 4, "min_score": (0.0,) * 4} | change))


# --- BlazePose --------------------------------------------------------------------------------------
def _gym(people: list[dict], distance_m: float) -> Scene:
    return Scene.from_dict(
        {
            "seed": 5,
            "athletes": people,
            "camera": {"distance_m": distance_m, "fov_deg": 50, "elevation_deg": 6, "target_m": [0, 0, 0.9]},
            "image": {"width": 640, "height": 480, "fps": 15},
            "duration_s": 4.0,
        }
    )


def _person(y: float, exercise: str = "bicep_curl") -> dict:
    return {"motion": {"exercise": exercise, "reps": 5}, "position_m": [0.0, y]}


@pytest.fixture(scope="module")
def blazepose():
    with MultiScaleDetector(create_detector("blazepose", threads=1, upsampling="cubic")) as detector:
        yield detector


def test_blazepose_finds_and_follows_people_of_sixty_pixels(blazepose):
    # 480 px high, 50 degrees: a focal length of 515 px, so that 1.75 m are 60 px at 15 m.
    scene = _gym([_person(-2.5), _person(2.5, "squat")], 15.0)
    plain = create_detector("blazepose", threads=1)
    frames = [scene.frame_at(i) for i in range(30)]
    before = [len(plain.detect([frame.image], stream_ids=["s"])[0]) for frame, _ in frames]
    after = [blazepose.detect([frame.image], stream_ids=["far"])[0] for frame, _ in frames]
    assert max(before) == 0
    assert len(after[-1]) == 2
    assert max(len(poses) for poses in after) == 2
    truth = frames[-1][1].poses()
    for hip in ("left_hip", "right_hip"):
        found, true = np.sort(after[-1].keypoint(hip)[:, 0]), np.sort(truth.keypoint(hip)[:, 0])
        assert np.abs(found - true).max() < 5
    blazepose.forget("far")


def test_blazepose_gives_the_bytes_of_the_plain_detector_for_somebody_near(blazepose):
    scene = _gym([_person(0.0, "squat")], 3.0)
    plain = create_detector("blazepose", threads=1)
    for i in range(20):
        image = scene.frame_at(i)[0].image
        expected, poses = plain.detect([image], stream_ids=["s"])[0], blazepose.detect([image], stream_ids=["near"])[0]
        assert len(poses) == 1
        assert poses.keypoints_xy.tobytes() == expected.keypoints_xy.tobytes()
        assert poses.keypoint_confidence.tobytes() == expected.keypoint_confidence.tobytes()
    blazepose.forget("near")


def test_blazepose_finds_small_people_in_a_still_picture_and_nobody_in_an_empty_room(blazepose):
    empty = _gym([], 15.0)
    images = [_gym([_person(-2.5), _person(2.5)], 15.0).frame_at(0)[0].image, empty.frame_at(0)[0].image]
    assert [len(poses) for poses in blazepose.detect(images)] == [2, 0]


def test_adopted_people_are_followed_from_the_next_picture_on():
    scene = _gym([_person(-2.5), _person(2.5)], 15.0)
    frame, truth = scene.frame_at(0)
    with create_detector("blazepose", threads=1) as detector:
        assert detector.adopt("s", truth.poses(), width_px=640, height_px=480) == 2
        assert detector.adopt("s", truth.poses(), width_px=640, height_px=480) == 0
        [poses] = detector.detect([frame.image], stream_ids=["s"])
        assert len(poses) == 2
        with pytest.raises(DetectorError, match="blazepose_33"):
            detector.adopt("s", Poses.empty(fakes.COCO_17), width_px=640, height_px=480)


def test_unknown_upsampling_is_refused():
    with pytest.raises(DetectorError, match="upsampling"):
        create_detector("blazepose", upsampling="sinc")
