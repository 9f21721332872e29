"""Reload: what changes while everything runs, and what waits for a restart."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance import config_file, config_keys
from appliance.actions.callers import Caller, Role
from appliance.actions.reload import LIVE_SETTINGS, Reload, is_live
from appliance.clock import ManualClock
from appliance.config import Access, Config, History
from appliance.errors import ConfigInvalid
from appliance.store import audit
from appliance.store.database import Database

ADMIN = Caller(key_name="admin", address="127.0.0.1", role=Role.ADMIN)


class Running:
    """An appliance's settings: the file, what was told, and the audit."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "config.toml"
        self.file.write_text("")
        clock = ManualClock()
        self.database: Database = Database.open(
            directory / "appliance.db", clock=clock, quota_bytes=2**28, queue_rows=1000
        )
        self.access: list[Access] = []
        self.history: list[History] = []
        self.texts: list[str] = []
        self.reload = Reload(
            Config(),
            self.database,
            clock,
            read=lambda: config_file.load_with_sources(self.file, {}),
        )
        self.reload.tell("access", self.access.append)
        self.reload.tell("history", self.history.append)
        self.reload.tell_text(self.texts.append)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    made.database.close()


def test_a_changed_live_setting_reaches_its_listener_and_no_other(running: Running) -> None:
    running.file.write_text("[access]\nburst = 7\n")
    found = running.reload.reload(ADMIN)
    assert found.changed == ("access.burst",)
    assert found.needs_restart == ()
    assert [one.burst for one in running.access] == [7]
    assert running.history == []


def test_what_needs_a_restart_is_named_and_not_put_into_force(running: Running) -> None:
    running.file.write_text("[http]\nport = 9999\n[history]\nqueue_rows = 5\nkeep_days = 3\n")
    found = running.reload.reload(ADMIN)
    assert found.changed == ("history.keep_days",)
    assert found.needs_restart == ("http.port", "history.queue_rows")
    (history,) = running.history
    assert (history.keep_days, history.queue_rows) == (3, History().queue_rows)


def test_what_waits_for_a_restart_is_named_by_every_reload_until_then(running: Running) -> None:
    running.file.write_text("[http]\nport = 9999\n")
    assert running.reload.reload(ADMIN) == running.reload.reload(ADMIN)


def test_a_second_reload_of_the_same_file_changes_nothing(running: Running) -> None:
    running.file.write_text("[access]\nburst = 7\n")
    running.reload.reload(ADMIN)
    again = running.reload.reload(ADMIN)
    assert again.changed == ()
    assert len(running.access) == 1


def test_a_faulty_file_changes_nothing_and_names_every_fault(running: Running) -> None:
    running.file.write_text("[access]\nburst = 7\nbrst = 1\n[http]\nport = 'x'\n")
    with pytest.raises(ConfigInvalid) as caught:
        running.reload.reload(ADMIN)
    assert "brst" in caught.value.detail
    assert "http.port" in caught.value.detail
    assert running.access == []
    assert audit.rows(running.database, limit=10) == ()


def test_a_change_is_in_the_audit_with_what_it_changed(running: Running) -> None:
    running.file.write_text("[access]\nburst = 7\n[http]\nport = 9999\n")
    running.reload.reload(ADMIN)
    (row,) = audit.rows(running.database, limit=10)
    assert row.action == "settings.reload"
    assert msgspec.json.decode(row.detail) == {
        "changed": ["access.burst"],
        "needs_restart": ["http.port"],
    }


def test_backups_get_the_text_that_is_in_the_files_now(running: Running) -> None:
    running.file.write_text("[access]\nburst = 7\n")
    running.reload.reload(ADMIN)
    assert "burst = 7" in running.texts[-1]


def test_every_live_setting_exists() -> None:
    sections = config_keys.sections()
    for section, names in LIVE_SETTINGS.items():
        known = {field.name for field in msgspec.structs.fields(getattr(Config(), section))}
        assert section in sections
        assert (names or set()) <= known


@pytest.mark.parametrize(
    ("section", "name", "expected"),
    [
        ("access", "burst", True),
        ("log", "level", True),
        ("log", "file", False),
        ("http", "port", False),
    ],
)
def test_a_setting_is_live_or_not(section: str, name: str, expected: bool) -> None:
    assert is_live(section, name) is expected
