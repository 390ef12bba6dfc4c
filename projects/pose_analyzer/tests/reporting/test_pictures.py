from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer.errors import PoseAnalyzerError
from pose_analyzer.reporting import FormCues, PersonStatus, draw_overlay, exercise_of, main_track, plot_session, save_plot, summary_table
from shared_utils import BLAZEPOSE_33, Angles, Event, EventType, Poses, Series, Session


def _poses(xy: np.ndarray, confidence: float = 1.0) -> Poses:
    n = len(xy)
    return Poses(
        boxes_xyxy=np.tile([0.0, 0.0, 100.0, 200.0], (n, 1)),
        scores=np.ones(n),
        keypoints_xy=xy,
        keypoint_confidence=np.where(np.isnan(xy).any(-1), 0.0, confidence),
        skeleton=BLAZEPOSE_33,
        track_ids=np.arange(1, n + 1),
    )


def _session(frames: int = 60) -> Session:
    t = np.arange(frames) / 30
    series = Series(
        {
            "timestamp_s": np.repeat(t, 2),
            "track_id": np.tile([1, 2], frames),
            "left_knee_flexion_deg": np.repeat(45 - 45 * np.cos(np.pi * t), 2),
            "trunk_lean_deg": np.repeat(t, 2),
        }
    )
    event = Event(EventType.REP_COMPLETED, "cam", 2, 0.0, 1.9, value=1)
    return Session(source="clip.mp4", frames=frames, duration_s=float(t[-1]), series=series, events=(event,))


def test_overlay_leaves_the_input_untouched_and_draws_bones_along_the_keypoints():
    image = np.zeros((240, 320, 3), np.uint8)
    xy = np.full((1, 33, 2), np.nan, np.float32)
    xy[0, BLAZEPOSE_33.index("left_hip")] = (100, 60)
    xy[0, BLAZEPOSE_33.index("left_knee")] = (100, 160)
    picture = draw_overlay(image, _poses(xy))
    assert not image.any()
    assert picture[110, 100].any()
    assert not picture[110, 140].any()


def test_overlay_draws_nothing_for_unsure_keypoints():
    xy = np.full((1, 33, 2), 50, np.float32)
    picture = draw_overlay(np.zeros((120, 120, 3), np.uint8), _poses(xy, confidence=0.1), min_confidence=0.3)
    assert not picture.any()


def test_overlay_colours_the_joints_that_form_feedback_names_and_says_why():
    image = np.zeros((240, 320, 3), np.uint8)
    xy = np.full((1, 33, 2), np.nan, np.float32)
    for name, at in (("left_hip", (100, 60)), ("left_knee", (100, 120)), ("left_ankle", (100, 180))):
        xy[0, BLAZEPOSE_33.index(name)] = at
    cues = FormCues()
    told = {"keypoints": ["left_hip", "left_knee"]}
    cues.take([Event(EventType.FORM_DEVIATION, "cam", 1, 0.0, 1.0, message="Too deep", data=told)], timestamp_s=1.0)
    picture = draw_overlay(image, _poses(xy), marks=cues.marks(1.5), sentences=cues.sentences(1.5))
    thigh, shank = picture[90, 100].astype(int), picture[150, 100].astype(int)
    assert thigh[0] > 200
    assert thigh[1] < 100
    assert shank[1] > 100
    assert picture[200:, :].any()
    late = draw_overlay(image, _poses(xy), marks=cues.marks(7.0), sentences=cues.sentences(7.0))
    assert (late == draw_overlay(image, _poses(xy))).all()


@pytest.mark.parametrize("value", [1e9, -1e9, 40000.0])
def test_overlay_survives_keypoints_far_outside(value):
    xy = np.full((1, 33, 2), value, np.float32)
    assert draw_overlay(np.zeros((64, 64, 3), np.uint8), _poses(xy)).shape == (64, 64, 3)


@pytest.mark.parametrize("size", [(16, 16), (33, 700), (2160, 3840)])
def test_panel_caption_and_labels_fit_any_picture(size):
    xy = np.full((1, 33, 2), 8, np.float32)
    angles = Angles(("left_knee_flexion_deg",), np.array([1]), np.array([[90.0]]))
    status = [PersonStatus(track_id=1, title="squat", count=12, phase="bottom", progress=0.5)] * 5
    picture = draw_overlay(np.zeros((*size, 3), np.uint8), _poses(xy), angles, status=status, caption="12.34 s")
    assert picture.shape == (*size, 3)
    assert picture.any()


def test_plot_shows_the_person_with_most_repetitions_and_the_joint_that_moved():
    figure = plot_session(_session())
    assert main_track(_session()) == 2
    assert "person 2" in figure.get_suptitle()
    assert figure.axes[1].get_ylabel().split("\n")[0] == "knee flexion"


def test_plot_breaks_the_line_where_the_person_was_out_of_sight():
    session = _session()
    keep = (session.series["timestamp_s"] < 0.5) | (session.series["timestamp_s"] > 1.5)
    gap = Session(source="clip.mp4", series=session.series.where(keep))
    line = plot_session(gap, track_id=1).axes[1].lines[0]
    assert np.isnan(np.asarray(line.get_ydata(), float)).sum() == 1


def test_plot_names_the_people_and_angles_there_are():
    with pytest.raises(PoseAnalyzerError, match=r"\[1, 2\]"):
        plot_session(_session(), track_id=7)
    with pytest.raises(PoseAnalyzerError, match="knee_flexion"):
        plot_session(_session(), angles=["toe"])


def test_plot_of_nobody_says_so_and_plots_are_reproducible(tmp_path):
    assert "no person" in plot_session(Session(source="x.mp4")).texts[0].get_text()
    a, b = (save_plot(_session(), tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert a == b


def test_summary_lists_each_repetition_and_each_person():
    from io import StringIO

    from rich.console import Console

    out = StringIO()
    Console(file=out, width=100).print(summary_table(_session()))
    assert "1 repetitions" in out.getvalue()
    assert "people" in out.getvalue()


def test_the_exercise_is_what_was_counted_and_not_the_wish_to_recognise_it():
    def counted(exercise: str, track_id: int) -> Event:
        return Event(EventType.REP_COMPLETED, "cam", track_id, 0.0, 1.0, value=1, data={"exercise": exercise})

    wish = {"exercise": {"name": "auto"}}
    events = (counted("squat", 1), counted("lunge", 2), counted("lunge", 2))
    session = Session(source="c.mp4", settings=wish, events=events)
    assert [exercise_of(session, t) for t in (1, 2, 3, None)] == ["squat", "lunge", "", "lunge"]
    assert exercise_of(Session(source="c.mp4", settings={"exercise": {"name": "squat"}})) == "squat"
