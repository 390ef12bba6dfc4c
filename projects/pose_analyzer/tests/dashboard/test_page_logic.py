"""The page's sums and rules, without a browser."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest

REP = {
    "type": "rep_completed",
    "stream_id": "s",
    "track_id": 1,
    "start_s": 1.0,
    "end_s": 3.0,
    "value": 1.0,
    "message": "Repetition 1",
    "data": {},
}


def rep(n: int, start_s: float = 0.0, **changes) -> dict:
    return {**REP, "value": float(n), "start_s": start_s, "end_s": start_s + 2.0, "message": f"Repetition {n}", **changes}


def frame(time_s: float, *people: dict, events=()) -> dict:
    return {"type": "frame", "timestamp_s": time_s, "people": list(people), "events": list(events), "skipped": 0, "age_s": 0.01}


def person(track: int, *, count: int = 0, box=(0, 0, 10, 10), angle: float = 0.0, phase: str = "top") -> dict:
    repetition = {"count": count, "phase": phase, "progress": 0.0, "signal_deg": angle}
    return {"track_id": track, "box": list(box), "keypoints": [], "angles": {"left_knee_flexion_deg": angle}, "repetition": repetition}


def hello(made: str, *, events=(), series=None, stream="demo", kind="demo") -> dict:
    view = {"id": stream, "kind": kind, "created_at": made, "state": "live"}
    return {"stream": view, "skeleton": {}, "exercise": None, "history": {"events": list(events), "series": series or {}}}


# --- geometry --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("source", "box", "expected"),
    [
        ((640, 480), (640, 480), (1.0, 0, 0)),  # same size
        ((640, 480), (1280, 480), (1.0, 320, 0)),  # wide box: bars left and right
        ((640, 480), (640, 960), (1.0, 0, 240)),  # tall box: bars above and below
        ((1080, 1920), (960, 960), (0.5, 210, 0)),  # portrait picture
        ((100, 100), (50, 25), (0.25, 12.5, 0)),  # smaller than the picture
    ],
)
def test_a_picture_is_shown_whole_and_centred(js, source, box, expected):
    placed = js("geometry.js", "fit", f"return fit({{width: {source[0]}, height: {source[1]}}}, {{width: {box[0]}, height: {box[1]}}});")
    assert (placed["scale"], placed["x"], placed["y"]) == expected


def test_a_picture_without_size_lies_nowhere(js):
    assert js("geometry.js", "fit", "return fit({width: 0, height: 0}, {width: 10, height: 10}).scale;") == 0


@pytest.mark.parametrize("mirror", ["false", "true"])
def test_points_come_back_from_the_screen_to_where_they_were(js, mirror):
    body = f"""
      const placed = fit({{width: 640, height: 360}}, {{width: 777, height: 901}}, {mirror});
      const there = [[0, 0], [640, 360], [123.4, 56.7]].map(([x, y]) => project(placed, x, y));
      return there.map((p) => unproject(placed, p.x, p.y));
    """
    for back, (x, y) in zip(js("geometry.js", "fit, project, unproject", body), [(0, 0), (640, 360), (123.4, 56.7)], strict=True):
        assert (back["x"], back["y"]) == pytest.approx((x, y))


def test_a_mirror_exchanges_left_and_right_of_the_picture_only(js):
    body = """
      const box = {width: 1000, height: 480};
      return [false, true].map((m) => project(fit({width: 640, height: 480}, box, m), 0, 100));
    """
    plain, mirrored = js("geometry.js", "fit, project", body)
    assert (plain["x"], mirrored["x"]) == (180, 820)
    assert plain["y"] == mirrored["y"]


@pytest.mark.parametrize("ratio", [1, 1.25, 1.5, 2, 3])
def test_a_surface_has_whole_pixels_at_every_pixel_ratio(js, ratio):
    size = js("geometry.js", "surfaceSize", f"return surfaceSize(333.3, 0, {ratio});")
    assert size == {"width": math.floor(333.3 * ratio + 0.5), "height": 1}


@pytest.mark.parametrize("turn_deg", [0, 40, 90, 135, 179, 180, 222, 300])
def test_an_arc_goes_the_short_way_between_two_limbs(js, turn_deg):
    for between in (20, 90, 150):
        a, b = math.radians(turn_deg), math.radians(turn_deg + between)
        points = [f"{{x: {math.cos(r)}, y: {math.sin(r)}}}" for r in (a, b)]
        there = js("geometry.js", "jointArc", f"return jointArc({points[0]}, {{x: 0, y: 0}}, {points[1]});")
        back = js("geometry.js", "jointArc", f"return jointArc({points[1]}, {{x: 0, y: 0}}, {points[0]});")
        middle = math.radians(turn_deg + between / 2)
        for arc, is_anticlockwise in ((there, False), (back, True)):
            assert arc["anticlockwise"] is is_anticlockwise
            assert math.cos(arc["middle"] - middle) == pytest.approx(1)


def test_a_limb_without_length_has_no_arc(js):
    assert js("geometry.js", "jointArc", "return jointArc({x: 1, y: 1}, {x: 1, y: 1}, {x: 2, y: 1});") is None


@pytest.mark.parametrize(
    ("profile", "signal", "expected"),
    [
        (
            {"cues": [{"angle": "knee_flexion"}, {"angle": "hip_flexion"}, {"angle": "leg_fold"}]},
            "knee_flexion",
            ["knee_flexion", "hip_flexion"],
        ),
        ({"cues": [{"angle": "elbow_flexion"}]}, None, ["elbow_flexion", "knee_flexion"]),
        ({"limits": [{"angle": "hip_flexion"}, {"angle": "elbow_flexion"}]}, None, ["hip_flexion", "elbow_flexion"]),
        (None, None, ["knee_flexion", "hip_flexion", "elbow_flexion"]),
    ],
)
def test_strips_show_the_joints_that_the_exercise_is_about(js, profile, signal, expected):
    assert js("geometry.js", "jointsOf", f"return jointsOf({json.dumps(profile)}, {json.dumps(signal)});") == expected


# --- rings -----------------------------------------------------------------------------------------
def test_a_ring_keeps_the_newest_and_their_order(js):
    body = """
      const r = new Ring(3); const out = [];
      for (let t = 0; t < 7; t += 1) r.push(t, t * 10);
      r.forEachSince(-1, (t, v) => out.push([t, v]));
      return out;
    """
    assert js("series.js", "Ring", body) == [[4, 40], [5, 50], [6, 60]]


def test_a_ring_takes_nothing_twice_and_nothing_from_the_past(js):
    body = """const r = new Ring(9);
      return [r.push(1, 5), r.push(1, 6), r.push(0.5, 7), r.push(NaN, 8), r.push(2, null), r.length, r.lastValue];"""
    assert js("series.js", "Ring", body) == [True, False, False, False, True, 2, "NaN"]


def test_a_range_leaves_gaps_and_the_past_out(js):
    body = """
      const r = new Ring(9); [[0, 500], [1, 20], [2, NaN], [3, 80]].forEach(([t, v]) => r.push(t, v));
      return [rangeOf([r, null], 0.5), rangeOf([r], 10)];
    """
    assert js("series.js", "Ring, rangeOf", body) == [{"low": 20, "high": 80}, None]


def test_an_axis_holds_the_range_and_its_marks(js):
    low_high = js(
        "series.js", "axisLimits", "return [axisLimits({low: 2, high: 98}, [10, 100]), axisLimits(null), axisLimits({low: 50, high: 51})];"
    )
    assert low_high[0]["low"] <= 2
    assert low_high[0]["high"] >= 100
    assert low_high[1] == {"low": 0, "high": 120}
    assert low_high[2]["high"] - low_high[2]["low"] >= 60


# --- back-off --------------------------------------------------------------------------------------
def test_waits_double_up_to_a_limit_and_begin_again_after_success(js):
    body = """
      const b = new Backoff({least: 0.5, most: 15, random: () => 1});
      const out = Array.from({length: 8}, () => b.next()); b.reset(); return [...out, b.next()];
    """
    assert js("shared/js/backoff.js", "Backoff", body) == [0.5, 1, 2, 4, 8, 15, 15, 15, 0.5]


def test_waits_differ_between_pages_by_up_to_a_half(js):
    body = "return [0, 0.5, 1].map((r) => new Backoff({least: 2, most: 15, random: () => r}).next());"
    assert js("shared/js/backoff.js", "Backoff", body) == [1, 1.5, 2]


# --- events ----------------------------------------------------------------------------------------
def test_an_event_is_taken_once_whatever_brings_it(js):
    first, second = json.dumps(rep(1)), json.dumps(rep(2, 5))
    body = f"""const l = new EventLog();
      return [l.add([{first}]).length, l.add([{first}, {second}]).length, l.add(undefined).length, l.events.length];"""
    assert js("event-log.js", "EventLog", body) == [1, 1, 0, 2]


def test_the_log_is_bounded(js):
    body = f"""const l = new EventLog();
      for (let i = 0; i < 900; i += 1) l.add([{{...{json.dumps(rep(1))}, start_s: i}}]);
      return [l.events.length, l.keys.size, l.events[0].start_s];"""
    assert js("event-log.js", "EventLog", body) == [500, 500, 400]


def test_tempo_is_what_the_event_tells_and_no_more(js):
    told = rep(4, data={"eccentric_s": 1.1, "concentric_s": None, "pause_s": 0.2, "range_deg": 88.0})
    tempo = js("tempo.js", "tempoOf", f"return tempoOf({json.dumps(told)});")
    assert tempo == {"down_s": 1.1, "pause_s": 0.2, "up_s": None, "range_deg": 88.0, "form": None, "duration_s": 2.0}
    assert js("tempo.js", "tempoOf", f"return tempoOf({json.dumps(rep(1))}).down_s;") is None


def test_a_set_is_summed_up_over_what_counted(js):
    events = [
        {**rep(1), "end_s": 2.0, "data": {"range_deg": 90}},
        {**rep(2), "end_s": 4.0, "data": {"range_deg": 100}},
        {**rep(3), "end_s": 3.0, "data": {}},
        {**rep(0), "type": "rep_partial", "value": None, "data": {"range_deg": 20}},
    ]
    summary = js("tempo.js", "summaryOf", f"return summaryOf({json.dumps(events)});")
    assert (summary["count"], summary["partial"], summary["range_deg"], summary["duration_s"]) == (3, 1, 95, 3)
    assert summary["steadiness"] == pytest.approx(1 - math.sqrt(2 / 3) / 3)
    assert js("tempo.js", "summaryOf", "return summaryOf([]);")["duration_s"] is None


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (rep(5, data={"range_deg": 97.6}), "Repetition 5, 2.0 seconds, range 98 degrees"),
        (rep(0, type="rep_partial", value=None, data={"range_deg": 40}), "Partial repetition, range 40 degrees"),
        (rep(0, type="form_deviation", value=None, message="Knees out"), "Knees out"),
    ],
)
def test_events_are_told_in_a_sentence(js, event, words):
    assert js("tempo.js", "sentenceOf", f"return sentenceOf({json.dumps(event)});") == words


# --- a run -----------------------------------------------------------------------------------------
def run(js, *steps: str):
    return js("run.js", "Run", f"const run = new Run(); const out = []; {' '.join(steps)} return out;")


def greet(message: dict) -> str:
    return f"out.push(run.greet({json.dumps(message)}));"


def take(message: dict, now: float = 0.0) -> str:
    return f"out.push(run.take({json.dumps(message)}, {now}));"


def test_a_reconnection_repeats_nothing(js):
    one = rep(1)
    before = frame(3.0, person(1, count=1), events=[one])
    out = run(js, greet(hello("T0")), take(before), greet(hello("T0", events=[one])), take(before), "out.push(run.log.events.length);")
    assert (out[0], out[2]) == (True, False)  # the same run
    assert len(out[1]["fresh"]) == 1
    assert out[3] == {"fresh": [], "isNew": False}
    assert out[4] == 1


def test_a_stream_that_began_anew_begins_anew_here(js):
    out = run(
        js,
        greet(hello("T0")),
        take(frame(30.0, person(1, count=9), events=[rep(9)])),
        greet(hello("T1")),
        take(frame(0.0, person(1))),
        "out.push([run.log.events.length, run.time, run.repetition.count]);",
    )
    assert out[2] is True
    assert out[3]["isNew"] is True
    assert out[4] == [0, 0, 0]


def test_own_pictures_begin_a_new_run_with_each_greeting(js):
    out = run(
        js, greet(hello("T0", kind="push")), take(frame(5.0, person(1))), greet(hello("T0", kind="push")), "out.push(run.people.length);"
    )
    assert (out[0], out[2], out[3]) == (True, True, 0)


def test_a_camera_whose_clock_begins_again_goes_on_being_shown(js):
    out = run(
        js,
        greet(hello("T0")),
        take(frame(100.0, person(1))),
        take(frame(0.5, person(2))),
        "out.push([run.time, run.people, run.selected]);",
    )
    assert out[2]["isNew"] is True
    assert out[3] == [0.5, [2], 2]


def test_history_fills_the_strips_before_the_first_picture(js):
    series = {"3": {"timestamp_s": [1.0, 1.1], "angles": {"left_knee_flexion_deg": [10.0, None]}}}
    body = [
        greet(hello("T0", series=series)),
        "const r = run.histories.get(3).ring('left_knee_flexion_deg'); out.push([r.length, r.lastTime, r.lastValue]);",
    ]
    assert run(js, *body)[1] == [2, 1.1, "NaN"]


def test_the_one_with_most_repetitions_is_looked_at_else_the_largest(js):
    small, large = person(1, box=(0, 0, 5, 5)), person(2, box=(0, 0, 50, 50))
    assert run(js, take(frame(1.0, small, large)), "out.push(run.selected);")[1] == 2
    assert run(js, take(frame(1.0, {**small, "repetition": {"count": 3, "phase": "top"}}, large)), "out.push(run.selected);")[1] == 1


def test_a_choice_lasts_until_the_person_has_been_away_for_long(js):
    both, other = [person(1), person(2, box=(0, 0, 50, 50))], [person(2)]
    out = run(
        js,
        take(frame(1.0, *both)),
        "run.select(1);",
        take(frame(2.0, *other)),
        "out.push(run.selected);",
        take(frame(9.0, *other)),
        "out.push(run.selected);",
    )
    assert (out[2], out[4]) == (1, 2)


def test_people_not_confirmed_yet_are_nobodys_choice(js):
    assert run(js, take(frame(1.0, person(-1))), "out.push(run.selected, run.people);")[1:] == [None, []]


def test_a_hold_is_timed_while_it_lasts(js):
    steps = [take(frame(t, person(1, phase=phase))) for t, phase in ((1.0, "rest"), (2.0, "hold"), (5.5, "hold"))]
    assert run(js, *steps, "out.push(run.held);")[-1] == 3.5
    assert run(js, *steps, take(frame(6.0, person(1, phase="rest"))), "out.push(run.held);")[-1] == 0


# --- state -----------------------------------------------------------------------------------------
FACTS = {"link": {"kind": "open"}, "stream": {"state": "live"}, "people": 1, "emptyFor": 0, "slow": None, "seen": True, "now": 100}


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        ({}, "live", ""),
        ({"link": {"kind": "connecting"}}, "connecting", ""),
        ({"seen": False}, "connecting", "first picture"),
        ({"people": 0, "emptyFor": 5}, "nobody", "Step into the picture"),
        ({"people": 0, "emptyFor": 0.2}, "live", ""),  # one empty picture is no absence
        ({"slow": "results arrive 2.0 s late"}, "slow", "results arrive 2.0 s late"),
        ({"link": {"kind": "waiting", "retryAt": 103.2}}, "lost", "Next try in 4 s"),
        ({"link": {"kind": "waiting", "retryAt": 99}}, "lost", "Trying now"),
        ({"stream": {"state": "lost", "reason": "the camera is silent"}}, "lost", "the camera is silent"),
        ({"stream": {"state": "finished"}}, "finished", "ended"),
        ({"stream": {"state": "finished"}, "link": {"kind": "closed"}}, "finished", ""),
        ({"stream": {"state": "failed", "reason": "no such host"}}, "error", "no such host"),
        ({"link": {"kind": "failed", "reason": "a full stop"}}, "error", "a full stop"),
        ({"link": {"kind": "idle"}, "stream": None}, "idle", ""),
    ],
)
def test_one_state_is_told_with_its_reason(js, change, key, words):
    state = js("health.js", "describe", f"return describe({json.dumps({**FACTS, **change})});")
    assert state["key"] == key
    assert words in state["detail"]
    assert state["label"]


@pytest.mark.parametrize(
    ("message", "interval_s", "words"),
    [
        ({"skipped": 0, "age_s": 0.02}, 1 / 30, None),  # all is well
        ({"skipped": 2, "age_s": 0.02}, 1 / 10, "67 % of the pictures are skipped"),
        ({"skipped": 0, "age_s": 1.4}, 1 / 30, "results arrive 1.4 s late"),
        ({"skipped": 0, "age_s": 0.02}, 1 / 5, "only 5 pictures per second"),
    ],
)
def test_falling_behind_is_told_with_its_reason(js, message, interval_s, words):
    body = f"const h = new Health(); for (let t = 0; t < 6; t += {interval_s}) h.note(t, {json.dumps(message)}); return h.slow;"
    assert js("health.js", "Health", body) == words


def test_one_hiccup_is_not_told_and_recovery_is(js):
    body = """
      const h = new Health(); const out = []; let t = 0;
      const go = (until, age) => { for (; t < until; t += 0.03) h.note(t, {skipped: 0, age_s: age}); out.push(h.slow !== null); };
      go(3, 0.02); go(3.5, 2); go(6, 0.02); go(12, 2); go(20, 0.02); return out;
    """
    assert js("health.js", "Health", body) == [False, False, False, True, False]


# --- connections -----------------------------------------------------------------------------------
def test_a_picture_belongs_to_the_message_before_it(js):
    body = """
      const out = []; const p = new Pairing((m, picture) => out.push([m.n, picture]));
      p.text({type: "frame", n: 1, image: true}); p.picture("A");
      p.text({type: "frame", n: 2, image: false}); p.text({type: "state", n: 3});
      p.text({type: "frame", n: 4, image: true}); p.text({type: "frame", n: 5, image: true}); p.picture("B"); p.picture("stray");
      return out;
    """
    assert js("link.js", "Pairing", body) == [[1, "A"], [2, None], [3, None], [4, None], [5, "B"]]


def test_no_more_than_two_pictures_are_under_way(js):
    body = """
      const w = new Window(2); const out = [];
      const a = w.send(0); out.push(w.isFull); const b = w.send(1); out.push(w.isFull);
      w.answer(b); out.push(w.isFull, w.sent.size); // newest wins: the answer to the second stands for the first, too
      return [...out, w.answer(a), w.send(2)];
    """
    assert js("webcam.js", "Window", body) == [False, True, False, 0, None, 3]


def test_a_picture_that_is_never_answered_does_not_block_for_ever(js):
    body = """const w = new Window(2); w.send(0); w.send(10);
      w.expire(2500, 3000); const before = w.isFull;
      w.expire(3005, 3000); return [before, w.sent.size];"""
    assert js("webcam.js", "Window", body) == [True, 1]


# --- form feedback -----------------------------------------------------------------------------------
def deviation(track: int = 1, keypoints=("left_hip", "left_knee")) -> dict:
    data = {"keypoints": list(keypoints), "level": "warn"}
    return {**REP, "type": "form_deviation", "track_id": track, "message": "The left knee caves in", "data": data}


def test_joints_that_feedback_names_are_marked_for_five_seconds(js):
    body = f"""
      const f = new Feedback(); const names = (now) => [...f.marks(now)].map(([t, n]) => [t, [...n]]);
      f.take({json.dumps(deviation())}, 10); f.take({json.dumps(deviation(2, ["nose"]))}, 12);
      f.take({json.dumps(rep(1))}, 12);
      return [names(12), names(15.5), names(17.5)];
    """
    assert js("feedback.js", "Feedback", body) == [[[1, ["left_hip", "left_knee"]], [2, ["nose"]]], [[2, ["nose"]]], []]


def test_feedback_without_keypoints_marks_nothing(js):
    events = [deviation(keypoints=()), {**deviation(), "data": {}}, {**deviation(), "data": None}]
    body = f"const f = new Feedback(); for (const e of {json.dumps(events)}) f.take(e, 0); return f.marks(1).size;"
    assert js("feedback.js", "Feedback", body) == 0


def test_a_set_s_form_is_the_mean_of_what_was_judged(js):
    events = [rep(1, data={"form_score": 90.0}), rep(2, data={"form_score": 70.0}), rep(3)]
    body = f"const s = summaryOf({json.dumps(events)}); return [s.form, s.last.form, summaryOf([]).form];"
    assert js("tempo.js", "summaryOf", body) == [80, None, None]


@pytest.mark.parametrize(("sigma", "text"), [("undefined", "42°"), ("2.3", "42°"), ("6.6", "42 ± 7°"), ("null", "42°")])
def test_an_uncertain_angle_is_shown_with_its_error(js, sigma, text):
    assert js("overlay.js", "degreesOf", f"return degreesOf(41.7, {sigma});") == text


# --- words and files -------------------------------------------------------------------------------
def test_events_as_csv_are_read_back_by_a_csv_reader(js):
    events = [
        {
            **rep(1),
            "unit": "",
            "frames": [3, 9, 20],
            "message": 'He said "up", then down',
            "data": {"range_deg": 90.5, "side": "both", "parts": [1]},
        },
        {**rep(2, 4), "unit": "", "frames": [], "message": "=2+3", "data": {}},
    ]
    text = js("format.js", "eventsCsv", f"return eventsCsv({json.dumps(events)});")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0]["message"] == 'He said "up", then down'
    assert (rows[0]["range_deg"], rows[0]["side"], rows[0]["first_frame"], rows[0]["last_frame"]) == ("90.5", "both", "3", "20")
    assert rows[1]["message"] == "'=2+3"  # a spreadsheet would run it
    assert (rows[1]["first_frame"], rows[1]["range_deg"]) == ("", "")
    assert "parts" not in rows[0]


@pytest.mark.parametrize(
    ("name", "stem"), [("../../etc/passwd", "etc-passwd"), ("Montag früh.mp4", "Montag-früh"), ("", "session"), ("...", "session")]
)
def test_names_become_safe_names_of_files(js, name, stem):
    assert js("format.js", "fileStem", f"return fileStem({json.dumps(name)});") == stem


@pytest.mark.parametrize(
    ("seconds", "text"), [("65", "1:05.0"), ("0.04", "0:00.0"), ("59.96", "1:00.0"), ("3661.2", "1:01:01.2"), ("NaN", "–")]
)
def test_places_in_a_recording_are_told_to_a_tenth(js, seconds, text):
    assert js("format.js", "fineClock", f"return fineClock({seconds});") == text
