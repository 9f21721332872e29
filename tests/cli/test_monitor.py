"""Facts for node_exporter, and the scheduler that stands in for systemd's timers."""

import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from appliance.cli import cli
from appliance.cli.connection import Connection
from appliance.cli.monitor import Turn, exposition, write_textfile
from appliance.clock import SystemClock
from appliance.config import Backup, Config, State

PREFIX = "inference_appliance_box_"


def facts_of(content: bytes) -> dict[str, float]:
    families = text_string_to_metric_families(content.decode())
    return {sample.name: sample.value for family in families for sample in family.samples}


def box(tmp_path: Path) -> tuple[Config, Connection]:
    config = Config(
        state=State(dir=str(tmp_path / "state")), backup=Backup(dir=str(tmp_path / "backups"))
    )
    return config, Connection(tmp_path / "nobody.sock")


def test_the_facts_of_a_dead_service_say_so_and_keep_the_last_backup(tmp_path: Path) -> None:
    config, connection = box(tmp_path)
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "vm-20261121T031254Z-v0.1.0-s2.backup").write_bytes(b"12345")
    facts = facts_of(exposition(config, connection))
    assert facts[f"{PREFIX}up"] == 0
    assert facts[f"{PREFIX}ready"] == 0
    assert facts[f"{PREFIX}backups"] == 1
    assert facts[f"{PREFIX}backup_last_success_timestamp_seconds"] == 1795230774
    assert facts[f"{PREFIX}backup_last_size_bytes"] == 5


def test_a_drill_is_told_only_once_there_was_one(tmp_path: Path) -> None:
    config, connection = box(tmp_path)
    assert f"{PREFIX}drill_success" not in facts_of(exposition(config, connection))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "drill.json").write_text(
        '{"made":"x","backup":"b","is_success":false,"reason":"r","last_success_seconds":7.0}'
    )
    facts = facts_of(exposition(config, connection))
    assert facts[f"{PREFIX}drill_success"] == 0
    assert facts[f"{PREFIX}drill_last_success_timestamp_seconds"] == 7


def test_no_sample_has_a_time_of_its_own(tmp_path: Path) -> None:
    # node_exporter throws a file with times away as a whole.
    for line in exposition(*box(tmp_path)).decode().splitlines():
        if not line.startswith("#"):
            assert len(line.rsplit("}", 1)[-1].split()) in (1, 2)
            assert not line[-3:].isspace()
    families = text_string_to_metric_families(exposition(*box(tmp_path)).decode())
    assert all(sample.timestamp is None for each in families for sample in each.samples)


def test_the_file_is_replaced_in_one_step_and_everybody_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "box.prom"
    path.write_bytes(b"old")
    write_textfile(path, b"new\n")
    assert path.read_bytes() == b"new\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_the_verb_writes_the_file_while_nobody_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_STATE__DIR", str(tmp_path / "state"))
    path = tmp_path / "box.prom"
    result = CliRunner().invoke(cli, ["metrics-textfile", str(path)])
    assert result.exit_code == 0, result.output
    assert facts_of(path.read_bytes())[f"{PREFIX}up"] == 0


class Due:
    """A turn whose last time a test sets."""

    def __init__(self, last_seconds: float, *, every_seconds: float = 100.0) -> None:
        self.acts = 0
        self.turn = Turn(every_seconds, lambda: last_seconds, self._act)
        self.turn._not_before = time.monotonic()

    def _act(self) -> None:
        self.acts += 1


def test_a_missed_turn_is_taken_at_once_and_not_again_before_a_pause() -> None:
    due = Due(SystemClock().wall_seconds() - 1000.0)
    due.turn.take()
    due.turn.take()
    assert due.acts == 1


def test_what_was_done_just_now_waits() -> None:
    due = Due(SystemClock().wall_seconds())
    due.turn.take()
    assert due.acts == 0
    assert 0 < due.turn.seconds_left() <= 60.0


def test_a_last_time_in_the_future_does_not_stop_the_turn() -> None:
    due = Due(SystemClock().wall_seconds() + 1e9)
    due.turn.take()
    assert due.acts == 1
