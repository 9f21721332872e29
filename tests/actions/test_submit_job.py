"""Taking jobs in: what is refused, what is pinned, what is the same, and what is left behind."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance import errors
from appliance.actions.callers import Caller, Role
from appliance.actions.submit_job import WantedJob
from appliance.store import jobs
from appliance.store.disk import Level
from tests.job_kinds import PlayParams
from tests.job_parts import ADMIN, DEVICE, OTHER, SETTINGS, Bench, a_zip, bench, sent

OPERATOR = Caller(key_name="op", key_id="op0001", role=Role.OPERATOR, address="192.0.2.4")


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state") as found:
        yield found


def folders(parts: Bench) -> list[str]:
    return sorted(path.name for path in parts.files.root.glob("*"))


def test_a_job_waits_with_its_files_on_the_disk(parts: Bench) -> None:
    job = parts.submit(files=[sent()], request_id="r1", priority=3).job
    assert (job.state, job.attempts, job.priority, job.key_name) == ("waiting", 0, 3, "cam")
    stored = jobs.get(parts.database, job.id)
    assert parts.files.input_path(job.id, stored.inputs[0]).read_bytes() == b"hello"


def test_the_active_version_is_pinned_when_the_job_is_sent(parts: Bench) -> None:
    job = parts.submit(params={"model": "colour"}).job
    assert (job.model, job.params["version"]) == ("colour", 2)
    assert jobs.is_pinned(parts.database, "colour", 2)
    with pytest.raises(errors.NotFound):
        parts.submit(params={"model": "colour", "version": 9})


def test_a_key_sends_jobs_for_its_own_models_only(parts: Bench) -> None:
    caller = Caller(
        key_name="k", key_id="k1", role=Role.DEVICE, address="192.0.2.9", models=("vehicle",)
    )
    with pytest.raises(errors.Forbidden):
        parts.submit(caller=caller, params={"model": "colour"})
    assert parts.submit(caller=caller, params={"model": "vehicle"}).job.model == "vehicle"


def test_parameters_may_come_as_text_and_wrong_ones_are_named(parts: Bench) -> None:
    assert parts.submit(params={"times": "7"}).job.params["times"] == 7
    assert (
        parts.submission.submit(
            WantedJob(caller=DEVICE, kind="play", params=PlayParams(times=2))
        ).job.params["times"]
        == 2
    )
    with pytest.raises(errors.InvalidInput) as refused:
        parts.submit(params={"times": "many"})
    assert refused.value.errors[0].pointer == "/times"
    with pytest.raises(errors.NotFound, match="play"):
        parts.submission.submit(WantedJob(caller=DEVICE, kind="work", params={}))


@pytest.mark.parametrize(
    "wrong",
    [{"priority": 101}, {"priority": -101}, {"idempotency_key": ""}, {"idempotency_key": "é"}],
)
def test_what_cannot_be_meant_is_refused_before_a_file_is_read(
    parts: Bench, wrong: dict[str, Any]
) -> None:
    with pytest.raises(errors.InvalidInput):
        parts.submit(files=[sent()], **wrong)
    assert folders(parts) == []


def test_a_repeated_request_is_the_same_job_and_leaves_no_second_folder(parts: Bench) -> None:
    first = parts.submit(files=[sent()], idempotency_key="once")
    again = parts.submit(files=[sent()], idempotency_key="once")
    assert (again.job.id, first.is_repeated, again.is_repeated) == (first.job.id, False, True)
    assert folders(parts) == [first.job.id]
    with pytest.raises(errors.Conflict, match="Idempotency-Key"):
        parts.submit(files=[sent(body=b"other")], idempotency_key="once")
    assert folders(parts) == [first.job.id]
    other = parts.submit(files=[sent()], idempotency_key="once", caller=OTHER)
    assert other.job.id != first.job.id


def test_many_at_once_under_one_key_make_one_job(parts: Bench) -> None:
    ids: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: ids.append(
                parts.submit(files=[sent()], idempotency_key="race", caller=ADMIN).job.id
            )
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1
    assert folders(parts) == [ids[0]]


def test_a_full_line_refuses_and_keeps_nothing(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SETTINGS, most_waiting=1)
    with bench(tmp_path / "state", settings=settings) as parts:
        kept = parts.submit(files=[sent()]).job
        with pytest.raises(errors.Overloaded):
            parts.submit(files=[sent()])
        assert folders(parts) == [kept.id]


def test_a_tight_disk_takes_no_jobs(parts: Bench) -> None:
    parts.disk._level = Level.TIGHT
    with pytest.raises(errors.InsufficientStorage):
        parts.submit(files=[sent()])
    assert folders(parts) == []


def test_a_key_that_sends_too_much_is_told_which_bound_it_met(tmp_path: Path) -> None:
    tight = msgspec.structs.replace(SETTINGS, most_per_key=1, bytes_per_key=8)
    with bench(tmp_path / "tight", settings=tight) as parts:
        first = parts.submit(files=[sent()], idempotency_key="once").job
        unread = sent()
        with pytest.raises(errors.RateLimited, match=r"jobs\.most_per_key"):
            parts.submit(files=[unread])
        assert unread.stream.tell() == 0
        again = parts.submit(files=[sent()], idempotency_key="once")
        assert again.is_repeated
        with pytest.raises(errors.RateLimited, match=r"jobs\.bytes_per_key"):
            parts.submit(files=[sent(body=b"x" * 9)], caller=OTHER)
        assert parts.submit(files=[sent(body=b"x" * 9)], caller=ADMIN).job.state == "waiting"
        assert len(folders(parts)) == 2
        assert first.id in folders(parts)


def test_operators_are_bounded_as_devices_are(tmp_path: Path) -> None:
    tight = msgspec.structs.replace(SETTINGS, most_per_key=1)
    with bench(tmp_path / "tight", settings=tight) as parts:
        parts.submit(caller=OPERATOR)
        with pytest.raises(errors.RateLimited, match=r"jobs\.most_per_key"):
            parts.submit(caller=OPERATOR)


def test_all_jobs_together_have_bounds_for_admins_too(tmp_path: Path) -> None:
    tight = msgspec.structs.replace(SETTINGS, most_bytes=8)
    with bench(tmp_path / "tight", settings=tight) as parts:
        parts.submit(files=[sent()])
        with pytest.raises(errors.InsufficientStorage, match=r"jobs\.most_bytes"):
            parts.submit(files=[sent()], caller=ADMIN)
        assert parts.jobs.counts().stored_bytes == 5


@pytest.mark.parametrize(
    ("name", "kind"), [("p.zip", "application/octet-stream"), ("p", "application/zip")]
)
def test_a_zip_that_no_job_could_read_is_refused_at_once(
    parts: Bench, name: str, kind: str
) -> None:
    with pytest.raises(errors.InvalidInput, match="damaged or no zip"):
        parts.submit(files=[sent(), sent(name, b"PK no", kind)])
    with pytest.raises(errors.InvalidInput, match="archive itself"):
        parts.submit(files=[sent(name, a_zip({"b.zip": b""}), kind)])
    assert folders(parts) == []
    parts.submit(files=[sent(name, a_zip({"b.png": b""}), kind)])


def test_a_zip_with_too_many_files_is_refused_at_once(tmp_path: Path) -> None:
    tight = msgspec.structs.replace(SETTINGS, members=2)
    with bench(tmp_path / "tight", settings=tight) as parts:
        body = a_zip({f"{number}.png": b"" for number in range(3)})
        with pytest.raises(errors.PayloadTooLarge, match=r"jobs\.members"):
            parts.submit(files=[sent("p.zip", body, "application/zip")])
