"""`kill -9` in the midst of work: what was acknowledged is there afterwards, whole."""

import sqlite3
import threading
from pathlib import Path

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import HANG_SECONDS, Running, wait_for
from tests.tiny_models import picture

ROUNDS = 4


class Load:
    """Threads that issue keys and predict until their appliance is gone."""

    def __init__(self, appliance: Running) -> None:
        self._appliance = appliance
        self.keys: list[str] = []
        self.predictions = 0
        self._threads = [
            threading.Thread(target=work) for work in (self._issue, self._issue, self._predict)
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(HANG_SECONDS)
            assert not thread.is_alive()

    def _issue(self) -> None:
        try:
            while True:
                self.keys.append(self._appliance.new_key("made under load")[0])
        except Exception:
            return  # the appliance is gone, which is the point

    def _predict(self) -> None:
        try:
            while self._appliance.predict(picture()).status == 200:
                self.predictions += 1
        except Exception:
            return


def test_c47_every_acknowledged_key_survives_a_kill(start_one: Start, short_path: Path) -> None:
    state = short_path / "state"
    appliance = start_one()
    known: list[str] = []
    for number in range(ROUNDS):
        load = Load(appliance)
        enough = 10 + 17 * number
        wait_for(lambda load=load, enough=enough: len(load.keys) >= enough, "some keys")
        appliance.kill()
        load.join()
        known += load.keys
        appliance = start_one(state)
    listed: set[str] = set()
    cursor = 0
    while cursor is not None:
        page = appliance.get(f"/api/v1/keys?limit=1000&cursor={cursor}").json()
        listed |= {one["id"] for one in page["keys"]}
        cursor = page["next_cursor"]
    assert set(known) <= listed
    rows = {row["subject"] for row in audit_rows(appliance)}
    assert set(known) <= rows
    assert appliance.get("/api/v1/audit/verify").json()["is_intact"]
    assert appliance.stop() == 0
    with sqlite3.connect(state / "appliance.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def audit_rows(appliance: Running) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    cursor = ""
    while True:
        page = appliance.get(f"/api/v1/audit?limit=1000{cursor}").json()
        found += page["rows"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def test_a_killed_front_takes_its_hosts_along(start_one: Start) -> None:
    appliance = start_one()
    host = appliance.host_process_id()
    appliance.kill()
    wait_for(lambda: not Path(f"/proc/{host}").exists(), "the end of the host")
