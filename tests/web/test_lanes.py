import threading

import pytest

from appliance.web.lanes import Lane, Lanes, SparesExhausted
from tests.web.serving import HANG_SECONDS, eventually


@pytest.fixture
def lanes():
    lanes = Lanes(threads=dict.fromkeys(Lane, 2), most_waiting=dict.fromkeys(Lane, 3))
    lanes.start()
    yield lanes
    lanes.stop()


class Block:
    def __init__(self):
        self.gate = threading.Event()
        self.done = threading.Semaphore(0)

    def __call__(self):
        self.gate.wait(HANG_SECONDS)
        self.done.release()


def test_threads_plus_line_are_taken_and_no_more(lanes):
    block = Block()
    assert [lanes.submit(Lane.INFERENCE, block) for _ in range(7)] == [True] * 5 + [False] * 2
    assert lanes.waiting(Lane.INFERENCE) == 3
    assert lanes.is_full(Lane.INFERENCE)
    assert not lanes.is_full(Lane.CONTROL)
    block.gate.set()
    for _ in range(5):
        assert block.done.acquire(timeout=HANG_SECONDS)
    eventually(lambda: not lanes.is_full(Lane.INFERENCE))


def test_one_lane_does_not_wait_for_the_other(lanes):
    block, free = Block(), threading.Event()
    for _ in range(5):
        lanes.submit(Lane.INFERENCE, block)
    lanes.submit(Lane.CONTROL, free.set)
    assert free.wait(HANG_SECONDS)
    block.gate.set()


def test_work_that_fails_costs_no_thread(lanes, caplog):
    def fails():
        raise SystemExit

    for _ in range(5):
        lanes.submit(Lane.CONTROL, fails)
    eventually(lambda: caplog.text.count("nobody caught") == 5)
    done = threading.Event()
    eventually(lambda: lanes.submit(Lane.CONTROL, done.set))
    assert done.wait(HANG_SECONDS)


def test_a_stalled_worker_is_replaced_for_as_long(lanes):
    block = Block()

    def stalls():
        with lanes.stalled(Lane.CONTROL):
            block()

    for _ in range(4):
        lanes.submit(Lane.CONTROL, stalls)
    free = threading.Event()
    eventually(lambda: lanes.submit(Lane.CONTROL, free.set))
    assert free.wait(HANG_SECONDS), "four slow readers, two threads, and still an answer"
    block.gate.set()
    eventually(lambda: _threads() == 2)


def _threads():
    return sum(thread.name.startswith("control-") for thread in threading.enumerate())


def test_spares_are_bounded(lanes):
    block = Block()
    refused = threading.Event()

    def stalls():
        try:
            with lanes.stalled(Lane.CONTROL):
                block()
        except SparesExhausted:
            refused.set()

    def submit():
        return lanes.submit(Lane.CONTROL, stalls)

    eventually(lambda: submit() and refused.is_set())
    assert _threads() <= 2 + 16
    block.gate.set()
    eventually(lambda: _threads() == 2)
