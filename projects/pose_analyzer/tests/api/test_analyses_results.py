"""One analysis from the upload to every form of its result, over HTTP."""

from __future__ import annotations

import hashlib
import io
import json

import av
import numpy as np
import pandas as pd
import pytest
from _analyses_app import serving
from PIL import Image


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    """One squat, 320x240 at 15 frames/s."""
    from pose_analyzer.synthetic import scene_for, write_clip

    path = tmp_path_factory.mktemp("clip") / "squat.mp4"
    return write_clip(scene_for("squat", reps=1, azimuth_deg=40, width=320, height=240, fps=15), path).read_bytes()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def taken_in(service, clip):
    return service.upload(clip, name="C:\\clips\\my squat.mp4", exercise="squat")


@pytest.fixture(scope="module")
def done(service, taken_in):
    return service.finish(taken_in.headers["location"])


@pytest.fixture(scope="module")
def link(done):
    return done["links"]


def test_an_upload_is_taken_in_under_a_label_of_its_own(taken_in):
    assert taken_in.status_code == 202
    view = taken_in.json()
    assert (view["name"], view["exercise"], view["state"]) == ("my squat.mp4", "squat", "queued")
    assert taken_in.headers["location"] == view["links"]["self"] == f"/v1/analyses/{view['id']}"
    assert view["created_at"].endswith("Z")


def test_it_is_measured_and_counted_right(done):
    assert (done["state"], done["error"], done["attempts"], done["complete"]) == ("done", None, 1, True)
    assert done["summary"]["repetitions"] == 1
    assert done["summary"]["people"] == 1
    assert done["progress"]["fraction"] == 1.0
    assert done["progress"]["frames"] == done["summary"]["frames"] > 30


def test_the_result_tells_the_recordings_fingerprint_and_no_place_on_this_machine(service, link, clip):
    answer = service.get(link["result"])
    result = answer.json()
    assert result["source"]["sha256"] == hashlib.sha256(clip).hexdigest()
    assert result["source"]["name"] == "my squat.mp4"
    assert str(service.data_dir) not in answer.text
    assert result["repetition_count"] == 1


def test_events_are_those_of_the_result_and_can_be_chosen(service, link):
    written = service.get(link["result"]).json()["events"]
    assert service.get(link["events"]).json() == written
    chosen = service.get(link["events"], params={"type": ["rep_completed", "person_left"]}).json()
    assert [e["type"] for e in chosen] == ["rep_completed"]
    assert service.get(link["events"], params={"type": "juggled"}).status_code == 422


def test_series_as_json_and_csv_hold_what_the_parquet_file_holds(service, link):
    parquet = service.get(link["series"], params={"format": "parquet"})
    assert parquet.headers["content-disposition"].endswith("my%20squat-series.parquet")
    truth = pd.read_parquet(io.BytesIO(parquet.content))
    series = service.get(link["series"]).json()
    assert series["rows"] == len(truth)
    assert set(series["columns"]) == {
        c for c in truth if not c.endswith(("_px", "_confidence", "_m", "_sigma_deg")) or c.startswith("box_")
    }
    told = np.array(series["columns"]["left_knee_flexion_deg"], float)
    np.testing.assert_allclose(told, truth["left_knee_flexion_deg"], atol=1e-4)
    table = pd.read_csv(io.StringIO(service.get(link["series"], params={"format": "csv"}).text))
    np.testing.assert_allclose(table["timestamp_s"], truth["timestamp_s"], atol=1e-4)


@pytest.mark.parametrize("kind", ["json", "csv", "parquet"])
def test_columns_come_as_chosen_and_in_that_order(service, link, kind):
    wanted = ["phase", "timestamp_s", "nose_x_px"]
    answer = service.get(link["series"], params={"format": kind, "columns": ",".join(wanted)})
    if kind == "json":
        frame = pd.DataFrame(answer.json()["columns"])
    elif kind == "csv":
        frame = pd.read_csv(io.StringIO(answer.text))
    else:
        frame = pd.read_parquet(io.BytesIO(answer.content))
    truth = pd.read_parquet(io.BytesIO(service.get(link["series"], params={"format": "parquet"}).content))
    assert list(frame) == wanted
    assert frame["phase"].tolist() == truth["phase"].tolist()
    np.testing.assert_allclose(frame["nose_x_px"], truth["nose_x_px"], atol=1e-3)


@pytest.mark.parametrize("kind", ["json", "csv", "parquet"])
def test_a_column_that_is_not_there_is_named_with_those_that_are(service, link, kind):
    answer = service.get(link["series"], params={"format": kind, "columns": "timestamp_s,knee"})
    assert answer.status_code == 422
    assert "'knee'" in answer.json()["detail"]
    assert "left_knee_flexion_deg" in answer.json()["detail"]


def test_the_plot_is_a_picture(service, link):
    answer = service.get(link["plot"])
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def whole(service, link):
    return service.get(link["video"])


class TestVideo:
    """Ranges as RFC 9110, section 14, has them."""

    def part(self, service, link, wanted: str, **headers: str):
        return service.get(link["video"], headers={"Range": wanted, **headers})

    def test_all_of_it_plays(self, whole, done):
        assert (whole.status_code, whole.headers["content-type"], whole.headers["accept-ranges"]) == (200, "video/mp4", "bytes")
        with av.open(io.BytesIO(whole.content)) as container:
            assert sum(1 for _ in container.decode(video=0)) == done["summary"]["frames"]

    @pytest.mark.parametrize(
        ("wanted", "bounds"),
        [
            ("bytes=0-99", (0, 100)),
            ("bytes=100-", (100, None)),
            ("bytes=-100", (-100, None)),
            ("BYTES = 5-5", (5, 6)),
            ("bytes=10-99999999999", (10, None)),
            ("bytes=99999999999-, 7-8", (7, 9)),  # what lies beyond the end is left out
        ],
    )
    def test_a_part_is_that_part(self, service, link, whole, wanted, bounds):
        answer = self.part(service, link, wanted)
        assert answer.status_code == 206
        assert answer.content == whole.content[slice(*bounds)]
        first = bounds[0] % len(whole.content)
        assert answer.headers["content-range"] == f"bytes {first}-{first + len(answer.content) - 1}/{len(whole.content)}"

    def test_several_parts_come_in_one_answer(self, service, link, whole):
        answer = self.part(service, link, "bytes=0-9,100-109")
        assert answer.status_code == 206
        assert answer.headers["content-type"].startswith("multipart/byteranges")
        assert whole.content[:10] in answer.content
        assert whole.content[100:110] in answer.content

    @pytest.mark.parametrize("wanted", ["bytes=99999999999-", "bytes=-0", "bytes=99999999999-,999999999999-"])
    def test_what_lies_beyond_the_end_cannot_be_had(self, service, link, whole, wanted):
        answer = self.part(service, link, wanted)
        assert answer.status_code == 416
        assert answer.headers["content-range"] == f"bytes */{len(whole.content)}"
        assert answer.headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize(
        "wanted", ["lines=1-2", "bytes", "bytes=", "bytes=a-b", "bytes=9-3", "bytes=-", "bytes=" + "0-1," * 200 + "0-1"]
    )
    def test_a_range_that_cannot_be_read_is_ignored(self, service, link, whole, wanted):
        answer = self.part(service, link, wanted)
        assert (answer.status_code, answer.content) == (200, whole.content)

    def test_a_part_of_another_version_is_not_given(self, service, link, whole):
        current = self.part(service, link, "bytes=0-9", **{"If-Range": whole.headers["etag"]})
        assert (current.status_code, len(current.content)) == (206, 10)
        dated = self.part(service, link, "bytes=0-9", **{"If-Range": whole.headers["last-modified"]})
        assert dated.status_code == 206
        for other in ('"another"', "W/" + whole.headers["etag"], "Wed, 21 Oct 2015 07:28:00 GMT"):
            stale = self.part(service, link, "bytes=99999999999-", **{"If-Range": other})
            assert (stale.status_code, stale.content) == (200, whole.content)

    def test_what_a_client_has_is_not_sent_again(self, service, link, whole):
        for known in (whole.headers["etag"], f'"x", {whole.headers["etag"]}', "W/" + whole.headers["etag"], "*"):
            answer = service.get(link["video"], headers={"If-None-Match": known})
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", whole.headers["etag"])
        assert service.get(link["video"], headers={"If-None-Match": '"x"'}).status_code == 200

    def test_players_may_look_first(self, service, link, whole):
        answer = service.head(link["video"])
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == str(len(whole.content))


def test_what_there_is_none_of_is_a_problem_of_404(service):
    parts = [("GET", f"/{part}") for part in ("result", "video", "plot", "events", "series")]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), *parts):
        answer = service.request(method, f"/v1/analyses/{'0' * 32}{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path


@pytest.mark.parametrize("analysis_id", ["..", "x", "0" * 31, "0" * 33, "A" * 32, "%2e%2e%2f" * 4, "0" * 32 + "%00"])
def test_ids_of_another_form_reach_nothing(service, analysis_id):
    assert service.get(f"/v1/analyses/{analysis_id}/result").status_code in (404, 422)


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "state=asleep", "cursor=x", "cursor=1.2", "cursor=" + "9" * 500])
def test_questions_that_make_no_sense_are_refused(service, query):
    answer = service.get(f"/v1/analyses?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


def test_an_analysis_that_has_ended_cannot_be_cancelled(service, link):
    assert service.post(link["self"] + "/cancel").status_code == 409


def test_it_is_listed_by_state_and_counted(service, done):
    assert [item["id"] for item in service.get("/v1/analyses?state=done").json()["items"]] == [done["id"]]
    assert service.get("/v1/analyses?state=failed").json() == {"items": [], "next_cursor": None}
    assert 'pose_jobs{state="done"} 1.0' in service.get("/metrics").text


def test_every_answer_seen_here_is_in_the_openapi_document(service):
    paths = service.get("/openapi.json").json()["paths"]
    own = "/v1/analyses/{analysis_id}"
    assert set(paths["/v1/analyses"]["post"]["responses"]) >= {"202", "400", "403", "413", "415", "422", "429", "503", "507"}
    assert set(paths[own + "/video"]["get"]["responses"]) >= {"200", "206", "304", "404", "409", "416", "422"}
    assert set(paths[own + "/series"]["get"]["responses"]["200"]["content"]) == {
        "application/json", "text/csv", "application/vnd.apache.parquet"
    }  # fmt: skip
    assert "squat" in json.dumps(paths["/v1/analyses"]["post"]["requestBody"])


# --- exports and drawings ------------------------------------------------------------------------------
def test_keypoints_go_to_coco_and_angles_to_opensim(service, link):
    coco = service.get(f"{link['self']}/export", params={"format": "coco"})
    assert coco.status_code == 200
    assert coco.headers["content-disposition"].endswith("my%20squat-coco.json")
    data = coco.json()
    assert data["categories"][0]["keypoints"][0] == "nose"
    assert len(data["annotations"]) > 30
    motion = service.get(f"{link['self']}/export", params={"format": "opensim-mot", "person": 1})
    assert motion.text.splitlines()[0].strip()
    assert "endheader" in motion.text


def test_what_cannot_be_exported_is_refused_in_words(service, link):
    refused = service.get(f"{link['self']}/export", params={"format": "trc", "person": 77})
    assert refused.status_code == 422
    assert "77" in refused.json()["detail"]
    assert service.get(f"{link['self']}/export", params={"format": "docx"}).status_code == 422
    assert service.get(f"/v1/analyses/{'0' * 32}/export", params={"format": "coco"}).status_code == 404


@pytest.mark.parametrize("kind", ["range", "form"])
def test_drawings_are_made_on_request(service, link, kind):
    drawn = service.get(f"{link['self']}/drawings/{kind}", params={"dark": "true"})
    assert drawn.status_code == 200
    assert Image.open(io.BytesIO(drawn.content)).size[0] > 600


def test_nothing_stays_behind(service, link, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert service.get(f"{link['self']}/export", params={"format": "mot"}).status_code == 200
    assert service.get(f"{link['self']}/export", params={"format": "trc", "person": 77}).status_code == 422
    assert list(tmp_path.iterdir()) == []


def test_deleting_it_leaves_nothing(service, link, clip):
    again = service.upload(clip).headers["location"]
    view = service.wait(again, lambda v: v["state"] == "running")
    assert service.get(view["links"]["result"]).status_code == 409
    assert service.delete(again).status_code == 204
    assert service.delete(link["self"]).status_code == 204
    assert service.get(link["self"]).status_code == 404
    assert service.get(link["video"]).status_code == 404
    assert service.get("/v1/analyses").json()["items"] == []
    assert service.files() == set()
