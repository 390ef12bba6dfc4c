"""The whole BlazePose detector: against MediaPipe's own solution, over people, streams and bad input."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from pose_analyzer.detection.blazepose import BlazePoseDetector
from pose_analyzer.detection.blazepose.network import Network, Output, Runtime, resolve_device
from pose_analyzer.detection.blazepose.weights import find_weights
from pose_analyzer.detection.factory import create_detector
from pose_analyzer.detection.mediapipe_pose import MediaPipePoseDetector
from pose_analyzer.errors import DetectorError
from pose_analyzer.synthetic import scene_for
from shared_utils.data_models import Poses

DATA = Path(os.environ.get("POSE_TEST_DATA", Path(__file__).parents[4] / "../shared/data"))
CLIP = DATA / "exercise/squat_05.mp4"
BLACK = np.zeros((240, 320, 3), np.uint8)


@pytest.fixture(scope="module")
def detector() -> Iterator[BlazePoseDetector]:
    with BlazePoseDetector(max_people=6, threads=1) as built:
        yield built


@pytest.fixture(scope="module")
def single() -> Iterator[BlazePoseDetector]:
    with BlazePoseDetector(max_people=1, threads=1) as built:
        yield built


@pytest.fixture(scope="module")
def squat() -> list[np.ndarray]:
    """Eight frames of the test athlete, a quarter of a second apart."""
    frames = []
    for frame, _ in scene_for("squat", azimuth_deg=20, reps=1, fps=4, width=480, height=640):
        frames.append(frame.image)
        if len(frames) == 8:
            break
    return frames


@pytest.fixture(scope="module")
def pair(squat: list[np.ndarray]) -> list[np.ndarray]:
    """Two athletes side by side, in different phases."""
    return [np.concatenate([squat[i], squat[-1 - i][:, ::-1]], axis=1) for i in range(8)]


def _clip(count: int) -> list[np.ndarray]:
    if not CLIP.exists():
        pytest.skip(f"needs the clip {CLIP}")
    with av.open(str(CLIP)) as container:
        frames = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
        return [next(frames) for _ in range(count)]


def _distance_px(a: Poses, b: Poses, height_px: int) -> np.ndarray:
    """(33,) px at 640 px image height."""
    return np.hypot(*(a.keypoints_xy[0] - b.keypoints_xy[0]).T) * 640 / height_px


def _assert_equal(a: Poses, b: Poses) -> None:
    np.testing.assert_array_equal(a.keypoints_xy, b.keypoints_xy)
    np.testing.assert_array_equal(a.scores, b.scores)
    np.testing.assert_array_equal(a.boxes_xyxy, b.boxes_xyxy)


# --- against MediaPipe -----------------------------------------------------------------------------


def _assert_as_mediapipe(single: BlazePoseDetector, frames: list[np.ndarray], *, stream: bool) -> None:
    ids = [["s"], ["s"]] if stream else [None, None]
    distances = []
    with MediaPipePoseDetector() as reference:
        for frame in frames:
            [ours], [theirs] = single.detect([frame], stream_ids=ids[0]), reference.detect([frame], stream_ids=ids[1])
            assert len(ours) == len(theirs) == 1
            distances.append(_distance_px(ours, theirs, frame.shape[0]))
            assert np.abs(ours.keypoint_confidence - theirs.keypoint_confidence).max() < 0.05
            assert ours.keypoint_presence is not None
            assert theirs.keypoint_presence is not None
            assert np.abs(ours.keypoint_presence - theirs.keypoint_presence).max() < 0.05
            assert np.median(np.abs(ours.world_xyz_m - theirs.world_xyz_m)) < 0.003
    single.forget("s")
    assert np.median(distances) < 0.2
    assert np.percentile(distances, 95) < 1.0
    # Both are given the same pixels in the first frame, before their regions can come apart.
    assert np.median(distances[0]) < 0.02


def test_it_finds_what_mediapipe_finds_on_the_athlete(single, squat):
    _assert_as_mediapipe(single, squat, stream=True)


def test_it_finds_what_mediapipe_finds_in_still_images(single, squat):
    _assert_as_mediapipe(single, squat[:3], stream=False)


@pytest.mark.footage
def test_it_finds_what_mediapipe_finds_on_footage(single):
    _assert_as_mediapipe(single, _clip(24), stream=True)


def test_bfloat16_moves_landmarks_by_little(single, squat):
    """On processors without bfloat16 instructions both are the same."""
    with BlazePoseDetector(max_people=1, threads=1, precision="bf16") as fast:
        distances = [_distance_px(fast.detect([image])[0], single.detect([image])[0], 640) for image in squat[:3]]
    assert np.median(distances) < 2


# --- people and streams ----------------------------------------------------------------------------


def test_the_athlete_is_measured(single, squat):
    [poses] = single.detect(squat[:1])
    assert len(poses) == 1
    assert poses.scores[0] > 0.9
    x1, y1, x2, y2 = poses.boxes_xyxy[0]
    inside = poses.keypoints_xy[0][poses.keypoint_presence[0] > 0.5]
    assert ((inside >= (x1, y1)) & (inside <= (x2, y2))).all()
    hips = (poses.world_xyz_m[0, 23] + poses.world_xyz_m[0, 24]) / 2
    np.testing.assert_allclose(hips, 0, atol=0.02)
    assert 1.2 < np.linalg.norm(poses.world_xyz_m[0, 0] - poses.world_xyz_m[0, [31, 32]].mean(0)) < 2.0
    assert (poses.track_ids == -1).all()


def test_two_people_stay_two_and_keep_their_order(detector, pair):
    middles = []
    for image in pair:
        [poses] = detector.detect([image], stream_ids=["pair"])
        assert len(poses) == 2
        middles.append(poses.boxes_xyxy[:, [0, 2]].mean(1) > 480)
    detector.forget("pair")
    assert len({tuple(m) for m in middles}) == 1
    assert set(middles[0]) == {False, True}


def test_max_people_is_a_limit(single, pair):
    assert len(single.detect(pair[:1])[0]) == 1


def test_a_batch_gives_what_single_images_give(detector, squat, pair):
    images = [squat[0], BLACK, pair[0], squat[3]]
    alone = [detector.detect([image])[0] for image in images]
    for a, b in zip(detector.detect(images), alone, strict=True):
        _assert_equal(a, b)
    assert [len(poses) for poses in alone] == [1, 0, 2, 1]


def test_streams_in_one_call_are_as_streams_alone(detector, squat, pair):
    alone = [[detector.detect([image], stream_ids=["x"])[0] for image in clip] for clip in (squat, pair) if detector.forget("x") is None]
    for i in range(8):
        together = detector.detect([squat[i], pair[i]], stream_ids=["one", "two"])
        for poses, expected in zip(together, (alone[0][i], alone[1][i]), strict=True):
            _assert_equal(poses, expected)
    for stream_id in ("x", "one", "two"):
        detector.forget(stream_id)


def test_several_frames_of_a_stream_in_one_call_go_in_order(detector, squat):
    alone = [detector.detect([image], stream_ids=["a"])[0] for image in squat[:4]]
    ids = ["b", "c", "b", "b", "c", "b"]
    images = [squat[0], squat[0], squat[1], squat[2], squat[1], squat[3]]
    together = detector.detect(images, stream_ids=ids)
    for i, expected in zip((0, 2, 3, 5), alone, strict=True):
        _assert_equal(together[i], expected)
    for i, expected in zip((1, 4), alone, strict=False):
        _assert_equal(together[i], expected)
    for stream_id in "abc":
        detector.forget(stream_id)


def test_a_stream_carries_its_region_on_and_forgets_it(single, squat):
    first = single.detect([squat[0]], stream_ids=["s"])[0]
    second = single.detect([squat[0]], stream_ids=["s"])[0]
    assert np.abs(first.keypoints_xy - second.keypoints_xy).max() > 0  # another region, made from landmarks
    assert np.abs(first.keypoints_xy - second.keypoints_xy).max() < 20
    single.forget("s")
    _assert_equal(single.detect([squat[0]], stream_ids=["s"])[0], first)
    single.forget("s")


def test_the_same_frames_give_the_same_bytes(detector, pair):
    runs = [[detector.detect([image], stream_ids=[run])[0] for image in pair] for run in ("first", "second")]
    for a, b in zip(*runs, strict=True):
        assert a.keypoints_xy.tobytes() == b.keypoints_xy.tobytes()
        assert a.world_xyz_m.tobytes() == b.world_xyz_m.tobytes()
    for stream_id in ("first", "second"):
        detector.forget(stream_id)


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_is_nobody(detector, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    for _ in range(5):  # each search looks at another part
        assert len(detector.detect([noise], stream_ids=["noise"])[0]) == 0
    detector.forget("noise")


@pytest.mark.parametrize("shape", [(16, 16), (16, 1000), (3000, 17)])
def test_odd_sizes_are_fine(detector, shape):
    assert len(detector.detect([np.full((*shape, 3), 90, np.uint8)])[0]) == 0


def test_threads_may_share_a_detector(single, squat):
    expected = [single.detect([image], stream_ids=["alone"])[0] for image in squat[:3]]
    results: dict[str, list[Poses]] = {}

    def work(stream_id: str) -> None:
        results[stream_id] = [single.detect([image], stream_ids=[stream_id])[0] for image in squat[:3]]

    workers = [threading.Thread(target=work, args=(f"t{i}",)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for stream_id, poses in results.items():
        for a, b in zip(poses, expected, strict=True):
            _assert_equal(a, b)
        single.forget(stream_id)
    assert len(results) == 3
    single.forget("alone")


# --- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_people": 0}, "max_people must be 1 or more, got 0"),
        ({"search_frames": 0}, "search_frames must be 1 or more"),
        ({"threads": 0}, "threads must be 1 or more"),
        ({"min_detection_confidence": 1.5}, "min_detection_confidence must be in 0..1, got 1.5"),
        ({"min_tracking_confidence": -0.1}, "min_tracking_confidence must be in 0..1"),
        ({"precision": "f64"}, "precision must be 'f32' or 'bf16'"),
        ({"device": "gpu.7"}, "'gpu.7' is not available to OpenVINO; this machine has: cpu"),
        ({"device": "cuda"}, "'cuda' is not available"),
        ({"model": "blazepose_landmark_huge"}, "blazepose_landmark_huge"),
        ({"model": "blazepose_detector"}, "is not the expected network: it has no output for landmarks, score, heat, world"),
    ],
)
def test_a_wrong_option_is_refused_in_words(options, message):
    with pytest.raises(DetectorError, match=message):
        BlazePoseDetector(**options)


def test_a_file_that_is_no_network_is_refused(tmp_path):
    (tmp_path / "broken.tflite").write_bytes(b"no network" * 100)
    with pytest.raises(DetectorError, match=r"broken\.tflite is not a network that OpenVINO"):
        BlazePoseDetector(model=tmp_path / "broken.tflite")


def test_a_picture_beyond_opencvs_coordinates_is_refused(detector):
    with pytest.raises(DetectorError, match="at most 32766 px a side, got 33000x16"):
        detector.detect([np.zeros((16, 33000, 3), np.uint8)])


@pytest.mark.parametrize(
    ("asked", "available", "expected"),
    [
        ("cpu", ["CPU"], "CPU"),
        ("CPU", ["CPU", "GPU"], "CPU"),
        ("gpu", ["CPU", "GPU"], "GPU"),
        ("gpu", ["CPU", "GPU.0", "GPU.1"], "GPU.0"),
        ("gpu.1", ["CPU", "GPU.0", "GPU.1"], "GPU.1"),
        ("npu", ["CPU", "NPU"], "NPU"),
        ("auto", ["CPU"], "CPU"),
        ("auto", ["CPU", "GPU", "NPU"], "GPU"),
    ],
)
def test_the_device_is_the_one_asked_for(asked, available, expected):
    assert resolve_device(asked, available) == expected


@pytest.mark.parametrize("asked", ["gpu", "npu", "gpu.1", "mps", ""])
def test_an_absent_device_is_an_error_and_never_the_cpu(asked):
    with pytest.raises(DetectorError, match="this machine has: cpu"):
        resolve_device(asked, ["CPU"])


def test_an_unknown_option_is_named_with_those_there_are():
    with pytest.raises(DetectorError, match=r"blazepose has no option 'smooth'; it has .*threads"):
        create_detector("blazepose", smooth=True)
    with pytest.raises(DetectorError, match="mediapipe has no option 'model'"):
        create_detector("mediapipe", model="x.tflite")


# --- inside ----------------------------------------------------------------------------------------


def test_unused_outputs_are_cut():
    """The mask's decoder is a quarter of the network's work; without its output it must not be there."""
    weights = find_weights()
    network = Network(weights.landmarks, [Output(name="score", shape=(1,))], mean=0, scale=255, runtime=Runtime(threads=1))

    def fill(_: int, picture: np.ndarray) -> None:
        picture[:] = 0

    [names] = network.map([0], fill, lambda _, outputs: list(outputs))
    assert names == ["score"]
    assert len(network._model.get_results()) == 1


def test_jobs_that_fail_half_way_leave_the_network_usable():
    network = Network(find_weights().landmarks, [Output(name="score", shape=(1,))], mean=0, scale=255, runtime=Runtime(threads=1))

    def fill(job: int, picture: np.ndarray) -> None:
        if job == 3:
            raise ValueError("job 3 is bad")
        picture[:] = job

    def read(_: int, outputs) -> float:
        return float(outputs["score"][0])

    with pytest.raises(ValueError, match="job 3"):
        network.map(range(5), fill, read)
    assert network.map([0, 1, 2], fill, read) == [network.map([i], fill, read)[0] for i in range(3)]


def test_the_room_loads_no_heavy_library():
    code = (
        "import sys, pose_analyzer.detection as d; d.BlazePoseDetector(threads=1);"
        "print([m for m in ('torch', 'ultralytics', 'mediapipe', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_signals_still_find_their_stack_when_detectors_have_come_and_gone():
    code = """
import signal
from pose_analyzer.detection import create_detector
from pose_analyzer.detection.blazepose.network import resolve_device
for _ in range(2):
    with create_detector("blazepose", threads=1):
        resolve_device("auto")
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
signal.raise_signal(signal.SIGUSR1)
assert heard == [1]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
