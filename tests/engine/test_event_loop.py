import threading
import time

import pytest

from appliance.engine.event_loop import EventLoop
from tests.engine.running import HANG_SECONDS, eventually


def test_commands_run_in_its_thread_in_order() -> None:
    loop = EventLoop("a loop")
    loop.start()
    said: list[tuple[int, str]] = []
    for number in range(3):
        loop._post(lambda number=number: said.append((number, threading.current_thread().name)))  # type: ignore[misc]
    eventually(lambda: len(said) == 3)
    assert said == [(number, "a loop") for number in range(3)]
    loop.stop()
    assert not loop._thread.is_alive()


def test_a_timer_runs_when_it_is_due() -> None:
    loop = EventLoop("timers")
    is_done = threading.Event()
    loop.start()
    loop._post(lambda: loop._after(0.01, is_done.set))
    assert is_done.wait(HANG_SECONDS)
    loop.stop()


def test_a_fault_is_logged_and_the_loop_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    loop = EventLoop("sturdy")
    is_done = threading.Event()
    loop.start()
    loop._post(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    loop._post(is_done.set)
    assert is_done.wait(HANG_SECONDS)
    assert "a step of the sturdy failed" in caplog.text
    loop.stop()


def test_a_loop_that_never_started_can_be_stopped() -> None:
    EventLoop("idle").stop()


def test_the_heart_beats() -> None:
    loop = EventLoop("beating")
    loop._beat = time.monotonic() - 100
    assert loop.heartbeat_age_seconds() >= 100
    loop.start()
    eventually(lambda: loop.heartbeat_age_seconds() < 100)
    loop.stop()
