"""One attempt as its process sees it; how it is confined is seen from outside, in a real one."""

import os
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance import frames
from appliance.errors import Internal, InvalidInput, ModelInvalid, Overloaded
from appliance.host.jobs.contract import Cancelled, JobOrder, JobWord
from appliance.host.jobs.runner import Reports, attempt, failure, implementation_of
from tests.engine.test_job_runner import order
from tests.job_kinds import KIND


def silent(progress: float, message: str) -> None:
    pass


def test_what_went_well_is_written_and_told(tmp_path: Path) -> None:
    word = attempt(order(tmp_path, "echo"), silent)
    assert (word.kind, word.files) == ("done", ("more/kept.txt",))
    found = msgspec.json.decode((tmp_path / "result.json").read_bytes())
    assert found["process"] == os.getpid()


@pytest.mark.parametrize(
    ("act", "slug", "is_worth_retrying"),
    [
        ("refuse", "invalid-input", False),
        ("stumble", "unavailable", True),
        ("bug", "internal", True),
        ("eat", "payload-too-large", True),
        ("fill", "insufficient-storage", True),
        ("shout", "payload-too-large", False),
    ],
)
def test_what_went_wrong_is_told_with_whether_to_try_again(
    tmp_path: Path, act: str, slug: str, is_worth_retrying: bool
) -> None:
    word = attempt(order(tmp_path, act), silent)
    assert (word.kind, word.problem["slug"]) == ("failed", slug)
    assert "by zero" not in word.problem["detail"]
    assert word.is_worth_retrying is is_worth_retrying


def test_a_kind_that_is_not_there_is_our_own_fault(tmp_path: Path) -> None:
    missing = msgspec.structs.replace(order(tmp_path, "echo"), implementation="tests.gone:KIND")
    word = attempt(missing, silent)
    assert word.problem["slug"] == "internal"
    assert implementation_of("tests.job_kinds:KIND") is KIND


def test_the_class_of_a_problem_says_whether_another_attempt_may_help() -> None:
    assert failure(Overloaded("x")).is_worth_retrying
    assert failure(Internal("x")).is_worth_retrying
    assert not failure(InvalidInput("x")).is_worth_retrying
    assert not failure(ModelInvalid("x")).is_worth_retrying


def heard(front: socket.socket) -> list[Any]:
    front.settimeout(0.1)
    found = []
    try:
        while True:
            message, _ = frames.receive(front)
            found.append(msgspec.convert(message, JobWord))
    except TimeoutError:
        return found


def test_reports_are_told_now_and_then_and_within_bounds() -> None:
    front, ours = socket.socketpair()
    with front, ours:
        report = Reports(ours)
        for _ in range(1000):
            report(7.0, "x" * 10_000)
        words = heard(front)
    assert 1 <= len(words) < 100
    assert (words[0].progress, len(words[0].message)) == (1.0, 500)


def test_a_report_that_is_no_number_counts_as_nothing() -> None:
    front, ours = socket.socketpair()
    with front, ours:
        Reports(ours)(float("nan"), "?")
        assert heard(front)[0].progress == 0.0


def test_the_wish_to_cancel_is_met_at_the_next_report(tmp_path: Path) -> None:
    front, ours = socket.socketpair()
    with front, ours:
        front.send(b"c")
        with pytest.raises(Cancelled):
            Reports(ours)(0.5, "half")
        word = attempt(order(tmp_path, "wait"), Reports(ours))
    assert word == JobWord(kind="cancelled")


def test_an_order_survives_the_way_to_the_process(tmp_path: Path) -> None:
    sent = order(tmp_path, "echo")
    packed = msgspec.msgpack.encode(msgspec.to_builtins(sent))
    assert msgspec.convert(msgspec.msgpack.decode(packed), JobOrder) == sent


def test_what_a_bug_was_stands_in_the_log_under_the_jobs_id_and_nowhere_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = order(tmp_path, "bug")
    word = attempt(wanted, silent)
    assert wanted.job_id in word.problem["detail"]
    assert "ZeroDivisionError" not in word.problem["detail"]
    (record,) = caplog.records
    assert record.__dict__["job"] == wanted.job_id
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
