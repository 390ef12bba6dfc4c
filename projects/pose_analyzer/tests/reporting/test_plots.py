"""What the plots show, read from the figures' artists."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.text import Text

from pose_analyzer.errors import PoseAnalyzerError
from pose_analyzer.reporting import (
    EXPORT_FORMATS,
    ChoiceError,
    ComparedCurves,
    FormCell,
    Side,
    SideBySide,
    export_session,
    plot_form,
    plot_path,
    plot_range,
    plot_reference,
    plot_session,
)
from pose_analyzer.reporting.plot_path import point_path, speeds
from shared_utils import Event, EventType, Series, Session

TIMES = np.arange(60) / 10


def _rep(number: int, start: float, end: float, kind: EventType = EventType.REP_COMPLETED, track: int = 1) -> Event:
    return Event(kind, "cam", track, start, end, value=number)


def _fault(end: float, fault: str = "knee_valgus", evidence: float = 6.0, **data) -> Event:
    return Event(EventType.FORM_DEVIATION, "cam", 1, max(end - 1, 0), end, value=11.0, unit="deg",
                 data={"fault": fault, "side": "left", "evidence": evidence, "score": 60.0, **data})  # fmt: skip


def _texts(figure) -> list[str]:
    return [t.get_text() for t in figure.findobj(Text)]


# --- angles -----------------------------------------------------------------------------------------
def _banded(sigma: float | None) -> Session:
    columns = {"timestamp_s": TIMES, "track_id": np.ones(60, int), "left_knee_flexion_deg": 45 - 45 * np.cos(TIMES)}
    if sigma is not None:
        columns["left_knee_flexion_sigma_deg"] = np.full(60, sigma, np.float32)
    return Session(source="c.mp4", series=Series(columns), events=(_rep(1, 0.5, 2.0), _rep(0, 3.0, 4.0, EventType.REP_PARTIAL)))


def test_bands_are_one_and_two_sigma_wide():
    strip = plot_session(_banded(3.0)).axes[1]
    bands = [c for c in strip.collections if isinstance(c, PolyCollection)]
    heights = sorted(np.ptp(b.get_paths()[0].vertices[:, 1]) - 90 * (1 - np.cos(TIMES)).max() / 2 for b in bands)
    np.testing.assert_allclose(heights, [6.0, 12.0], atol=0.5)


@pytest.mark.parametrize("sigma", [None, np.nan])
def test_without_an_error_there_is_no_band_and_none_in_the_legend(sigma):
    figure = plot_session(_banded(sigma))
    assert not any("σ" in t for t in _texts(figure))


def test_repetitions_are_numbered_and_a_partial_one_is_named():
    texts = _texts(plot_session(_banded(None)))
    assert {"1", "partial"} <= set(texts)
    assert any("1 repetition · 1 partial" in t for t in texts)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_the_paper_in_both_themes(theme):
    from matplotlib.colors import to_rgb

    def luminance(colour):
        c = np.array(to_rgb(colour))
        return np.where(c <= 0.03928, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    figure = plot_session(_banded(2.0), theme=theme)
    paper = luminance(figure.get_facecolor())
    for text in figure.findobj(Text):
        if text.get_text() and text.get_text() != "1":  # the number stands on its own ribbon
            a, b = sorted((luminance(text.get_color()), paper))
            assert (b + 0.05) / (a + 0.05) >= 4.5, text.get_text()


# --- range ------------------------------------------------------------------------------------------
def test_range_is_that_of_the_repetitions_and_a_hardly_seen_side_has_none():
    knee = np.where((TIMES >= 1) & (TIMES <= 2), np.linspace(0, 100, 60), 170.0)
    right = np.where(np.arange(60) % 3 == 0, knee, np.nan)
    columns = {"timestamp_s": TIMES, "track_id": np.ones(60, int), "left_knee_flexion_deg": knee, "right_knee_flexion_deg": right}
    figure = plot_range(Session(source="c.mp4", series=Series(columns), events=(_rep(1, 1.0, 2.0),)))
    inside = knee[(TIMES >= 1) & (TIMES <= 2)]
    assert f"{np.ptp(np.percentile(inside, [1, 99])):.0f}°" in _texts(figure)
    assert "one side" in _texts(figure)


# --- path -------------------------------------------------------------------------------------------
def _wrists(left: np.ndarray, right: np.ndarray, confidence: float = 1.0) -> Session:
    from shared_utils import BLAZEPOSE_33

    columns = {"timestamp_s": TIMES, "track_id": np.ones(60, int)}
    for name in BLAZEPOSE_33.keypoints:
        xy = {"left_wrist": left, "right_wrist": right}.get(name, np.full((60, 2), np.nan))
        columns |= {f"{name}_x_px": xy[:, 0], f"{name}_y_px": xy[:, 1], f"{name}_confidence": np.full(60, confidence)}
    return Session(source="c.mp4", series=Series(columns), events=(_rep(1, 0.0, 3.0), _rep(2, 3.0, 6.0)))


def test_bar_is_the_middle_or_the_wrist_that_is_seen():
    left, right = np.full((60, 2), 10.0), np.full((60, 2), 30.0)
    right[20:] = np.nan
    path = point_path(_wrists(left, right).series, "bar")
    np.testing.assert_array_equal(path[:20], 20.0)
    np.testing.assert_array_equal(path[20:], 10.0)


def test_path_is_in_metres_of_a_person_of_known_height_and_runs_upwards():
    rises = np.stack([np.full(60, 300.0), 400 - 20 * TIMES], axis=1)  # 20 px a second upwards
    figure = plot_path(_wrists(rises, rises), stature_px=200.0, height_m=1.8)
    lines = [c for ax in figure.axes for c in ax.collections if isinstance(c, LineCollection)]
    np.testing.assert_allclose(lines[0].get_array(), 20 / 200 * 1.8, rtol=1e-6)
    heights = np.array([s[0, 1] for s in lines[0].get_segments()])
    assert (np.diff(heights) > 0).all()
    assert any("rise 0.53" in t for t in _texts(figure))  # 3.0 and 2.9 s at 0.18 m/s
    assert any("(m/s)" in t for t in _texts(figure))


def test_path_without_a_height_is_in_body_heights_and_tells_repetitions_apart():
    rises = np.stack([np.full(60, 300.0), 400 - 20 * TIMES], axis=1)
    figure = plot_path(_wrists(rises, rises), stature_px=200.0, colour_by="repetition")
    assert any("body heights" in t for t in _texts(figure))
    colours = {line.get_color() for line in figure.axes[0].lines}
    assert len(colours) == 2


def test_a_path_that_was_not_seen_and_a_point_that_is_none_are_refused():
    here = np.full((60, 2), 10.0)
    with pytest.raises(ChoiceError, match="never seen"):
        plot_path(_wrists(here, here, confidence=0.1), stature_px=200.0)
    with pytest.raises(ChoiceError, match="left_wrist"):
        plot_path(_wrists(here, here), stature_px=200.0, point="bar_end")
    with pytest.raises(ChoiceError, match="keypoints"):
        plot_path(_banded(None), stature_px=200.0)


def test_speed_is_that_of_the_clock_not_of_frames():
    times = np.array([0.0, 0.1, 0.4, 0.5])
    np.testing.assert_allclose(speeds(times, np.stack([3 * times, 4 * times], axis=1)), 5.0)
    assert np.isnan(speeds(times[:2], np.zeros((2, 2)))).all()


# --- form -------------------------------------------------------------------------------------------
def _reps(*events: Event) -> Session:
    reps = tuple(_rep(i + 1, 2.0 * i, 2.0 * i + 1.9) for i in range(6))
    series = Series({"timestamp_s": TIMES, "track_id": np.ones(60, int)})
    return Session(source="c.mp4", series=series, events=(*reps, *events))


def _hatched(figure) -> list[int]:
    return [round(p.get_x() + 0.46) + 1 for p in figure.axes[0].patches if p.get_hatch()]


def test_a_fault_stands_in_its_repetition_and_later_ones_that_could_not_be_told_are_dotted():
    figure = plot_form(_reps(_fault(3.9)))
    (cell,) = [t for t in figure.axes[0].texts if t.get_text() == "11°"]
    assert round(cell.get_position()[0]) + 1 == 2
    assert _hatched(figure) == [3, 4]  # 2 and 4 s later; the one 6 s later could have been told
    assert "left knee valgus" in [t.get_text() for t in figure.axes[0].get_yticklabels()]


def test_with_every_judgement_at_hand_nothing_is_dotted():
    cells = [FormCell(end_s=3.9, fault="rushed_tempo", side="", amount=0.8, unit="s", evidence=4.0)]
    figure = plot_form(_reps(_fault(3.9)), cells=cells, scores=[(1.9, 97.0), (3.9, np.nan)])
    assert _hatched(figure) == []
    assert {"0.8 s", "97"} <= set(_texts(figure))


def test_good_form_says_so_and_nothing_counted_says_that():
    assert any("no remark on form" in t for t in _texts(plot_form(_reps())))
    still = Session(source="c.mp4", series=_reps().series)
    assert any("no repetition of person 1" in t for t in _texts(plot_form(still)))
    with pytest.raises(ChoiceError, match="track id 9"):
        plot_form(_reps(), track_id=9)


# --- reference --------------------------------------------------------------------------------------
def _curves(**changes) -> ComparedCurves:
    mean = np.stack([np.linspace(0, 90, 10), np.full(10, 20.0)], axis=1)
    spread = np.full((10, 2), 2.0)
    own = {"1": mean + np.array([0.0, 1.0]), "2": mean + np.array([0.0, 9.0])}
    usual = {"features": ("knee_flexion", "trunk_lean"), "mean": mean, "spread": spread, "repetitions": own, "chosen": "2"}
    return ComparedCurves(**{**usual, "phases": (("down", 4), ("bottom", 2), ("up", 4)), **changes})


def test_comparison_begins_with_what_deviates_most_and_says_by_how_much():
    figure = plot_reference(_curves(), title="c.mp4")
    assert figure.axes[0].get_title(loc="left") == "trunk lean (°)"
    assert "+9° (4.5 σ)" in _texts(figure)
    assert not any("σ)" in t.get_text() for t in figure.axes[1].texts)  # within its band: nothing to mark


def test_comparison_puts_what_the_exercise_is_about_first():
    assert plot_reference(_curves(main=("knee_flexion",)), title="").axes[0].get_title(loc="left") == "knee flexion (°)"


def test_comparison_names_phases_and_refuses_what_is_not_there():
    assert {"down", "bottom", "up"} <= {t.get_text() for t in plot_reference(_curves(), title="").axes[0].texts}
    with pytest.raises(ChoiceError, match="there are 1, 2"):
        plot_reference(_curves(chosen="7"), title="")
    with pytest.raises(ChoiceError, match="knee_flexion, trunk_lean"):
        plot_reference(_curves(), title="", features=["toe"])
    with pytest.raises(ChoiceError, match="nothing that the reference shows"):
        plot_reference(_curves(repetitions={"2": np.full((10, 2), np.nan)}), title="")


@pytest.mark.parametrize("draw", [plot_session, plot_range, plot_form, lambda s: plot_path(s, stature_px=1.0)])
def test_a_film_without_people_gives_a_picture_that_says_so(draw):
    assert any("no person was found" in t for t in _texts(draw(Session(source="x.mp4"))))


@given(
    times=st.lists(st.sampled_from([-0.1, 0.0, 1 / 240, 1 / 30, 1.0, 5.0]), min_size=1, max_size=12),
    people=st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True),
    missing=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_whatever_was_recorded_every_plot_and_export_draws_it_or_says_why_not(measured, tmp_path_factory, times, people, missing, seed):
    clock = np.cumsum(times)  # stands still, runs backwards, jumps
    random = np.random.default_rng(seed)
    angles = {f"{side}_knee_flexion_deg": random.uniform(0, 150, len(clock)) for side in ("left", "right")}
    angles = {k: np.where(random.uniform(0, 1, len(clock)) < missing, np.nan, v) for k, v in angles.items()}
    events = (_rep(1, 0.0, float(clock.max()) if clock.max() > 0 else 0.0, track=people[0]), _fault(1.0, evidence=None))
    session = measured(times_s=clock, people=people, missing=missing, seed=seed, angles=angles, events=events)
    folder = tmp_path_factory.mktemp("any")
    draws = (
        plot_session,
        plot_range,
        plot_form,
        lambda s: plot_path(s, stature_px=100.0),
        lambda s: SideBySide(Side(session=s), Side(session=s)),
    )
    writes = (lambda s, f=f: export_session(s, folder / "x", format=f, track_id=people[0]) for f in EXPORT_FORMATS)
    for act in (*draws, *writes):
        with contextlib.suppress(PoseAnalyzerError):
            act(session)
