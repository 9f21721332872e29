"""The route of batches: what it takes, and how the job is answered."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from appliance.actions.submit_batch import BatchSubmission
from appliance.actions.submit_job import JobSubmission
from appliance.engine.engine import Engine
from appliance.store import jobs
from appliance.web.openapi import Route
from appliance.web.resources.batch import Batch
from tests.actions.examples import StubEngine
from tests.job_parts import ADMIN, SETTINGS, Bench, active, bench
from tests.web.routed import Routed, a_file, form

PATH = "/api/v1/models/vehicle-type/batch"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state") as found:
        yield found


@pytest.fixture
def routed(parts: Bench) -> Routed:
    submission = JobSubmission(
        SETTINGS,
        parts.clock,
        database=parts.database,
        disk=parts.disk,
        files=parts.files,
        news=parts.news,
        resolve_version=active,
    )
    batches = BatchSubmission(cast("Engine", StubEngine()), submission)
    batch = Batch(batches, parts.jobs, SETTINGS)
    return Routed(Route("/api/v1/models/{model}/batch", batch), caller=ADMIN)


def send(routed: Routed, query: str = "", *bodies: bytes, **headers: str) -> Any:
    body, header = form(*(a_file(each) for each in bodies or (b"x",)))
    return routed.post(PATH, body, headers={**header, **headers}, query_string=query)


def test_a_batch_is_answered_with_its_job(parts: Bench, routed: Routed) -> None:
    answer = send(routed, "top_k=3&priority=7", b"one", b"two")
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json["location"]
    stored = jobs.get(parts.database, answer.json["id"])
    assert (stored.kind, stored.priority, stored.pins) == ("batch", 7, ("vehicle-type@2",))
    assert [one.bytes for one in stored.inputs] == [3, 3]


def test_the_same_key_is_the_same_job(routed: Routed) -> None:
    first = send(routed, **{"Idempotency-Key": "k"})
    assert send(routed, **{"Idempotency-Key": "k"}).json["id"] == first.json["id"]
    assert send(routed, "", b"other", **{"Idempotency-Key": "k"}).status_code == 409


@pytest.mark.parametrize(
    "query", ["priority=high", "priority=1000", "wait=-1", "colour=red", "top_k=many"]
)
def test_a_query_that_does_not_fit_is_refused_and_nothing_kept(
    parts: Bench, routed: Routed, query: str
) -> None:
    assert send(routed, query).status_code == 422
    assert list(parts.files.root.glob("*")) == []


def test_an_empty_form_and_another_type_are_refused(routed: Routed) -> None:
    body, header = form()
    assert routed.post(PATH, body, headers=header).status_code in (400, 422)
    plain = routed.post(PATH, b"x", headers={"Content-Type": "image/png"})
    assert plain.status_code == 415


def test_json_lines_are_taken_whole(parts: Bench, routed: Routed) -> None:
    answer = routed.post(PATH, b'"a"\n"b"\n', headers={"Content-Type": "application/jsonl"})
    stored = jobs.get(parts.database, answer.json["id"])
    assert [one.content_type for one in stored.inputs] == ["application/jsonl"]
