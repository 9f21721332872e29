"""A database that was damaged behind the appliance's back: group E of the catalogue."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import Running, wait_for
from tests.tiny_models import picture


def junk_at_the_start(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"not a database!!")


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def junk_in_the_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 4096)


DAMAGES = [junk_at_the_start, cut_in_half, junk_in_the_middle]


def used(start_one: Start) -> tuple[Running, str, str]:
    """An appliance with some history; the id and text of a key in it."""
    appliance = start_one()
    key_id, key = appliance.new_key()
    for _ in range(20):
        assert appliance.predict(picture(), key=key).status == 200
    return appliance, key_id, key


@pytest.mark.parametrize("damage", DAMAGES)
def test_c73_a_damaged_database_is_kept_and_the_backup_takes_its_place(
    start_one: Start, damage: Callable[[Path], None]
) -> None:
    first, key_id, key = used(start_one)
    made = first.command("backup")
    assert made.returncode == 0, made.stderr
    assert first.stop() == 0
    damage(first.state / "appliance.db")
    second = start_one(first.state)
    assert second.get(f"/api/v1/keys/{key_id}").status == 200
    assert second.predict(picture(), key=key).status == 200
    health = second.get("/health").json()
    assert health["status"] == "degraded"
    assert "backup" in health["recovery"]
    assert list(first.state.glob("*.corrupt-*"))
    assert second.command("audit", "verify").returncode in (0, 1)


def test_c74_without_a_backup_it_begins_anew_and_says_what_is_lost(start_one: Start) -> None:
    first, key_id, key = used(start_one)
    assert first.stop() == 0
    junk_at_the_start(first.state / "appliance.db")
    second = start_one(first.state)
    assert second.key != first.key
    assert second.get(f"/api/v1/keys/{key_id}").status == 404
    assert second.predict(picture(), key=key).status == 401
    assert second.predict(picture()).json()["version"] == 1
    health = second.get("/health").json()
    assert health["status"] == "degraded"
    assert health["recovery"]
    assert list(first.state.glob("*.corrupt-*"))


@pytest.mark.parametrize("how", ["cut", "garbled", "shared memory"])
def test_c75_a_damaged_log_is_survived_and_missing_acts_are_told(
    start_one: Start, how: str
) -> None:
    first = start_one()
    ids = [first.new_key(f"key {number}")[0] for number in range(10)]
    first.kill()
    log = first.state / "appliance.db-wal"
    size = log.stat().st_size
    assert size > 0
    if how == "cut":
        os.truncate(log, size * 2 // 3)
    elif how == "garbled":
        with log.open("r+b") as file:
            file.seek(size * 2 // 3)
            file.write(b"\xff" * 64)
    else:
        (first.state / "appliance.db-shm").write_bytes(b"\xff" * 32768)
    second = start_one(first.state)
    assert second.predict(picture()).status == 200
    known = [second.get(f"/api/v1/keys/{key_id}").status == 200 for key_id in ids]
    verified = second.command("audit", "verify")
    assert all(known) == (verified.returncode == 0), (known, verified)
    if how == "shared memory":
        assert all(known)


def test_c76_damage_while_running_stops_writes_and_no_more(start_one: Start) -> None:
    appliance, _, _ = used(start_one)
    assert appliance.stop() == 0
    appliance = start_one(appliance.state)
    pages = (appliance.state / "appliance.db").stat().st_size // 4096
    with (appliance.state / "appliance.db").open("r+b") as file:
        for page in range(1, pages):
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
    failed = "inference_appliance_requests_total"

    def is_noticed() -> bool:
        assert appliance.predict(picture()).status == 200
        appliance.get("/api/v1/predictions")
        appliance.post_json("/api/v1/keys", {"name": "x", "role": "device"})
        return not appliance.is_ready()

    wait_for(is_noticed, "the damage to be seen")
    for _ in range(5):
        assert appliance.predict(picture()).status == 200
        assert appliance.post_json("/api/v1/keys", {"name": "x", "role": "device"}).status == 503
        assert appliance.get("/api/v1/predictions").status in (200, 503)
    assert appliance.metric(failed, status="500") == 0
    assert appliance.get("/health").json()["database"]["state"] == "corrupt"
    assert appliance.get("/live").status == 200
