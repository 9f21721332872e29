import threading
import time

import pytest

from appliance.engine.admission import Admission
from appliance.errors import Overloaded
from tests.engine.running import HANG_SECONDS, eventually


def door(*, most: int = 1, most_waiting: int = 1, waiting_seconds: float = 30.0) -> Admission:
    return Admission(most=most, most_waiting=most_waiting, waiting_seconds=waiting_seconds)


def test_as_many_as_there_are_places_enter_at_once() -> None:
    admission = door(most=2)
    with admission.enter(), admission.enter():
        assert admission.waiting == 0


def test_who_waits_enters_when_a_place_is_free() -> None:
    admission, entered = door(), threading.Event()

    def wait() -> None:
        with admission.enter():
            entered.set()

    with admission.enter():
        thread = threading.Thread(target=wait)
        thread.start()
        eventually(lambda: admission.waiting == 1)
        assert not entered.is_set()
    assert entered.wait(HANG_SECONDS)
    thread.join(HANG_SECONDS)
    assert admission.waiting == 0


def test_a_full_line_refuses_at_once_and_says_when_to_come_back() -> None:
    admission = door()
    with admission.enter():
        thread = threading.Thread(target=lambda: admission.enter().__enter__())
        thread.start()
        eventually(lambda: admission.waiting == 1)
        started = time.monotonic()
        with pytest.raises(Overloaded, match="waiting line is full") as caught, admission.enter():
            pass
        assert time.monotonic() - started < 10
        assert caught.value.retry_after_seconds == 1.0
    thread.join(HANG_SECONDS)


def test_a_wait_that_is_too_long_ends() -> None:
    admission = door(waiting_seconds=0.05)
    with admission.enter():
        with pytest.raises(Overloaded, match=r"limits\.waiting_seconds") as caught:
            admission.enter().__enter__()
        assert caught.value.status == 503
    assert admission.waiting == 0
    with admission.enter():
        pass


def test_a_failure_inside_gives_the_place_back() -> None:
    admission = door()
    for _ in range(3):
        with pytest.raises(ValueError), admission.enter():
            raise ValueError
    with admission.enter():
        pass


def test_many_threads_never_exceed_the_places() -> None:
    admission = door(most=3, most_waiting=50)
    lock, inside, highest = threading.Lock(), 0, 0

    def visit() -> None:
        nonlocal inside, highest
        for _ in range(50):
            with admission.enter():
                with lock:
                    inside += 1
                    highest = max(highest, inside)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=visit) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_SECONDS)
    assert inside == 0
    assert highest <= 3


def test_who_has_waited_too_long_elsewhere_is_sent_away_even_from_an_open_door() -> None:
    door = Admission(most=1, most_waiting=1, waiting_seconds=5.0)
    with pytest.raises(Overloaded, match=r"5\.5 s"), door.enter(waited_seconds=5.5):
        pass
    with door.enter(waited_seconds=4.9):
        pass
