"""A full disk under the whole product: group D of the catalogue, on a small memory disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.web.body import MOST_HELD_BYTES
from tests.end_to_end.conftest import Start
from tests.end_to_end.running import Answer, wait_for
from tests.store.small_disk import fill, small_disk
from tests.tiny_models import picture

WANTED = {"name": "x", "role": "device"}
#: An input that is not held in memory (web/body.py).
BIG = bytes(MOST_HELD_BYTES + 1024 * 1024)


@pytest.fixture
def disk(short_path: Path) -> Iterator[Path]:
    with small_disk(short_path / "disk", "size=64m,mode=700") as directory:
        yield directory


def full(answer: Answer) -> bool:
    return answer.status == 507 and answer.problem == "insufficient-storage"


def test_c64_on_a_full_disk_models_answer_and_nothing_is_lost(
    start_one: Start, disk: Path
) -> None:
    appliance = start_one(disk / "state")
    kept = [appliance.new_key(f"kept {number}")[0] for number in range(5)]
    filler = fill(disk)
    wait_for(lambda: appliance.predict(picture()).json()["recorded"] is False, "history off")
    assert appliance.get("/api/v1/predictions").status == 200
    assert appliance.get("/health").json()["status"] == "failing"
    assert any("disk" in reason for reason in appliance.reasons())
    made = [appliance.post_json("/api/v1/keys", WANTED) for _ in range(3)]
    assert all(answer.status == 201 or full(answer) for answer in made)
    kept += [answer.json()["id"] for answer in made if answer.status == 201]
    filler.unlink()
    wait_for(appliance.is_ready, "being ready again")
    wait_for(lambda: appliance.predict(picture()).json()["recorded"], "history on")
    known = {one["id"] for one in appliance.get("/api/v1/keys?limit=1000").json()["keys"]}
    assert set(kept) <= known
    assert appliance.command("audit", "verify").returncode == 0
    assert appliance.stop() == 0


def test_history_that_must_be_kept_is_refused_rather_than_lost(
    start_one: Start, disk: Path
) -> None:
    appliance = start_one(disk / "state", HISTORY__REQUIRED="true")
    assert appliance.predict(picture()).status == 200
    filler = fill(disk)
    wait_for(lambda: full(appliance.predict(picture())), "507")
    filler.unlink()
    wait_for(lambda: appliance.predict(picture()).status == 200, "an answer")


def test_c65_a_full_disk_is_no_reason_not_to_start(start_one: Start, disk: Path) -> None:
    first = start_one(disk / "state")
    key_id, key = first.new_key()
    first.kill()
    filler = fill(disk)
    second = start_one(disk / "state", is_ready_awaited=False)
    wait_for(lambda: second.predict(picture(), key=key).status == 200, "an answer")
    assert second.get(f"/api/v1/keys/{key_id}").status == 200
    assert not second.is_ready()
    filler.unlink()
    wait_for(second.is_ready, "being ready")


def test_c67_an_upload_the_spool_cannot_hold_is_refused(start_one: Start, disk: Path) -> None:
    appliance = start_one(disk / "state")
    filler = fill(disk)
    wait_for(lambda: full(appliance.predict(BIG)), "507")
    assert appliance.predict(BIG[: MOST_HELD_BYTES // 2]).status in (415, 422)
    assert list((appliance.state / "spool").iterdir()) == []
    filler.unlink()
    wait_for(lambda: appliance.predict(BIG).status in (415, 422), "room for an upload")


def test_c68_a_backup_without_room_leaves_nothing_behind(start_one: Start, disk: Path) -> None:
    appliance = start_one(disk / "state")
    older = appliance.post_json("/api/v1/backups", {}).json()["name"]
    filler = fill(disk)
    wait_for(lambda: not appliance.is_ready(), "a full disk to be seen")
    assert full(appliance.post_json("/api/v1/backups", {}))
    backups = [path.name for path in (appliance.state / "backups").iterdir()]
    assert [name for name in backups if not name.startswith(".")] == [older]
    assert appliance.get(f"/api/v1/backups/{older}").status == 200
    filler.unlink()
    wait_for(appliance.is_ready, "room")
    assert appliance.post_json("/api/v1/backups", {}).status == 201
