"""Jobs run by real processes: what is retried, what dies, what is cut short."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.actions.job_endings import MadeVersion
from appliance.store import jobs
from tests.engine.running import is_gone
from tests.job_parts import ADMIN, SETTINGS, Bench, bench, eventually, sent


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("shared") / "state") as found:
        found.dispatch.start()
        yield found


@pytest.fixture
def running(shared: Bench, tmp_path: Path) -> Bench:
    """Jobs that run, with a nursery that all tests share because it takes a second to start."""
    shared.place = tmp_path
    shared.ended.clear()
    return shared


def test_a_job_runs_in_a_process_that_yields_to_all_others(running: Bench) -> None:
    job = running.submit(files=[sent(), sent("b", b"more")], params={"model": "colour"}).job
    ended = running.until_ended(job.id)
    assert (ended.state, ended.progress, ended.attempts) == ("done", 1.0, 1), ended
    assert ended.message == "done"
    found = running.result(job.id)
    assert found["inputs"] == [["a.txt", "text/plain", "hello"], ["b", "text/plain", "more"]]
    assert found["models"] == ["colour@2"]
    assert found["niceness"] >= 10
    assert found["process"] != os.getpid()
    eventually(lambda: running.ended == [("play", "done")])


def test_a_job_can_neither_open_a_socket_nor_start_a_program(running: Bench) -> None:
    job = running.submit("reach").job
    assert running.until_ended(job.id).state == "done"
    assert set(running.result(job.id).values()) == {"PermissionError"}


def test_inputs_and_scratch_go_with_the_end_and_only_what_is_kept_stays(running: Bench) -> None:
    job = running.submit(files=[sent()]).job
    running.until_ended(job.id)
    folder = running.files.root / job.id

    def left() -> list[str]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return [path.relative_to(folder).as_posix() for path in files]

    eventually(lambda: left() == ["attempt-1/results/more/kept.txt"])
    path = running.jobs.result_file(ADMIN, job.id, "more/kept.txt")
    assert path.read_text() == "kept"


def test_a_process_that_is_killed_mid_job_is_retried_and_one_result_is_kept(
    running: Bench,
) -> None:
    """C-50."""
    job = running.submit("wait", files=[sent()]).job
    first = running.running_process()
    os.kill(first, signal.SIGKILL)
    second = running.running_process()
    assert second != first
    (running.place / "go").touch()
    ended = running.until_ended(job.id)
    assert (ended.state, ended.attempts) == ("done", 2)
    assert running.result(job.id)["process"] == second
    assert running.results_kept(job.id) == 1
    eventually(lambda: running.ended == [("play", "retried"), ("play", "done")])


def test_a_job_that_always_crashes_dies_with_its_signal_while_others_proceed(
    running: Bench,
) -> None:
    """C-51."""
    bad = running.submit("crash", files=[sent()]).job
    good = [running.submit("nothing").job for _ in range(3)]
    assert all(running.until_ended(job.id).state == "done" for job in good)
    dead = running.until_ended(bad.id)
    assert (dead.state, dead.attempts) == ("dead", 3)
    assert dead.problem is not None
    assert "signal 11" in dead.problem["detail"]
    assert dead.problem["type"] == "/problems/job-died"
    assert (running.files.root / bad.id / "inputs" / "0001").exists()


def test_a_dead_job_can_be_tried_again(running: Bench) -> None:
    """C-51: the redrive."""
    job = running.submit("crash_once", params={"times": 3}, files=[sent()]).job
    assert running.until_ended(job.id).state == "dead"
    again = running.jobs.retry(ADMIN, job.id)
    assert (again.state, again.attempts, again.allowed_attempts) == ("waiting", 3, 6)
    assert running.until_ended(job.id).state == "done"
    assert running.result(job.id) == {"tries": 4}


@pytest.mark.parametrize(
    ("act", "attempts", "slug", "words"),
    [
        ("refuse", 1, "invalid-input", "no columns"),
        ("stumble", 3, "unavailable", "not there yet"),
        ("bug", 3, "internal", "Its log has the cause under the job's id"),
        ("eat", 3, "payload-too-large", "jobs.memory_bytes"),
        ("shout", 1, "payload-too-large", "jobs.result_bytes"),
        ("stray", 1, "not-found", "no such file"),
        ("make", 1, "not-implemented", "no versions"),
    ],
)
def test_a_failed_job_says_why_and_is_tried_again_only_where_that_may_help(
    running: Bench, act: str, attempts: int, slug: str, words: str
) -> None:
    dead = running.until_ended(running.submit(act, files=[sent()], request_id="r7").job.id)
    assert (dead.state, dead.attempts) == ("dead", attempts)
    assert dead.problem is not None
    assert dead.problem["type"] == f"/problems/{slug}"
    assert words in dead.problem["detail"]
    assert dead.problem["request_id"] == "r7"


def test_progress_is_seen_while_the_job_runs(running: Bench) -> None:
    job = running.submit("wait").job
    seen = running.until(job.id, lambda view: view.progress > 0)
    assert (seen.state, seen.progress, seen.message) == ("running", 0.5, "half of it")
    (running.place / "go").touch()
    running.until_ended(job.id)


def test_a_running_job_that_is_cancelled_ends_soon_and_leaves_nothing(running: Bench) -> None:
    job = running.submit("wait", files=[sent()]).job
    process_id = running.running_process()
    told = running.jobs.cancel(ADMIN, job.id)
    assert (told.state, told.is_cancelling) == ("running", True)
    assert running.until_ended(job.id).state == "cancelled"
    assert is_gone(process_id)
    eventually(lambda: not (running.files.root / job.id).exists())


def test_a_job_beyond_its_deadline_is_ended(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SETTINGS, deadline_seconds=0.3, attempts=1)
    with bench(tmp_path / "state", settings=settings) as found:
        found.dispatch.start()
        dead = found.until_ended(found.submit("deaf").job.id)
    assert dead.problem is not None
    assert dead.problem["type"] == "/problems/deadline-exceeded"
    assert "jobs.deadline_seconds" in dead.problem["detail"]


def test_stopping_gives_running_jobs_back_without_the_loss_of_an_attempt(tmp_path: Path) -> None:
    with bench(tmp_path / "state") as found:
        found.dispatch.start()
        job = found.submit("wait").job
        process_id = found.running_process()
        found.dispatch.stop()
        eventually(lambda: is_gone(process_id))
        left = found.view(job.id)
        assert (left.state, left.attempts, left.allowed_attempts) == ("waiting", 1, 4)
        (found.place / "go").touch()
        found.dispatch = found.new_dispatch()
        found.dispatch.start()
        assert found.until_ended(job.id).state == "done"


def test_what_an_earlier_run_held_is_freed_at_the_start(tmp_path: Path) -> None:
    with bench(tmp_path / "state") as found:
        job = found.submit("nothing").job
        spent = found.submit("nothing").job
        found.database.write(
            lambda connection: connection.sql(
                "UPDATE jobs SET state = 'running', instance = 'gone', attempts = 1"
            )
        )
        found.database.write(
            lambda connection: connection.sql(
                "UPDATE jobs SET attempts = 10 WHERE id = ?", (spent.id,)
            )
        )
        found.dispatch.start()
        ended = found.until_ended(job.id)
        assert (ended.state, ended.attempts) == ("done", 2)
        dead = found.view(spent.id)
        assert dead.state == "dead"
        assert dead.problem is not None
        assert "power cut" in dead.problem["detail"]


def test_higher_priority_goes_first(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SETTINGS, runners=1)
    with bench(tmp_path / "state", settings=settings) as found:
        late = [found.submit("nothing", priority=rank).job.id for rank in (0, -1, 5, 5)]
        found.dispatch.start()
        views = [found.until_ended(job_id) for job_id in late]
    order = sorted(views, key=lambda view: str(view.started))
    assert [view.priority for view in order] == [5, 5, 0, -1]
    assert [view.id for view in order] == [late[2], late[3], late[0], late[1]]


def test_a_job_whose_files_are_gone_is_dead_at_once_with_that_reason(tmp_path: Path) -> None:
    with bench(tmp_path / "state") as found:
        job = found.submit(files=[sent()]).job
        found.files.remove(job.id)
        found.dispatch.start()
        dead = found.until_ended(job.id)
    assert (dead.state, dead.attempts) == ("dead", 1)
    assert dead.problem is not None
    assert "gone" in dead.problem["detail"]


def test_an_end_that_the_database_does_not_take_is_kept_later(running: Bench) -> None:
    job = running.submit("wait").job
    running.running_process()
    blocked, release = threading.Event(), threading.Event()

    def block(connection: object) -> None:
        blocked.set()
        release.wait(60)

    writing = threading.Thread(
        target=lambda: running.database.write(block, timeout_seconds=60.0)  # type: ignore[arg-type]
    )
    writing.start()
    blocked.wait(60)
    (running.place / "go").touch()
    eventually(lambda: running.dispatch._ended)  # the database gave no answer in time
    release.set()
    writing.join()
    assert running.until_ended(job.id).state == "done"
    assert running.results_kept(job.id) == 1


def test_a_version_that_a_job_made_is_installed_once_and_told(tmp_path: Path) -> None:
    installed: list[tuple[str, str, str]] = []

    def install(job: jobs.StoredJob, model: str, directory: Path) -> MadeVersion:
        installed.append((job.id, model, (directory / "manifest.toml").read_text()))
        return MadeVersion(model, 4)

    with bench(tmp_path / "state", install_version=install) as found:
        found.dispatch.start()
        job = found.submit("make").job
        assert found.until_ended(job.id).state == "done"
        assert found.result(job.id) == {
            "kept": True,
            "new_version": {"model": "colour", "version": 4},
        }
    assert installed == [(job.id, "colour", "made")]
