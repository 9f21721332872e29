"""A batch through a real model, in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.csv_rows import csv_row
from appliance.errors import ModelInvalid, ModelUnavailable, UnsupportedMedia
from appliance.host.hosted_model import LoadFailed
from appliance.host.jobs import batch
from appliance.host.jobs.batch import KIND
from appliance.host.jobs.batch_params import BatchParams
from appliance.host.jobs.contract import Cancelled, JobInput, JobResult, JobRun
from appliance.host.specification import FILES, MACHINE, HostSpecification
from tests.tiny_models import picture, write_colour_model


def specification(directory: Path) -> HostSpecification:
    return HostSpecification(
        directory=str(directory),
        cache_directory=str(directory.parents[1] / "cache"),
        threads=1,
        connections=1,
        memory_bytes=1 << 33,
        image_pixels=1_000_000,
        image_formats=("PNG",),
        tensor_batch=1,
    )


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> HostSpecification:
    return specification(write_colour_model(tmp_path_factory.mktemp("models")).directory)


def run(
    place: Path,
    model: HostSpecification,
    *bodies: bytes,
    report: Callable[[float, str], None] = lambda progress, message: None,
    **params: Any,
) -> JobResult:
    inputs = []
    for number, body in enumerate(bodies):
        path = place / f"{number}"
        path.write_bytes(body)
        inputs.append(JobInput(name=f"{number}.png", content_type="image/png", path=str(path)))
    results = place / "results"
    results.mkdir()
    return KIND.run(
        JobRun(
            params=BatchParams(model="colour", version=1, params=params),
            inputs=inputs,
            workspace=place,
            results=results,
            specifications={"colour@1": model},
            report=report,
        )
    )


def test_each_file_is_a_row_whatever_became_of_it(
    tmp_path: Path, colour: HostSpecification
) -> None:
    done = run(tmp_path, colour, picture("red"), b"no picture", picture("blue"))
    assert done.document["totals"] == {"files": 3, "ok": 2, "failed": 1}
    assert done.files == ("results.jsonl", "results.csv")
    lines = (tmp_path / "results" / "results.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row.get("label") for row in rows] == ["red", None, "blue"]
    assert rows[0]["result"]["predictions"][0]["label"] == "red"
    assert rows[1]["problem"]["type"] == "/problems/unsupported-media"
    table = (tmp_path / "results" / "results.csv").read_text().splitlines()
    assert table[0].startswith("file,status,label")
    assert len(table) == 4


def test_parameters_of_the_task_reach_the_model(tmp_path: Path, colour: HostSpecification) -> None:
    run(tmp_path, colour, picture("red"), top_k=1)
    row = json.loads((tmp_path / "results" / "results.jsonl").read_text())
    assert len(row["result"]["predictions"][0]["top"]) == 1


def test_progress_is_reported_and_a_cancel_is_let_through(
    tmp_path: Path, colour: HostSpecification
) -> None:
    told: list[float] = []

    def report(progress: float, message: str) -> None:
        told.append(progress)
        if progress >= 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(tmp_path, colour, picture("red"), picture("blue"), report=report)
    assert told[-1] == 0.5


def test_more_than_can_be_shown_is_in_the_file(
    tmp_path: Path, colour: HostSpecification, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_MOST_SHOWN", 1)
    done = run(tmp_path, colour, picture("red"), picture("blue"))
    assert (len(done.document["files"]), done.document["files_left_out"]) == (1, 1)
    assert len((tmp_path / "results" / "results.jsonl").read_text().splitlines()) == 2


def test_only_a_shortage_of_the_machine_is_worth_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(cause: str) -> None:
        def load(specification: HostSpecification) -> None:
            raise LoadFailed("It cannot be loaded.", cause=cause)

        monkeypatch.setattr(batch, "load", load)

    fail(MACHINE)
    with pytest.raises(ModelUnavailable):
        batch.loaded(specification(tmp_path))
    fail(FILES)
    with pytest.raises(ModelInvalid):
        batch.loaded(specification(tmp_path))


def test_what_a_model_or_a_client_calls_a_thing_is_no_formula_in_the_table(tmp_path: Path) -> None:
    labels = ("=HYPERLINK()", "+green", "@blue")
    model = write_colour_model(tmp_path / "models", labels=labels, has_golden=False)
    run(tmp_path, specification(model.directory), picture("red"), picture("blue"))
    table = (tmp_path / "results" / "results.csv").read_text().splitlines()
    assert [row.split(",")[2] for row in table[1:]] == ["'=HYPERLINK()", "'@blue"]


def test_a_table_holds_no_formulas(tmp_path: Path) -> None:
    outcome = batch.predicted(
        None,  # type: ignore[arg-type]
        {},
        batch.Item("=1+1", "", b"", UnsupportedMedia("-x")),
    )
    assert csv_row(batch._row(outcome)) == "'=1+1,failed,,,0.0,'-x\r\n"
