"""A real database on a real disk, for every test of the store."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.clock import ManualClock
from appliance.store.database import FILE_NAME, Database

MEBIBYTE = 1024 * 1024

OpenDatabase = Callable[..., Database]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def open_database(state_dir: Path, clock: ManualClock) -> Iterator[OpenDatabase]:
    """Open databases that are closed at the end of the test, whatever happens."""
    opened: list[Database] = []

    def open_one(**changes: object) -> Database:
        settings: dict[str, object] = {
            "clock": clock,
            "quota_bytes": 256 * MEBIBYTE,
            "queue_rows": 10_000,
            **changes,
        }
        path = settings.pop("path", state_dir / FILE_NAME)
        database = Database.open(path, **settings)  # type: ignore[arg-type]
        opened.append(database)
        return database

    yield open_one
    for database in opened:
        database.close()


@pytest.fixture
def database(open_database: OpenDatabase) -> Database:
    return open_database()
