import errno

import pytest

from appliance.errors import InsufficientStorage, Unavailable
from appliance.web.body import MEMORY_BYTES, MOST_HELD_BYTES, Body, FixedBody, Spool, problem_of


def test_a_small_body_stays_in_memory(tmp_path):
    body = Body(Spool(tmp_path / "missing", 10), 5)
    body.append(b"ab")
    body.append(b"cde")
    assert len(body) == 5
    assert body.getfile().read() == b"abcde"
    assert body.getfile().read() == b"abcde", "always from the beginning"


def test_a_large_body_goes_to_a_file_without_a_name(tmp_path):
    spool = Spool(tmp_path, 10_000_000)
    body = Body(spool, MEMORY_BYTES + 10)
    assert spool.taken_bytes == MEMORY_BYTES + 10
    body.append(b"a" * MEMORY_BYTES)
    body.append(b"b" * 10)
    assert list(tmp_path.iterdir()) == []
    file = body.getfile()
    assert file.read(MEMORY_BYTES) == b"a" * MEMORY_BYTES
    assert file.read() == b"b" * 10
    body.close()
    body.close()
    assert spool.taken_bytes == 0


def test_a_body_of_unknown_length_takes_its_budget_as_it_grows(tmp_path):
    spool = Spool(tmp_path, 2 * 1024 * 1024)
    body = Body(spool)
    for _ in range(4):
        body.append(b"a" * MEMORY_BYTES)
    with pytest.raises(Unavailable):
        body.append(b"a" * MEMORY_BYTES)
    body.close()
    assert spool.taken_bytes == 0


def test_the_budget_is_for_all_together(tmp_path):
    spool = Spool(tmp_path, 2_000_000)
    first = Body(spool, 1_500_000)
    with pytest.raises(Unavailable):
        Body(spool, 1_500_000)
    first.close()
    Body(spool, 1_500_000).close()


def test_what_never_fits_is_said_to_be_too_much(tmp_path):
    with pytest.raises(InsufficientStorage, match="spool_bytes"):
        Body(Spool(tmp_path, 1_000_000), 1_000_001)


def test_a_full_disk_is_told_apart_from_other_faults():
    assert isinstance(problem_of(OSError(errno.ENOSPC, "No space")), InsufficientStorage)
    assert isinstance(problem_of(OSError(errno.EDQUOT, "Quota")), InsufficientStorage)
    assert isinstance(problem_of(OSError(errno.EMFILE, "Too many files")), Unavailable)


def test_a_missing_spool_directory_is_a_fault_now_not_a_crash(tmp_path):
    body = Body(Spool(tmp_path / "missing", 10_000_000))
    with pytest.raises(Unavailable):
        body.append(b"x" * (MEMORY_BYTES + 1))
    body.close()


def test_nothing_goes_to_disk_where_there_is_no_room_for_it(tmp_path):
    def full():
        raise InsufficientStorage("The disk is too full for an upload.")

    spool = Spool(tmp_path, 10_000_000)
    with pytest.raises(InsufficientStorage):
        Body(spool, MEMORY_BYTES + 1, require_room=full)
    small = Body(spool, MEMORY_BYTES, require_room=full)
    small.append(b"a" * MEMORY_BYTES)
    growing = Body(spool, require_room=full)
    growing.append(b"a" * MEMORY_BYTES)
    with pytest.raises(InsufficientStorage):
        growing.append(b"b")
    assert spool.taken_bytes == 0


def test_an_input_of_known_length_is_received_in_one_piece(tmp_path):
    spool = Spool(tmp_path / "missing", 10)
    body = FixedBody(1_000_000, Body(spool, 1_000_000, is_input=True))
    assert body.received(b"a" * 10) == 10
    body.room[:5] = b"bcdef"
    body.filled(5)
    assert not body.completed
    rest = 1_000_000 - 15
    assert body.received(b"g" * rest + b"next") == rest
    assert body.completed
    file = body.getfile()
    assert file.read() == b"a" * 10 + b"bcdef" + b"g" * rest
    assert body.room is None
    assert body.getfile().read(11) == b"a" * 10 + b"b", "always from the beginning"
    assert spool.taken_bytes == 0


def test_what_was_read_of_a_body_stays_when_it_is_closed(tmp_path):
    body = Body(Spool(tmp_path, 10), 200_000, is_input=True)
    body.append(b"x" * 200_000)
    read = body.getfile().read()
    body.close()
    assert read == b"x" * 200_000


def test_beyond_the_memory_for_all_a_body_goes_to_disk(tmp_path):
    spool = Spool(tmp_path, 10_000_000, most_held_bytes=1_000_000)
    first = Body(spool, 900_000, is_input=True)
    second = Body(spool, 900_000, is_input=True)
    assert first.room is not None
    assert second.room is None
    assert spool.taken_bytes == 900_000
    first.close()
    first.close()
    third = Body(spool, 900_000, is_input=True)
    assert third.room is not None
    assert Body(spool, MOST_HELD_BYTES + 1, is_input=True).room is None
    third.close()
    assert Body(spool, 1_000_000, is_input=True).room is not None
    assert Body(spool, 1_000).room is None
