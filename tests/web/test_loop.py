import socket
import threading

import pytest

from appliance.web.loop import Loop


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


class Source:
    def __init__(self, seen, name):
        self.seen = seen
        self.name = name

    def handle_events(self, events):
        self.seen.append(self.name)


def test_calls_from_other_threads_run_in_the_loops(loop):
    threads = []
    caller = threading.Thread(target=loop.call_soon, args=(lambda: threads.append(1),))
    caller.start()
    loop.act(loop.wait(20))
    assert threads == [1]
    caller.join()


def test_a_wake_before_the_wait_is_not_lost(loop):
    loop.wake()
    assert loop.wait(20)


def test_a_source_that_fails_costs_the_others_nothing(loop, caplog):
    seen = []
    ours, theirs = socket.socketpair()
    loop.sources[ours.fileno()] = Source(None, "fails")
    loop.watch(ours.fileno(), 1)
    theirs.send(b"x")
    loop.call_soon(lambda: seen.append(1 / 0))
    loop.call_soon(lambda: seen.append("called"))
    while not seen:
        loop.act(loop.wait(20))
    assert caplog.text.count("nobody caught") >= 2
    loop.forget(ours.fileno())
    ours.close()
    theirs.close()


def test_waking_a_closed_loop_does_nothing():
    loop = Loop()
    loop.close()
    loop.wake()
    loop.forget(5)


def test_what_comes_last_comes_last(loop):
    seen = []
    pairs = [socket.socketpair() for _ in range(3)]
    for number, (ours, theirs) in enumerate(pairs):
        loop.sources[ours.fileno()] = Source(seen, number)
        loop.watch(ours.fileno(), 1, comes_last=number == 0)
        theirs.send(b"x")
    loop.act(loop.wait(20))
    assert seen[-1] == 0
    assert sorted(seen) == [0, 1, 2]
    for ours, theirs in pairs:
        loop.forget(ours.fileno())
        ours.close()
        theirs.close()
