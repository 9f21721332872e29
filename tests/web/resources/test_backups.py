"""Backups over HTTP: made, listed, checked, by admins only."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.actions import audit
from appliance.actions.backup import Backups
from appliance.clock import ManualClock
from appliance.config import Backup
from appliance.store.database import Database
from appliance.store.disk import DiskWatch
from appliance.web.openapi import Route
from appliance.web.operation import Access, operation_of
from appliance.web.resources.backups import BackupCheckResource, BackupsResource
from tests.access_parts import opened
from tests.rotten_backup import let_rot
from tests.web.routed import Routed

PATH = "/api/v1/backups"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path, clock: ManualClock) -> Iterator[Database]:
    with opened(tmp_path / "state", clock) as database:
        yield database


@pytest.fixture
def disk(tmp_path: Path, clock: ManualClock) -> DiskWatch:
    return DiskWatch(tmp_path, reserve_bytes=4096, clock=clock)


@pytest.fixture
def served(tmp_path: Path, database: Database, clock: ManualClock, disk: DiskWatch) -> Routed:
    version = tmp_path / "models" / "vehicle-type" / "1"
    version.mkdir(parents=True)
    (version / "manifest.toml").write_text('name = "vehicle-type"')
    (version / "model.bin").write_bytes(bytes(50_000))
    backups = Backups(
        Backup(),
        clock,
        database=database,
        disk=disk,
        directory=tmp_path / "backups",
        models_directory=tmp_path / "models",
        config_text="",
    )
    return Routed(
        Route(PATH, BackupsResource(backups)),
        Route(PATH + "/{backup_name}", BackupCheckResource(backups)),
    )


def test_a_backup_is_made_listed_and_checked(served: Routed, database: Database) -> None:
    assert served.get(PATH).json == {"backups": []}
    made = served.post(PATH)
    assert made.status_code == 201
    (listed,) = served.get(PATH).json["backups"]
    assert (listed["name"], listed["bytes"]) == (made.json["name"], made.json["bytes"])
    found = served.get(f"{PATH}/{listed['name']}")
    assert (found.status_code, found.json["rows"]) == (200, made.json["rows"])
    ((row,), _) = audit.page(database, before_sequence=None, limit=10)
    assert (row.action, row.actor) == ("backup.create", "ann (admin1)")


def test_model_files_go_in_when_the_body_says_so(served: Routed, clock: ManualClock) -> None:
    small = served.post(PATH, b"{}", headers=JSON).json
    clock.advance(60)
    large = served.post(PATH, b'{"with_models":true}', headers=JSON).json
    assert large["bytes"] > small["bytes"] + 50_000


@pytest.mark.parametrize(
    ("body", "status"),
    [(b'{"with_model":true}', 422), (b'{"with_models":"yes"}', 422), (b"{", 400)],
)
def test_a_body_that_is_not_understood_makes_no_backup(
    served: Routed, body: bytes, status: int
) -> None:
    assert served.post(PATH, body, headers=JSON).status_code == status
    assert served.get(PATH).json == {"backups": []}


def test_a_full_disk_is_told_as_507(served: Routed, disk: DiskWatch) -> None:
    disk.note_full()
    answer = served.post(PATH)
    assert (answer.status_code, answer.json["type"]) == (507, "/problems/insufficient-storage")


def test_a_backup_that_rotted_is_told_as_422(served: Routed) -> None:
    made = served.post(PATH).json
    let_rot(Path(made["path"]))
    answer = served.get(f"{PATH}/{made['name']}")
    assert (answer.status_code, answer.json["type"]) == (422, "/problems/backup-invalid")


@pytest.mark.parametrize("name", ["nothing.backup", "..", "%2e%2e%2fstate%2fappliance.db"])
def test_only_backups_can_be_checked(served: Routed, name: str) -> None:
    assert served.get(f"{PATH}/{name}").status_code == 404


def test_all_of_it_is_for_admins(served: Routed) -> None:
    for resource, method in ((BackupsResource, "GET"), (BackupsResource, "POST")):
        described = operation_of(resource, method, None)
        assert described is not None
        assert described.access is Access.ADMIN
    check = operation_of(BackupCheckResource, "GET", None)
    assert check is not None
    assert check.access is Access.ADMIN
