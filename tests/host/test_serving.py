import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from appliance import frames
from appliance.engine.host import Host
from appliance.engine.nursery import Nursery
from appliance.errors import Problem
from appliance.host.specification import HostEvent, HostSpecification
from tests.engine.running import HANG_SECONDS, eventually, is_gone
from tests.host.test_hosted_model import specification
from tests.tiny_models import change, picture, write_colour_model

PREDICT = {"method": "predict", "params": {}, "content_type": "image/png"}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    found = Nursery()
    found.socket.settimeout(HANG_SECONDS)
    yield found
    found.end()


class Born:
    """A host process without the supervisor: its control socket and its process id."""

    def __init__(self, nursery: Nursery, specification: HostSpecification) -> None:
        self.control = nursery.spawn(1, specification)
        self.control.settimeout(HANG_SECONDS)
        while True:
            event = nursery.event()
            assert event is not None
            if event.kind == "born":
                break
        self.process_id = event.process_id

    def word(self) -> HostEvent:
        message, _ = frames.receive(self.control)
        return msgspec.convert(message, HostEvent)


@contextlib.contextmanager
def born(nursery: Nursery, specification: HostSpecification) -> Iterator[Born]:
    found = Born(nursery, specification)
    try:
        yield found
    finally:
        found.control.close()
        eventually(lambda: is_gone(found.process_id))


@contextlib.contextmanager
def called(host: Born) -> Iterator[Host]:
    found = Host(host.control, host.process_id, deadline_seconds=HANG_SECONDS)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def ready(nursery: Nursery, tmp_path: Path) -> Iterator[Born]:
    with born(nursery, specification(write_colour_model(tmp_path / "models"))) as host:
        event = host.word()
        assert event.kind == "ready"
        yield host


def test_a_host_says_what_it_serves(nursery: Nursery, tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "models")
    with born(nursery, specification(place)) as host:
        event = host.word()
        assert event.kind == "ready"
        assert event.inputs == ({"name": "image", "datatype": "FP32", "shape": [1, 3, 8, 8]},)
        assert event.labels == {"colour": ("red", "green", "blue")}
        assert event.load_seconds > 0


def test_a_host_that_cannot_load_says_why_and_ends(nursery: Nursery, tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "models")
    change(place, "model.bin", lambda _: b"")
    with born(nursery, specification(place)) as host:
        event = host.word()
        assert event.kind == "failed"
        assert event.problem["slug"] == "model-invalid"
        assert "Incorrect weights" in str(event.problem["detail"])
        eventually(lambda: is_gone(host.process_id))


def test_a_host_answers_on_every_connection_it_is_given(ready: Born) -> None:
    with called(ready) as host:
        for _ in range(3):
            reply, _ = host.call(PREDICT, picture("blue"))
            assert reply["label"] == "blue"
        with pytest.raises(Problem) as caught:
            host.call(PREDICT, b"junk")
        assert caught.value.status == 415
        assert host.call(PREDICT, picture("red"))[0]["label"] == "red"


def test_a_call_that_is_no_frame_ends_its_connection_only(ready: Born) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(HANG_SECONDS)
        with theirs:
            socket.send_fds(ready.control, [b"c"], [theirs.fileno()])
        ours.sendall(b"\xff" * 64)
        with contextlib.suppress(ConnectionResetError):
            assert ours.recv(1) == b""
    with called(ready) as host:
        assert host.call(PREDICT, picture("red"))[0]["label"] == "red"


@pytest.mark.parametrize("header", [{}, {"method": "predict", "params": 5}, [], None, 7])
def test_a_header_that_makes_no_sense_is_answered_with_a_problem(
    ready: Born, header: object
) -> None:
    with called(ready) as host:
        with pytest.raises(Problem):
            host.call(header, b"")  # type: ignore[arg-type]
        assert host.call(PREDICT, picture("red"))[0]["label"] == "red"


def test_a_host_ends_when_the_front_closes_the_control_socket(ready: Born) -> None:
    ready.control.close()
    eventually(lambda: is_gone(ready.process_id))


def test_a_host_outlives_the_signals_that_end_a_group(ready: Born) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(ready.process_id, number)
    with called(ready) as host:
        assert host.call(PREDICT, picture("red"))[0]["label"] == "red"


def test_a_host_has_no_files_of_the_nursery_open(nursery: Nursery, ready: Born) -> None:
    kinds = [
        os.readlink(f"/proc/{ready.process_id}/fd/{number}")
        for number in os.listdir(f"/proc/{ready.process_id}/fd")
    ]
    assert len([kind for kind in kinds if kind.startswith("socket:")]) == 1
    assert not [kind for kind in kinds if "model.bin" in kind]
    assert psutil.Process(ready.process_id).ppid() == nursery.process_id
