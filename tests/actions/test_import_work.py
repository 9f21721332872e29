"""The work of one import: what is checked before, and how its states are kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.actions.import_work import FAILED, READY, ImportPlaces, ImportWork, check_files
from appliance.clock import ManualClock
from appliance.config import Config
from appliance.errors import UnsupportedMedia
from appliance.library.incoming import Incoming
from appliance.store import models
from appliance.store.database import Database
from tests.access_parts import opened
from tests.actions.examples import ADMIN
from tests.tiny_models import write_colour_model


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "state", ManualClock()) as database:
        yield database


@pytest.fixture
def work(database: Database, tmp_path: Path) -> ImportWork:
    return ImportWork(
        Config(),
        ManualClock(),
        database=database,
        places=ImportPlaces(models=tmp_path, cache=tmp_path / "cache", threads=1),
        activate=lambda *_: None,
        on_change=lambda: None,
    )


def test_a_lone_file_is_looked_at_before_it_is_taken_in(tmp_path: Path) -> None:
    incoming = Incoming.create(tmp_path)
    incoming.write("m.pt", [b"\x80\x02}q\x00."], most_bytes=100)
    with pytest.raises(UnsupportedMedia):
        check_files(incoming)
    incoming.write("labels.txt", [b"a\n"], most_bytes=100)
    check_files(incoming)


def test_only_the_last_failures_are_kept(work: ImportWork, database: Database) -> None:
    for _ in range(8):
        begun = work.begin(ADMIN, "m", None)
        work.failed("m", begun.version, "no " * 2000)
    rows = models.versions(database, "m")
    assert [row.version for row in rows] == [4, 5, 6, 7, 8]
    assert {row.state for row in rows} == {FAILED}
    assert max(len(row.reason) for row in rows) == 2000


def test_a_version_that_was_moved_just_before_a_crash_is_ready(
    work: ImportWork, database: Database, tmp_path: Path
) -> None:
    """C-52, at the last moment: between the rename and the row."""
    begun = work.begin(ADMIN, "colour", None)
    write_colour_model(tmp_path)
    work.close_interrupted(begun)
    row = models.get_version(database, "colour", 1)
    assert row is not None
    assert row.state == READY
    assert row.size_bytes > 0


def test_an_order_that_is_gone_is_no_import(work: ImportWork, tmp_path: Path) -> None:
    incoming = Incoming.create(tmp_path)
    work.run(incoming)
    assert not incoming.directory.exists()
    assert not work.is_at_work("m", 1)
