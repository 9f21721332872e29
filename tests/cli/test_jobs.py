"""`appliance job` against the real routes on a real socket."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli import jobs
from appliance.cli.connection import Connection, NotRunning, admin_socket_path
from appliance.cli.jobs import job as group
from appliance.cli.jobs import wait_for_job
from appliance.config import Config, State
from appliance.web.unix_door import as_admin
from tests.job_parts import Bench, eventually
from tests.web.doors import door_at
from tests.web.resources.test_jobs import dead, done_with_files, parts, routed
from tests.web.routed import Routed

__all__ = ["parts", "routed"]
Run = Callable[..., Result]


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return Config(state=State(dir=str(tmp_path / "cli")))


@pytest.fixture
def run(settings: Config, routed: Routed) -> Iterator[Run]:
    path = admin_socket_path(settings)
    path.parent.mkdir(parents=True)
    door = door_at(path, as_admin(routed.client.app))
    door.start()

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(group, arguments, obj=settings, catch_exceptions=False)

    yield invoke
    door.stop()


def shown(done: Result) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_jobs_are_listed_and_shown(parts: Bench, run: Run) -> None:
    gone, waiting = dead(parts), parts.submit().job.id
    table = run("list").stdout
    assert gone in table
    assert "signal 11" in table
    assert [each["id"] for each in shown(run("list", "--state", "dead", "--json"))] == [gone]
    assert [each["id"] for each in shown(run("list", "--limit", "1", "--json"))] == [waiting]
    assert f"appliance job retry {gone}" in run("show", gone).stdout
    assert shown(run("show", waiting, "--json"))["state"] == "waiting"
    assert run("show", "nothing").exit_code == 1


def test_waiting_ends_with_the_job_and_its_exit_status(parts: Bench, run: Run) -> None:
    assert run("wait", done_with_files(parts)).exit_code == 0
    failed = run("wait", dead(parts))
    assert failed.exit_code == 1
    assert "signal 11" in failed.stdout


def test_waiting_holds_until_the_end(parts: Bench, run: Run, settings: Config) -> None:
    job_id = parts.submit().job.id
    ended: list[str] = []
    connection = Connection(admin_socket_path(settings))
    waiting = threading.Thread(
        target=lambda: ended.append(wait_for_job(connection, job_id)["state"])
    )
    waiting.start()
    eventually(lambda: parts.news._waiting)
    assert run("cancel", job_id).exit_code == 0
    waiting.join(30.0)
    assert ended == ["cancelled"]


class Away(Connection):
    """A connection to an appliance that answers once, is away for some calls, and is back."""

    def __init__(self, path: Path, *, away: int) -> None:
        super().__init__(path)
        self.asked, self._away = 0, away

    def get(self, path: str, **query: str | int | None) -> Any:
        self.asked += 1
        if 1 < self.asked <= 1 + self._away:
            return super().get(path, **query)
        return {"state": "running" if self.asked == 1 else "done", "message": "", "progress": 0}


def test_waiting_outlives_a_restart_of_the_appliance(
    settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_AGAIN_SECONDS", 0.01)
    connection = Away(admin_socket_path(settings), away=3)
    assert wait_for_job(connection, "the-job")["state"] == "done"
    assert connection.asked == 5  # before, three times in vain, and when it was back


def test_whoever_waits_in_vain_is_told_how_to_go_on(
    settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "AWAY_SECONDS", 0.0)
    connection = Away(admin_socket_path(settings), away=3)
    with pytest.raises(NotRunning) as told:
        wait_for_job(connection, "the-job")
    assert "appliance job wait the-job" in told.value.message


def test_whoever_waits_while_nothing_runs_is_told_at_once(settings: Config) -> None:
    with pytest.raises(NotRunning, match="not running"):
        wait_for_job(Connection(admin_socket_path(settings)), "the-job")


def test_cancel_and_remove_each_keep_to_their_own(parts: Bench, run: Run) -> None:
    job_id = parts.submit().job.id
    assert "cancel it first" in run("remove", job_id).output
    assert shown(run("cancel", job_id, "--json"))["state"] == "cancelled"
    assert "appliance job remove" in run("cancel", job_id).output
    assert run("remove", job_id).exit_code == 0
    assert shown(run("list", "--json")) == []


def test_dead_jobs_are_tried_again_by_name_or_all(parts: Bench, run: Run) -> None:
    first = dead(parts)
    assert "1 job(s)" in run("retry", first).stdout
    assert run("retry").exit_code == 2
    assert run("retry", first, "--all").exit_code == 2
    dead(parts)
    assert shown(run("retry", "--all", "--json")) == {"changed": 1}


def test_results_are_printed_or_fetched_with_their_files(
    parts: Bench, run: Run, tmp_path: Path
) -> None:
    job_id = done_with_files(parts)
    assert shown(run("result", job_id))["result"] == {"found": [1]}
    one = tmp_path / "one.png"
    assert run("result", job_id, "--file", "plots/a.png", "--out", str(one)).exit_code == 0
    assert one.read_bytes() == b"\x89PNG"
    assert run("result", job_id, "--out", str(tmp_path / "all")).exit_code == 0
    assert (tmp_path / "all" / "plots" / "a.png").read_bytes() == b"\x89PNG"
    assert json.loads((tmp_path / "all" / "result.json").read_text()) == {"found": [1]}
    assert run("result", dead(parts)).exit_code == 1
