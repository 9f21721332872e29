import threading

import pytest

from appliance.actions.tend_models import ModelTending


def test_every_chore_is_done_though_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    def fail() -> None:
        done.append("failed")
        raise ZeroDivisionError

    ModelTending((fail, lambda: done.append("second"))).run_round()
    assert done == ["failed", "second"]
    assert "a chore of the models failed" in caplog.text


def test_chores_are_done_until_it_is_stopped() -> None:
    is_done = threading.Event()
    tending = ModelTending((is_done.set,), interval_seconds=0.001)
    tending.start()
    assert is_done.wait(60)
    tending.stop()
    tending._thread.join(60)
    assert not tending._thread.is_alive()
    is_done.clear()
    tending.run_round()
    assert not is_done.is_set()
