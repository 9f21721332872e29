import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from appliance import frames
from appliance.engine.host import Host, kill_process
from appliance.errors import (
    DeadlineExceeded,
    HostDied,
    InvalidInput,
    ModelUnavailable,
    PayloadTooLarge,
)
from tests.engine.running import HANG_SECONDS, eventually, is_gone

Converse = Callable[[socket.socket], None]


class FarSide:
    """The host's end of the control socket, played by threads of the test."""

    def __init__(self, converse: Converse, *, deadline_seconds: float = HANG_SECONDS) -> None:
        self.control, ours = socket.socketpair()
        self.connections = 0
        self._converse = converse
        self._threads: list[threading.Thread] = []
        self.host = Host(ours, 0, deadline_seconds=deadline_seconds)
        ours.close()
        self._accept = threading.Thread(target=self._run)
        self._accept.start()

    def _run(self) -> None:
        while True:
            message, descriptors, _, _ = socket.recv_fds(self.control, 1, 1)
            if not message:
                return
            self.connections += 1
            connection = socket.socket(fileno=descriptors[0])
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(frames.FrameClosed, OSError):
            self._converse(connection)

    def close(self) -> None:
        self.host.close()
        self._accept.join(HANG_SECONDS)
        for thread in self._threads:
            thread.join(HANG_SECONDS)
        self.control.close()


@contextlib.contextmanager
def far_side(converse: Converse, **options: Any) -> Iterator[FarSide]:
    side = FarSide(converse, **options)
    try:
        yield side
    finally:
        side.close()


def echo(connection: socket.socket) -> None:
    while True:
        header, body = frames.receive(connection)
        frames.send(connection, {"got": header}, bytes(body))


def test_a_call_comes_back_and_its_connection_is_used_again() -> None:
    with far_side(echo) as side:
        for number in range(5):
            assert side.host.call({"n": number}, b"x") == ({"got": {"n": number}}, b"x")
        assert side.connections == 1


def test_calls_at_once_have_a_connection_each() -> None:
    barrier = threading.Barrier(3)

    def together(connection: socket.socket) -> None:
        while True:
            header, body = frames.receive(connection)
            barrier.wait(HANG_SECONDS)
            frames.send(connection, header, bytes(body))

    with far_side(together) as side, ThreadPoolExecutor(3) as pool:
        answers = pool.map(lambda n: side.host.call({"n": n}, b"")[0]["n"], range(3))
        assert list(answers) == [0, 1, 2]
        assert side.connections == 3


def test_a_problem_the_host_answers_is_raised_and_the_connection_kept() -> None:
    def refuse(connection: socket.socket) -> None:
        while True:
            frames.receive(connection)
            problem = InvalidInput("wrong", pointer="/query/crop").encoded()
            frames.send(connection, {"problem": problem})

    with far_side(refuse) as side:
        for _ in range(2):
            with pytest.raises(InvalidInput, match="wrong") as caught:
                side.host.call({}, b"")
            assert caught.value.errors[0].pointer == "/query/crop"
        assert side.connections == 1


def test_no_answer_in_time_is_a_missed_deadline() -> None:
    def silent(connection: socket.socket) -> None:
        while True:
            frames.receive(connection)

    with far_side(silent, deadline_seconds=0.1) as side:
        for number in (1, 2):
            with pytest.raises(DeadlineExceeded, match=r"0\.1 s"):
                side.host.call({}, b"")
            assert side.host.missed_deadlines == number


def test_a_miss_is_forgiven_once_calls_were_answered_long_after_it() -> None:
    is_silent = True

    def moody(connection: socket.socket) -> None:
        while True:
            header, body = frames.receive(connection)
            if not is_silent:
                frames.send(connection, header, bytes(body))

    with far_side(moody, deadline_seconds=0.1) as side:
        with pytest.raises(DeadlineExceeded):
            side.host.call({}, b"")
        is_silent = False
        side.host.call({}, b"")
        assert side.host.missed_deadlines == 1  # one answer is not enough
        side.host._misses[0] -= 60
        assert side.host.missed_deadlines == 0
        side.host._misses.append(side.host._answered - 1)
        assert side.host.missed_deadlines == 1


def test_what_is_larger_than_a_frame_is_refused_and_the_connection_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with far_side(echo) as side:
        side.host.call({}, b"")
        monkeypatch.setattr(frames, "MAX_BODY_BYTES", 10)
        with pytest.raises(PayloadTooLarge, match="larger than what is passed on"):
            side.host.call({}, bytes(11))
        assert side.host.call({}, bytes(10))[1] == bytes(10)
        assert side.connections == 1


def test_an_answer_that_trickles_in_is_a_missed_deadline() -> None:
    is_over = threading.Event()

    def trickle(connection: socket.socket) -> None:
        frames.receive(connection)
        packed = frames._PREFIX.pack(1, 1_000_000) + b"\x80"
        for byte in packed + bytes(1_000_000):
            connection.sendall(bytes([byte]))
            if is_over.wait(0.02):
                return

    with far_side(trickle, deadline_seconds=0.2) as side:
        with pytest.raises(DeadlineExceeded):
            side.host.call({}, b"")
        is_over.set()


def test_a_body_nobody_reads_is_a_missed_deadline() -> None:
    is_over = threading.Event()
    with far_side(lambda _: bool(is_over.wait(HANG_SECONDS)), deadline_seconds=0.1) as side:  # type: ignore[arg-type, return-value]
        with pytest.raises(DeadlineExceeded):
            side.host.call({}, bytes(10_000_000))
        is_over.set()


def test_a_call_in_a_dying_host_hears_how_it_ended() -> None:
    with far_side(lambda connection: None) as side, ThreadPoolExecutor(1) as pool:
        call = pool.submit(side.host.call, {}, b"")
        eventually(lambda: side.connections == 1)
        side.host.ended("signal 11 (SIGSEGV)")
        with pytest.raises(HostDied, match=r"signal 11 \(SIGSEGV\)"):
            call.result(HANG_SECONDS)


def test_a_connection_that_closes_without_a_death_is_told_as_such() -> None:
    with (
        far_side(lambda connection: None) as side,
        pytest.raises(HostDied, match="it closed the connection"),
    ):
        side.host.call({}, b"")


def test_an_answer_that_is_no_frame_is_a_dead_host() -> None:
    def junk(connection: socket.socket) -> None:
        frames.receive(connection)
        connection.sendall(b"\xff" * 100)

    with far_side(junk) as side, pytest.raises(HostDied):
        side.host.call({}, b"")


def test_a_closed_host_takes_no_more_calls() -> None:
    with far_side(echo) as side:
        side.host.call({}, b"")
        side.host.close()
        side.host.close()
        with pytest.raises(ModelUnavailable, match="not there right now"):
            side.host.call({}, b"")


def test_a_drain_waits_for_the_calls_that_entered() -> None:
    with far_side(echo) as side:
        assert side.host.wait_until_quiet(0)
        side.host.enter()
        assert side.host.in_flight == 1
        assert not side.host.wait_until_quiet(0.01)
        with ThreadPoolExecutor(1) as pool:
            drained = pool.submit(side.host.wait_until_quiet, HANG_SECONDS)
            side.host.leave()
            assert drained.result(HANG_SECONDS)


def test_killing_ends_one_process_and_never_a_group() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        kill_process(0)
        kill_process(-1)
        kill_process(process.pid)
        assert process.wait(HANG_SECONDS) == -9
    eventually(lambda: is_gone(process.pid))
    kill_process(process.pid)
