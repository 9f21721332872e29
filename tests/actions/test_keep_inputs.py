"""Inputs are kept beside the answers: bounded, counted, never later than their predictions."""

import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.actions import keep_inputs
from appliance.config import History
from appliance.store import retention
from tests.actions.input_examples import DAY_SECONDS, PICTURE, Keeping, an_id, keeping_in


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Keeping]:
    with keeping_in(tmp_path / "state") as found:
        yield found


def test_an_input_is_kept_as_it_came_for_its_owner_alone(keeping: Keeping) -> None:
    keeping.keeper.start()
    prediction_id = keeping.remember()
    assert keeping.kept() == [prediction_id]
    path = keeping.files.path("vehicle-type", prediction_id)
    assert path.read_bytes() == PICTURE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = keeping.keeper.status()
    assert (told.is_on, told.kept, told.kept_bytes, told.dropped) == (True, 1, 4096, 0)


@pytest.mark.parametrize(("wanted", "is_kept"), [((), False), (("other",), False), (("*",), True)])
def test_only_what_the_setting_names_is_kept(
    keeping: Keeping, wanted: tuple[str, ...], is_kept: bool
) -> None:
    keeping.keeper.start()
    keeping.keeper.use_history(History(keep_inputs=wanted))
    keeping.remember()
    assert bool(keeping.kept()) is is_kept
    assert keeping.keeper.status().dropped == 0
    assert keeping.keeper.status().is_on is bool(wanted)


def test_a_share_is_kept_where_a_share_is_wanted(keeping: Keeping) -> None:
    drawn = iter([0.1, 0.9, 0.24, 0.25])
    keeping.keeper._draw = lambda: next(drawn)
    keeping.keeper.use_history(History(keep_inputs=("*",), keep_inputs_share=0.25))
    keeping.keeper.start()
    ids = [keeping.remember() for _ in range(4)]
    assert keeping.kept() == sorted([ids[0], ids[2]])


def test_a_full_line_drops_and_counts_and_keeps_nobody_waiting(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep_inputs, "_MOST_WAITING", 2)
    for _ in range(5):  # nothing writes yet
        keeping.keeper.offer("vehicle-type", "x", PICTURE)
    assert keeping.keeper.status().waiting == 2
    assert keeping.keeper.status().dropped == 3


def test_a_line_is_bounded_in_bytes_too(keeping: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_inputs, "_MOST_WAITING_BYTES", 2 * len(PICTURE))
    for _ in range(3):
        keeping.keeper.offer("vehicle-type", "x", PICTURE)
    assert keeping.keeper.status().dropped == 1


def test_a_disk_short_of_room_pauses_keeping_and_says_so(keeping: Keeping) -> None:
    keeping.keeper.start()
    keeping.fill_disk(0.05)
    keeping.remember()
    assert keeping.kept() == []
    told = keeping.keeper.status()
    assert (told.dropped, told.paused) == (1, "the disk is short of room")
    keeping.fill_disk(0.5)
    keeping.remember()
    assert len(keeping.kept()) == 1
    assert keeping.keeper.status().paused == ""


def test_on_a_full_disk_kept_inputs_go_before_records_do(keeping: Keeping) -> None:
    keeping.keeper.start()
    keeping.remember()
    assert keeping.kept()
    keeping.fill_disk(0.01)
    keeping.keeper.sweep()
    assert keeping.kept() == []


def test_a_write_that_fails_is_counted_and_the_next_one_works(
    keeping: Keeping, tmp_path: Path
) -> None:
    keeping.keeper.start()
    (tmp_path / "state" / "inputs").write_text("in the way")
    keeping.remember()
    assert keeping.kept() == []
    assert keeping.keeper.status().dropped == 1
    (tmp_path / "state" / "inputs").unlink()
    keeping.remember()
    assert len(keeping.kept()) == 1


def test_the_oldest_go_when_the_room_is_used_up(keeping: Keeping) -> None:
    keeping.keeper.use_history(History(keep_inputs=("*",), keep_inputs_bytes=10 * 4096))
    keeping.keeper.start()
    ids = [keeping.remember(age_seconds=5000 - number) for number in range(30)]
    kept = keeping.kept()
    assert len(kept) <= 10
    assert kept == ids[-len(kept) :]
    assert keeping.keeper.status().kept_bytes == len(kept) * 4096


def test_what_is_too_old_goes(keeping: Keeping) -> None:
    keeping.keeper.use_history(History(keep_inputs=("*",), keep_inputs_days=10))
    keeping.keeper.start()
    keeping.remember(age_seconds=11 * DAY_SECONDS)
    young = keeping.remember(age_seconds=9 * DAY_SECONDS)
    assert len(keeping.kept()) == 2
    assert keeping.keeper.sweep() == 1
    assert keeping.kept() == [young]


def test_nothing_goes_for_its_age_while_the_clock_is_suspect(keeping: Keeping) -> None:
    keeping.keeper.start()
    ids = [keeping.remember(), keeping.remember(age_seconds=1)]
    assert len(keeping.kept()) == 2
    keeping.clock.jump(365 * DAY_SECONDS)
    assert keeping.database.status().clock_is_suspect
    assert keeping.keeper.sweep() == 0
    assert keeping.kept() == ids


def test_there_are_never_more_files_than_can_be_looked_through(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keep_inputs.MOST_FILES == 200_000
    monkeypatch.setattr(keep_inputs, "MOST_FILES", 20)
    keeping.keeper.start()
    ids = [keeping.remember(age_seconds=5000 - number) for number in range(25)]
    kept = keeping.kept()
    assert 15 <= len(kept) <= 20
    assert kept == ids[-len(kept) :]


def test_that_nothing_is_kept_without_a_history_is_said(keeping: Keeping) -> None:
    keeping.keeper.use_history(History(enabled=False, keep_inputs=("*",)))
    assert keeping.keeper.status().paused == "predictions are not recorded (history.enabled)"


def test_nothing_is_missed_in_a_database_that_takes_no_writes(keeping: Keeping) -> None:
    """What was answered may still wait to be written, so a missing row means nothing."""
    keeping.keeper.start()
    waits = an_id(keeping.clock.wall_seconds() - 1000)
    keeping.keeper.offer("vehicle-type", waits, PICTURE)
    assert keeping.kept() == [waits]
    keeping.database._writer.mark_corrupt(OSError("pages are gone"))
    assert not keeping.database.status().is_writable
    assert keeping.keeper.sweep() == 0
    assert keeping.kept() == [waits]


def test_an_input_goes_with_its_prediction(keeping: Keeping) -> None:
    keeping.keeper.start()
    keeping.remember(age_seconds=20 * DAY_SECONDS)
    stays = keeping.remember(age_seconds=1 * DAY_SECONDS)
    retention.prune(keeping.database, keep_days=10, keep_rows=10, now=keeping.clock.wall_seconds())
    assert len(keeping.kept()) == 2
    keeping.keeper.sweep()
    assert keeping.kept() == [stays]
    assert keeping.keeper.status().kept == 1


def test_an_input_whose_prediction_is_not_committed_yet_stays(keeping: Keeping) -> None:
    keeping.keeper.start()
    fresh = an_id(keeping.clock.wall_seconds() - 10)
    never = an_id(keeping.clock.wall_seconds() - 1000)
    for one in (fresh, never):
        keeping.keeper.offer("vehicle-type", one, PICTURE)
    assert len(keeping.kept()) == 2
    keeping.keeper.sweep()
    assert keeping.kept() == [fresh]


def test_what_is_not_wanted_any_more_is_removed(keeping: Keeping) -> None:
    keeping.keeper.start()
    keeping.remember()
    assert keeping.kept()
    keeping.keeper.use_history(History())
    keeping.keeper.sweep()
    assert keeping.kept() == []
    assert keeping.files.models() == []


def test_a_new_start_counts_what_is_there_and_removes_what_was_half_written(
    keeping: Keeping, tmp_path: Path
) -> None:
    keeping.keeper.start()
    prediction_id = keeping.remember()
    assert keeping.kept()
    keeping.keeper.stop()
    half = keeping.files.path("vehicle-type", "half.tmp")
    half.write_bytes(b"x")
    again = Keeping(tmp_path / "state", keeping.database, keeping.clock)
    again.keeper.start()
    try:
        assert again.kept() == [prediction_id]
        assert again.keeper.status().kept == 1
        assert not half.exists()
    finally:
        again.keeper.stop()


def test_a_stop_writes_what_waits(keeping: Keeping) -> None:
    keeping.remember()
    keeping.keeper.start()
    keeping.keeper.stop()
    assert len(keeping.files.listed()) == 1
    keeping.remember()
    assert keeping.keeper.status().dropped == 1


def test_many_threads_offer_and_nothing_is_lost_or_counted_twice(keeping: Keeping) -> None:
    keeping.keeper.start()

    def offer(**_: Any) -> None:
        for _ in range(25):
            keeping.remember()

    threads = [threading.Thread(target=offer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    told_before = keeping.keeper.flush() and keeping.keeper.status()
    assert told_before
    assert told_before.kept + told_before.dropped == 100
    assert told_before.kept == len(keeping.files.listed())
