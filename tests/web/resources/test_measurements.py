"""The routes that measure models: what they take, and how the job is answered."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from appliance.actions.recorded_data import RecordedData
from appliance.actions.submit_job import JobSubmission
from appliance.actions.submit_measurement import MeasurementSubmission
from appliance.clock import ManualClock
from appliance.engine.engine import Engine
from appliance.store import jobs
from appliance.web.openapi import Route
from appliance.web.resources.measurements import Measurements
from tests.actions.examples import StubEngine
from tests.actions.input_examples import Keeping
from tests.job_parts import ADMIN, SETTINGS, Bench, a_zip, active, bench
from tests.web.routed import Routed, a_file, form

PATH = "/api/v1/models/vehicle-type"


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
    keeping = Keeping(parts.directory, parts.database, ManualClock())
    recorded = RecordedData(
        keeping.keeper,
        parts.database,
        scratch=parts.directory,
        most_file_bytes=1_000_000,
        most_bytes=1_000_000,
    )
    measurements = MeasurementSubmission(cast("Engine", StubEngine()), submission, recorded)
    resource = Measurements(measurements, parts.jobs, SETTINGS)
    verbs = ("evaluate", "quantise", "tune")
    routes = (Route(f"/api/v1/models/{{model}}/{verb}", resource, verb) for verb in verbs)
    return Routed(*routes, caller=ADMIN)


@pytest.mark.parametrize("verb", ["evaluate", "quantise"])
def test_data_is_taken_as_a_form_or_whole(parts: Bench, routed: Routed, verb: str) -> None:
    body, header = form(a_file(b"one"), a_file(b"two"))
    answer = routed.post(
        f"{PATH}/{verb}", body, headers=header, query_string="head=type&priority=7&top_k=3"
    )
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json["location"]
    stored = jobs.get(parts.database, answer.json["id"])
    assert (stored.kind, stored.priority, stored.pins) == (verb, 7, ("vehicle-type@2",))
    assert len(stored.inputs) == 2
    assert stored.params["head"] == "type"
    assert stored.params["params"] == {"top_k": "3"}
    packed = a_zip({"a.png": b"x"})
    whole = routed.post(f"{PATH}/{verb}", packed, headers={"Content-Type": "application/zip"})
    assert whole.status_code == 202


def test_a_table_alone_is_named_as_one(parts: Bench, routed: Routed) -> None:
    answer = routed.post(f"{PATH}/evaluate", b"text,label\n", headers={"Content-Type": "text/csv"})
    (given,) = jobs.get(parts.database, answer.json["id"]).inputs
    assert given.name == "table.csv"


def test_tuning_needs_no_data(parts: Bench, routed: Routed) -> None:
    answer = routed.post(f"{PATH}/tune", query_string="latency_ms=20&most_seconds=9&version=1")
    assert answer.status_code == 202, answer.text
    stored = jobs.get(parts.database, answer.json["id"])
    assert stored.params["latency_ms"] == 20.0
    assert stored.pins == ("vehicle-type@1",)


@pytest.mark.parametrize(
    ("verb", "query"),
    [
        ("tune", "speed=high"),
        ("tune", "latency_ms=-1"),
        ("tune", "version=0"),
        ("tune", "version=x"),
        ("tune", "wait=-1"),
        ("evaluate", "colour=red"),
        ("evaluate", "most_items=0"),
        ("evaluate", "params=x"),
        ("quantise", "max_drop=101"),
    ],
)
def test_a_query_that_does_not_fit_is_refused_and_nothing_kept(
    parts: Bench, routed: Routed, verb: str, query: str
) -> None:
    body, header = form(a_file(b"x"))
    answer = routed.post(f"{PATH}/{verb}", body, headers=header, query_string=query)
    assert answer.status_code == 422, answer.text
    assert list(parts.files.root.glob("*")) == []


@pytest.mark.parametrize("verb", ["evaluate", "quantise"])
def test_a_form_without_files_is_refused_and_nothing_kept(
    parts: Bench, routed: Routed, verb: str
) -> None:
    body, header = form()
    answer = routed.post(f"{PATH}/{verb}", body, headers=header)
    assert answer.status_code in (400, 422), answer.text
    assert list(parts.files.root.glob("*")) == []


def test_other_data_is_refused(routed: Routed) -> None:
    answer = routed.post(f"{PATH}/evaluate", b"x", headers={"Content-Type": "image/png"})
    assert answer.status_code == 415


def test_quantising_from_recorded_inputs_needs_no_body_but_inputs(routed: Routed) -> None:
    answer = routed.post(f"{PATH}/quantise", query_string="calibration=recorded")
    assert answer.status_code == 409, answer.text
    assert "Only 0 inputs" in answer.json["detail"]
    without = routed.post(f"{PATH}/quantise")
    assert without.status_code == 415
