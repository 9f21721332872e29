import re
import threading
import time
import uuid

from appliance import identifiers
from appliance.identifiers import new_id, seconds_of


def test_an_id_is_a_uuid_of_version_7() -> None:
    text = new_id()
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)
    parsed = uuid.UUID(text)
    assert (parsed.variant, parsed.version) == (uuid.RFC_4122, 7)


def test_an_id_holds_the_time_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    stamp = uuid.UUID(new_id()).int >> 80
    # The counter may run a little ahead when many ids were made in one millisecond.
    assert before - 1 <= stamp <= time.time_ns() // 1_000_000 + 1000


def test_each_id_is_greater_than_all_before_it() -> None:
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_threads_never_get_the_same_id() -> None:
    made: list[list[str]] = [[] for _ in range(4)]

    def make(mine: list[str]) -> None:
        mine.extend(new_id() for _ in range(5000))

    threads = [threading.Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({text for mine in made for text in mine}) == 20_000
    assert all(mine == sorted(mine) for mine in made)


def test_a_clock_that_jumps_back_does_not_break_the_order() -> None:
    newest = new_id()
    ahead = identifiers._last_milliseconds_and_counter + (3_600_000 << 12)
    identifiers._last_milliseconds_and_counter = ahead
    try:
        later = new_id()
        assert later > newest
        assert new_id() > later
    finally:
        identifiers._last_milliseconds_and_counter = ahead - (3_600_000 << 12)


def test_an_id_tells_when_it_was_made() -> None:
    assert abs(seconds_of(new_id()) - time.time()) < 3 * 3600
    assert seconds_of("01890a5d-ac96-7000-8000-000000000000") == 1688096058.518
