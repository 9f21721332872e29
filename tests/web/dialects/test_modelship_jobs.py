"""ModelShip's batches over the appliance's own queue."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

from appliance.actions.submit_batch import BatchSubmission
from appliance.actions.submit_job import JobSubmission
from appliance.clock import ManualClock
from appliance.config import Dialects, Jobs
from appliance.store import job_queue
from appliance.store.job_queue import lease_of
from appliance.store.jobs import StoredResult
from appliance.web.dialects import modelship, modelship_jobs
from appliance.web.dialects.modelship_boxes import OBJECTS
from tests.actions.examples import OPERATOR, StubEngine, a_device, a_status
from tests.job_parts import Bench, active, bench
from tests.web.routed import Routed, a_file, form

C = "/api/classify"
OUTCOMES: list[dict[str, Any]] = [
    {
        "file": "a.jpg",
        "status": "ok",
        "label": "truck",
        "confidence": 0.9,
        "duration_ms": 10.0,
        "result": {},
    },
    {"file": "b.jpg", "status": "ok", "label": "van", "confidence": 0.5, "duration_ms": 20.0},
    {"file": "c.jpg", "status": "failed", "problem": {"detail": "It is no picture."}},
]


class Here:
    """The routes over a real queue that nobody works on."""

    def __init__(self, parts: Bench) -> None:
        self.parts = parts
        self.engine = StubEngine(
            a_status("scenes", 4),
            a_status("boxes", 2, task=OBJECTS),
            a_status("sentiment", 1, task=modelship.TEXT, labels={"s": ("good", "bad")}),
            a_status(
                "any-labels",
                task=modelship.TEXT,
                labels={"e": ()},
                inputs=({"name": "input_ids", "datatype": "INT64", "shape": [-1, -1]},),
            ),
        )
        submission = JobSubmission(
            parts.settings,
            parts.clock,
            database=parts.database,
            disk=parts.disk,
            files=parts.files,
            news=parts.news,
            resolve_version=active,
        )
        table = modelship_jobs.routes(
            self.engine,  # type: ignore[arg-type]
            BatchSubmission(self.engine, submission),  # type: ignore[arg-type]
            parts.jobs,
            settings=Dialects(),
            limits=Jobs(),
        )
        self.routed = Routed(
            *table, caller=a_device(), dialects={modelship.PREFIX: modelship.error_body}
        )

    def post(self, path: str, *parts: tuple[str, bytes], **given: Any) -> falcon.testing.Result:
        body, headers = form(*parts)
        return self.routed.post(C + path, body, headers=headers, **given)

    def submitted(self) -> str:
        answer = self.post("/batch", a_file(b"x", field="files"), a_file(b"y", field="files"))
        assert answer.status_code == 200
        return str(answer.json["job_id"])

    def finish(self, outcomes: list[dict[str, Any]]) -> None:
        """End the oldest job as a runner would."""
        store, now = self.parts.database, self.parts.clock.wall_seconds()
        job = job_queue.take(store, "runner", now, longest_pause_seconds=60)
        assert job is not None
        document = {"files": outcomes, "totals": {"files": len(outcomes)}}
        job_queue.finish(
            store,
            lease_of(job),
            StoredResult(
                job_id=job.id,
                attempt=job.attempts,
                recorded_seconds=now,
                document=json.dumps(document).encode(),
            ),
        )


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    with bench(tmp_path / "jobs", clock=ManualClock()) as parts:
        yield Here(parts)


def test_a_batch_becomes_a_job_that_waits(here: Here) -> None:
    answer = here.post("/batch", a_file(b"x", field="files"), a_file(b"y", field="files"))
    document = answer.json
    job_id = document.pop("job_id")
    assert document == {
        "status": "queued",
        "total_items": 2,
        "message": "Batch classification job created with 2 files",
    }
    view = here.parts.view(job_id)
    assert (view.kind, view.model, view.key_name) == ("batch", "scenes", "camera cam001")


def test_its_job_is_told_in_the_guides_words(here: Here) -> None:
    job_id = here.submitted()
    document = here.routed.get(f"{C}/jobs/{job_id}").json
    assert document.pop("created_at").startswith("2026-")
    assert document == {
        "job_id": job_id,
        "status": "queued",
        "job_type": "image",
        "total_items": 2,
        "completed_items": 0,
        "progress_percentage": 0.0,
        "completed_at": None,
        "error_message": None,
    }
    here.finish(OUTCOMES)
    done = here.routed.get(f"{C}/jobs/{job_id}").json
    assert (done["status"], done["total_items"], done["completed_items"]) == ("completed", 3, 3)


def test_results_are_told_once_there_are_some(here: Here) -> None:
    job_id = here.submitted()
    waiting = here.routed.get(f"{C}/results/{job_id}").json
    assert (waiting["job_status"], waiting["results"]) == ("queued", [])
    here.finish(OUTCOMES)
    document = here.routed.get(f"{C}/results/{job_id}").json
    assert document["results"][0] == {
        "result_id": f"{job_id}-1",
        "filename": "a.jpg",
        "predicted_label": "truck",
        "confidence": 90.0,
        "processing_time": 0.01,
        "status": "success",
        "error_message": None,
        "reviewed": False,
        "ground_truth": None,
    }
    assert len(document["results"]) == 2
    assert document["summary"] == {
        "total_results": 3,
        "successful_results": 2,
        "failed_results": 1,
        "average_confidence": 70.0,
        "average_processing_time": 0.015,
    }


def test_results_may_be_filtered(here: Here) -> None:
    job_id = here.submitted()
    here.finish(OUTCOMES)
    document = here.routed.get(
        f"{C}/results/{job_id}", query_string="include_errors=true&confidence_threshold=0.6"
    ).json
    assert [one["filename"] for one in document["results"]] == ["a.jpg", "c.jpg"]
    assert document["results"][1]["error_message"] == "It is no picture."
    assert document["filters_applied"] == {"include_errors": True, "confidence_threshold": 0.6}


def test_a_cancelled_job_has_failed(here: Here) -> None:
    job_id = here.submitted()
    here.parts.jobs.cancel(OPERATOR, job_id)
    document = here.routed.get(f"{C}/jobs/{job_id}").json
    assert (document["status"], document["error_message"]) == (
        "failed",
        "The job was cancelled.",
    )


def test_jobs_are_listed_page_by_page_and_only_ones_own(here: Here) -> None:
    ids = [here.submitted() for _ in range(3)]
    document = here.routed.get(f"{C}/jobs", query_string="limit=2&offset=1").json
    assert [one["job_id"] for one in document["jobs"]] == [ids[1], ids[0]]
    assert (document["total_count"], document["limit"], document["offset"]) == (2, 2, 1)
    here.routed.caller = a_device("cam002")
    assert here.routed.get(f"{C}/jobs").json["jobs"] == []
    answer = here.routed.get(f"{C}/jobs/{ids[0]}")
    assert (answer.status_code, list(answer.json)) == (404, ["detail"])


def test_texts_become_a_job_of_the_text_model(here: Here) -> None:
    texts = ('Content-Disposition: form-data; name="texts"', b'["one", "two", "three"]')
    document = here.post("/text/batch", texts).json
    assert document["total_items"] == 3
    assert here.parts.view(document["job_id"]).model == "sentiment"
    assert here.routed.get(f"{C}/jobs/{document['job_id']}").json["job_type"] == "text"
    categories = ('Content-Disposition: form-data; name="custom_categories"', b"a,b")
    other = here.post("/text/batch", texts, categories).json
    view = here.parts.view(other["job_id"])
    assert (view.model, view.params["params"]) == ("any-labels", {"labels": ["a", "b"]})


FOUND = {
    "width": 640,
    "height": 480,
    "objects": [
        {
            "label": "car",
            "class_id": 2,
            "confidence": 0.9,
            "box": {"x1": 1, "y1": 2, "x2": 11, "y2": 22},
        }
    ],
}


def a_field(name: str, value: str) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


def test_pictures_to_look_for_objects_in_become_a_job_of_the_detector(here: Here) -> None:
    answer = here.post(
        "/batch/detect",
        a_field("project_id", "3"),
        a_field("model_name", "yolo8n"),
        a_field("confidence_threshold", "0.5"),
        a_field("use_sahi_slicing", "true"),
        a_file(b"x", field="files"),
        a_file(b"y", field="files"),
    )
    assert (answer.status_code, answer.json["total_items"]) == (200, 2)
    job_id = answer.json["job_id"]
    view = here.parts.view(job_id)
    assert (view.model, len(view.inputs)) == ("boxes", 2)
    assert view.params["params"] == {"threshold": "0.5", "tiles": "auto", "overlap": "0.2"}
    assert here.routed.get(f"{C}/jobs/{job_id}").json["job_type"] == "object_detection"
    here.finish(
        [{"file": "a.jpg", "status": "ok", "label": "car", "confidence": 0.9, "result": FOUND}]
    )
    (one,) = here.routed.get(f"{C}/results/{job_id}").json["results"]
    assert (one["filename"], one["predicted_label"], one["confidence"]) == ("a.jpg", "car", 90.0)
    (found,) = one["detections"]
    assert (found["class_name"], found["bbox"]["width"], found["sahi_detected"]) == (
        "car",
        10,
        True,
    )


def test_results_of_labels_have_no_detections(here: Here) -> None:
    job_id = here.submitted()
    here.finish([{**OUTCOMES[0], "result": {"predictions": [{"label": "truck"}]}}])
    (one,) = here.routed.get(f"{C}/results/{job_id}").json["results"]
    assert "detections" not in one


@pytest.mark.parametrize(
    ("parts", "status", "words"),
    [
        ((a_field("project_id", "1"),), 422, "no files"),
        ((a_file(b"x", field="files"), a_field("model_name", "boxes")), 422, "before the files"),
        ((a_field("a", "1"), a_field("a", "2"), a_file(b"x")), 422, "twice"),
        ((a_field("model_name", "scenes"), a_file(b"x")), 422, "does not detect"),
        ((a_field("confidence_threshold", "7"), a_file(b"x")), 422, "from 0 to 1"),
        ((a_field("note", "x" * 5000), a_file(b"x")), 422, "4,096 bytes"),
        ((), 422, "no files"),
    ],
)
def test_a_wrong_form_of_pictures_leaves_no_job(
    here: Here, parts: Any, status: int, words: str
) -> None:
    answer = here.post("/batch/detect", *parts)
    assert (answer.status_code, list(answer.json)) == (status, ["detail"])
    assert words in answer.json["detail"]
    assert here.routed.get(f"{C}/jobs").json["jobs"] == []


@pytest.mark.parametrize(
    ("path", "parts", "query", "status"),
    [
        ("/batch", (a_file(b"x", field="files"),), "job_type=sound", 422),
        ("/batch", (("Content-Disposition: form-data; name=x", b"y"),), "", 422),
        ("/text/batch", (("Content-Disposition: form-data; name=texts", b"[]"),), "", 422),
        ("/text/batch", (("Content-Disposition: form-data; name=texts", b"no"),), "", 400),
        ("/text/batch", (("Content-Disposition: form-data; name=texts", b"[1]"),), "", 422),
    ],
)
def test_faults_have_the_guides_shape(
    here: Here, path: str, parts: Any, query: str, status: int
) -> None:
    answer = here.post(path, *parts, query_string=query)
    assert (answer.status_code, list(answer.json)) == (status, ["detail"])


def test_without_a_model_there_is_no_batch(here: Here) -> None:
    here.engine.statuses = []
    for query in ("job_type=image", "job_type=text"):
        answer = here.post("/batch", a_file(b"x", field="files"), query_string=query)
        assert (answer.status_code, list(answer.json)) == (404, ["detail"])
