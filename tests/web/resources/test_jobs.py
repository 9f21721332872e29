"""The routes of jobs, on a Falcon app, over a real database."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.store import job_queue
from appliance.store.job_queue import lease_of
from appliance.store.jobs import KeptFile, StoredResult
from appliance.web.openapi import Route
from appliance.web.resources.dead_jobs import DeadJobResource, DeadJobs
from appliance.web.resources.jobs import JobResource, JobsResource
from tests.job_parts import ADMIN, OTHER, Bench, bench, sent
from tests.store.test_job_queue import WHY
from tests.web.routed import Routed

JOBS = "/api/v1/jobs"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state") as found:
        yield found


@pytest.fixture
def routed(parts: Bench) -> Routed:
    job = JobResource(parts.jobs)
    return Routed(
        Route(JOBS, JobsResource(parts.jobs)),
        Route(f"{JOBS}/{{job_id}}", job),
        Route(f"{JOBS}/{{job_id}}/retry", job, "retry"),
        Route(f"{JOBS}/{{job_id}}/result", job, "result"),
        Route(f"{JOBS}/{{job_id}}/result/{{file_name:path}}", job, "file"),
        Route("/api/v1/admin/dlq", DeadJobs(parts.jobs)),
        Route("/api/v1/admin/dlq/{job_id}", DeadJobResource(parts.jobs)),
        caller=ADMIN,
    )


def take(parts: Bench) -> job_queue.Lease:
    now = parts.clock.wall_seconds()
    job = job_queue.take(parts.database, "i1", now, longest_pause_seconds=300.0)
    assert job is not None
    return lease_of(job)


def done_with_files(parts: Bench) -> str:
    job = parts.submit().job
    lease = take(parts)
    folder = parts.files.begin_attempt(job.id, 1)
    (folder.results / "plots").mkdir()
    (folder.results / "plots" / "a.png").write_bytes(b"\x89PNG")
    (folder.results / "page.html").write_text("<script>")
    kept = (KeptFile(name="plots/a.png", bytes=4), KeptFile(name="page.html", bytes=8))
    result = StoredResult(
        job_id=job.id, attempt=1, recorded_seconds=0.0, document=b'{"found":[1]}', files=kept
    )
    job_queue.finish(parts.database, lease, result)
    return job.id


def dead(parts: Bench) -> str:
    job = parts.submit(files=[sent()]).job
    job_queue.bury(parts.database, take(parts), WHY, now=0.0)
    return job.id


def test_jobs_are_listed_by_state_and_page(parts: Bench, routed: Routed) -> None:
    gone = dead(parts)
    waiting = [parts.submit().job.id for _ in range(2)]
    page = routed.get(JOBS, query_string="state=waiting,running&limit=1").json
    assert [job["id"] for job in page["jobs"]] == [waiting[1]]
    rest = routed.get(JOBS, query_string=f"state=waiting&cursor={page['next_cursor']}").json
    assert [job["id"] for job in rest["jobs"]] == [waiting[0]]
    found = routed.get(JOBS, query_string="state=dead&kind=play").json["jobs"]
    assert [job["id"] for job in found] == [gone]
    assert routed.get(JOBS, query_string="state=lost").status_code == 422


def test_a_result_tells_its_document_and_files(parts: Bench, routed: Routed) -> None:
    job_id = done_with_files(parts)
    answer = routed.get(f"{JOBS}/{job_id}/result").json
    assert answer["result"] == {"found": [1]}
    picture = routed.get(answer["files"][0]["location"])
    assert (picture.content, picture.headers["content-type"]) == (b"\x89PNG", "image/png")
    page = routed.get(answer["files"][1]["location"])
    assert page.headers["content-type"] == "text/html"
    assert page.headers["content-disposition"].startswith("attachment")
    assert page.headers["x-content-type-options"] == "nosniff"
    for name in ("other", "../result.json", "plots", "%2e%2e/result.json"):
        assert routed.get(f"{JOBS}/{job_id}/result/{name}").status_code == 404


def test_a_job_that_is_not_done_has_no_result(parts: Bench, routed: Routed) -> None:
    job_id = dead(parts)
    refused = routed.get(f"{JOBS}/{job_id}/result", query_string="wait=0.1")
    assert refused.status_code == 409
    assert "signal 11" in refused.json["detail"]


def test_deleting_cancels_what_waits_and_removes_what_ended(parts: Bench, routed: Routed) -> None:
    job_id = parts.submit().job.id
    cancelled = routed.client.simulate_delete(f"{JOBS}/{job_id}")
    assert (cancelled.status_code, cancelled.json["state"]) == (200, "cancelled")
    assert routed.client.simulate_delete(f"{JOBS}/{job_id}").status_code == 204
    assert routed.client.simulate_delete(f"{JOBS}/{job_id}").status_code == 404


def test_a_dead_job_is_tried_again(parts: Bench, routed: Routed) -> None:
    job_id = dead(parts)
    again = routed.post(f"{JOBS}/{job_id}/retry")
    assert (again.status_code, again.json["state"]) == (202, "waiting")
    assert routed.post(f"{JOBS}/{job_id}/retry").status_code == 409


def test_waiting_is_bounded_by_the_time_asked_for(parts: Bench, routed: Routed) -> None:
    job_id = parts.submit().job.id
    found = routed.get(f"{JOBS}/{job_id}", query_string="wait=0.05")
    assert found.json["state"] == "waiting"
    assert routed.get(f"{JOBS}/{job_id}", query_string="wait=-1").status_code == 422


def test_a_foreign_job_is_not_there(parts: Bench, routed: Routed) -> None:
    job_id = parts.submit().job.id
    routed.caller = OTHER
    assert routed.get(f"{JOBS}/{job_id}").status_code == 404
    assert json.loads(routed.get(JOBS).content)["jobs"] == []
