"""Levels of a filling disk, and the reserve that is given up in time."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliance import errors
from appliance.clock import ManualClock
from appliance.store.disk import FULL_SECONDS, RESERVE_NAME, DiskWatch, Level
from tests.store.small_disk import MEBIBYTE, fill, small_disk

GIBIBYTE = 1024 * MEBIBYTE


class FakeDisk:
    """A disk whose numbers the test sets; free inodes are a share of a million."""

    def __init__(self, total_bytes: int, free_share: float, inode_share: float = 1.0) -> None:
        self.total_bytes = total_bytes
        self.free_share = free_share
        self.inode_share = inode_share

    def __call__(self, path: Path) -> os.statvfs_result:
        blocks = self.total_bytes // 4096
        return SimpleNamespace(  # type: ignore[return-value]
            f_frsize=4096,
            f_blocks=blocks,
            f_bavail=int(blocks * self.free_share),
            f_files=1_000_000,
            f_favail=int(1_000_000 * self.inode_share),
        )


def _watch(tmp_path: Path, disk: FakeDisk, reserve_bytes: int = MEBIBYTE) -> DiskWatch:
    return DiskWatch(tmp_path, reserve_bytes=reserve_bytes, clock=ManualClock(), measure=disk)


@pytest.mark.parametrize(
    ("share", "level"),
    [
        (0.50, Level.OK),
        (0.151, Level.OK),
        (0.149, Level.WARN),
        (0.071, Level.WARN),
        (0.069, Level.TIGHT),
        (0.031, Level.TIGHT),
        (0.029, Level.CRITICAL),
        (0.0, Level.CRITICAL),
    ],
)
def test_levels_follow_the_free_share(tmp_path: Path, share: float, level: Level) -> None:
    watch = _watch(tmp_path, FakeDisk(20 * GIBIBYTE, share))
    assert watch.check() is level
    assert watch.level() is level
    assert watch.status().level == level.name.lower()


@pytest.mark.parametrize(
    ("gibibytes", "share", "room"),
    [(20, 0.5, 8.6), (20, 0.06, 0.0), (1000, 0.5, 490.0)],  # 7 %, but never more than 10 GiB
)
def test_room_ends_where_the_disk_becomes_tight(
    tmp_path: Path, gibibytes: int, share: float, room: float
) -> None:
    watch = _watch(tmp_path, FakeDisk(gibibytes * GIBIBYTE, share))
    watch.check()
    assert watch.room_bytes() / GIBIBYTE == pytest.approx(room, rel=1e-3)


def test_inodes_count_as_well(tmp_path: Path) -> None:
    watch = _watch(tmp_path, FakeDisk(20 * GIBIBYTE, 0.9, inode_share=0.05))
    assert watch.check() is Level.TIGHT
    assert "inodes" in watch.status().reason


def test_a_small_share_of_a_large_disk_is_room_enough(tmp_path: Path) -> None:
    watch = _watch(tmp_path, FakeDisk(8192 * GIBIBYTE, 0.02))
    assert watch.check() is Level.OK


def test_the_reserve_has_real_blocks(tmp_path: Path) -> None:
    _watch(tmp_path, FakeDisk(20 * GIBIBYTE, 0.5)).check()
    facts = (tmp_path / RESERVE_NAME).stat()
    assert facts.st_size == MEBIBYTE
    assert facts.st_blocks * 512 >= MEBIBYTE
    assert facts.st_mode & 0o777 == 0o600


def test_the_reserve_goes_at_critical_and_comes_back_with_room(tmp_path: Path) -> None:
    disk = FakeDisk(20 * GIBIBYTE, 0.5)
    watch = _watch(tmp_path, disk)
    watch.check()
    disk.free_share = 0.01
    watch.check()
    assert not (tmp_path / RESERVE_NAME).exists()
    disk.free_share = 0.03001  # of which the reserve would take more than the difference
    assert watch.check() is Level.CRITICAL
    assert not (tmp_path / RESERVE_NAME).exists()
    disk.free_share = 0.5
    watch.check()
    assert (tmp_path / RESERVE_NAME).stat().st_size == MEBIBYTE


def test_a_write_that_met_a_full_disk_counts_whatever_the_numbers_say(tmp_path: Path) -> None:
    clock = ManualClock()
    disk = FakeDisk(20 * GIBIBYTE, 0.5)
    watch = DiskWatch(tmp_path, reserve_bytes=MEBIBYTE, clock=clock, measure=disk)
    watch.note_full()
    assert watch.level() is Level.CRITICAL
    assert watch.check() is Level.CRITICAL
    clock.advance(FULL_SECONDS + 1)
    assert watch.check() is Level.OK


def test_what_is_refused_is_named_with_the_room_there_is(tmp_path: Path) -> None:
    watch = _watch(tmp_path, FakeDisk(GIBIBYTE, 0.05))
    watch.check()
    with pytest.raises(errors.InsufficientStorage, match="an upload: 51 MiB"):
        watch.require(Level.WARN, "an upload")
    watch.require(Level.TIGHT, "a revoked key")


def test_on_a_small_disk_the_reserve_takes_a_quarter_at_most(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=16m") as directory:
        watch = DiskWatch(directory, reserve_bytes=64 * MEBIBYTE, clock=ManualClock())
        assert watch.check() is Level.OK
        assert (directory / RESERVE_NAME).stat().st_size == 4 * MEBIBYTE


def test_releasing_the_reserve_gives_a_full_disk_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64m") as directory:
        watch = DiskWatch(directory, reserve_bytes=16 * MEBIBYTE, clock=ManualClock())
        watch.check()
        fill(directory)
        assert watch.prepare() is Level.CRITICAL
        facts = os.statvfs(directory)
        assert facts.f_bavail * facts.f_frsize >= 15 * MEBIBYTE
        assert not watch.release(), "there is nothing left to give up"
