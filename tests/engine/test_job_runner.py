"""Processes of jobs: started, heard, cancelled, killed, buried; and their nursery replaced."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.engine import job_runner
from appliance.engine.job_runner import JobEvent, JobRunners
from appliance.engine.nursery import Nursery
from appliance.host.jobs.contract import JobOrder
from tests.engine.running import is_gone
from tests.job_parts import HANG_SECONDS, PROCESS, eventually


@pytest.fixture(scope="module")
def runners() -> Iterator[JobRunners]:
    found = JobRunners(PROCESS)
    yield found
    found.stop()


def order(place: Path, act: str, **more: Any) -> JobOrder:
    for name in ("workspace", "results"):
        (place / name).mkdir(exist_ok=True)
    return JobOrder(
        job_id="j1",
        implementation="tests.job_kinds:KIND",
        params={"act": act, "place": str(place), **more},
        inputs=(),
        workspace=str(place / "workspace"),
        results=str(place / "results"),
        document=str(place / "result.json"),
        result_bytes=1_000_000,
        specifications={},
    )


def until_end(runners: JobRunners, token: int) -> JobEvent:
    found: list[JobEvent] = []

    def ended() -> bool:
        found.extend(event for event in runners.wait(0.2) if event.token == token)
        return bool(found) and found[-1].has_ended

    eventually(ended)
    return found[-1]


def process_of(runners: JobRunners, place: Path) -> int:
    """Return the process of an attempt that has told that it runs."""

    def runs() -> list[Path]:
        runners.wait(0.05)
        return list(place.glob("runs-*"))

    return int(eventually(runs)[0].name.partition("-")[2])


def test_an_attempt_ends_with_its_last_word(runners: JobRunners, tmp_path: Path) -> None:
    event = until_end(runners, runners.start(order(tmp_path, "nothing")))
    assert event.word is not None
    assert (event.word.kind, event.death) == ("done", "exit status 0")
    assert (tmp_path / "result.json").read_bytes() == b"{}"
    assert runners.process_ids() == {}


def test_a_death_is_told_with_its_signal(runners: JobRunners, tmp_path: Path) -> None:
    event = until_end(runners, runners.start(order(tmp_path, "crash")))
    assert event.word is None
    assert event.death == "signal 11 (SIGSEGV)"


def test_a_long_order_arrives_whole(runners: JobRunners, tmp_path: Path) -> None:
    wordy = order(tmp_path, "echo", model="m" * 1_000_000)
    event = until_end(runners, runners.start(wordy))
    assert event.word is not None
    assert event.word.kind == "done"


def test_a_process_that_is_told_to_end_does(runners: JobRunners, tmp_path: Path) -> None:
    token = runners.start(order(tmp_path, "wait"))
    process_of(runners, tmp_path)
    runners.cancel(token, patience_seconds=HANG_SECONDS)
    event = until_end(runners, token)
    assert event.word is not None
    assert event.word.kind == "cancelled"


def test_a_deaf_process_is_killed_when_the_patience_ends(
    runners: JobRunners, tmp_path: Path
) -> None:
    token = runners.start(order(tmp_path, "deaf"))
    process_id = process_of(runners, tmp_path)
    runners.cancel(token, patience_seconds=0.01)
    assert "told to" in until_end(runners, token).death
    assert is_gone(process_id)


def test_a_kill_is_told_with_its_reason_even_before_the_birth(
    runners: JobRunners, tmp_path: Path
) -> None:
    token = runners.start(order(tmp_path, "deaf"))
    runners.kill(token, "it took too long")
    assert until_end(runners, token).death == "it took too long"
    runners.kill(token, "again")  # it is no more: nothing happens
    runners.cancel(token, patience_seconds=1.0)


def test_a_dead_nursery_ends_its_jobs_and_the_next_job_gets_another(tmp_path: Path) -> None:
    own = JobRunners(PROCESS)
    try:
        token = own.start(order(tmp_path, "wait"))
        process_id = process_of(own, tmp_path)
        assert own._nursery is not None
        os.kill(own._nursery.process_id, signal.SIGKILL)
        assert "process that starts jobs ended" in until_end(own, token).death
        eventually(lambda: is_gone(process_id))
        (tmp_path / "go").touch()
        event = until_end(own, own.start(order(tmp_path, "wait")))
        assert event.word is not None
    finally:
        own.stop()


def test_the_nursery_ends_when_there_has_been_no_job_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = JobRunners(PROCESS)
    try:
        until_end(own, own.start(order(tmp_path, "nothing")))
        assert own._nursery is not None
        process_id = own._nursery.process_id
        monkeypatch.setattr(job_runner, "_IDLE_SECONDS", 0.0)
        eventually(lambda: own.wait(0.01) == [] and own._nursery is None)
        assert is_gone(process_id)
    finally:
        own.stop()


def test_waking_ends_the_wait(runners: JobRunners) -> None:
    runners.wake()
    assert runners.wait(HANG_SECONDS) == []


def test_no_nursery_means_no_attempt(tmp_path: Path) -> None:
    def refuse() -> Nursery:
        raise OSError("no more processes")

    own = JobRunners(PROCESS, nursery=refuse)
    with pytest.raises(OSError, match="no more"):
        own.start(order(tmp_path, "nothing"))
    own.stop()
