"""A real database on a real disk, for every test of the store."""

import os
import tempfile
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
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: what is tested here is the order of writes, and
    waiting for a disk that others use as well would make it minutes.
    """
    memory = Path("/dev/shm")
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="test-store-", dir=memory) as directory:
        yield Path(directory)


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
