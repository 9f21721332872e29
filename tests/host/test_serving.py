import contextlib
import os
import signal
import socket
import subprocess
import sys
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


#: A host that, the moment it opens the model's manifest, tries to reach somebody and tells.
_REACHER = """
import errno, json, os, socket, sys
import msgspec
from appliance.host import serving
from appliance.host.specification import HostSpecification

inherited = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ways = {
    "ipv4": lambda: socket.create_connection(("127.0.0.1", int(sys.argv[3])), 5),
    "ipv6": lambda: socket.socket(socket.AF_INET6),
    "unix": lambda: socket.socket(socket.AF_UNIX),
    "pair": socket.socketpair,
    "bind": lambda: inherited.bind(b"\\0taken"),
    "connect": lambda: inherited.connect("/dev/log"),
    "program": lambda: os.execv("/bin/true", ["true"]),
}
told = False

def watch(event, given):
    global told
    if event != "open" or told or not str(given[0]).endswith("manifest.toml"):
        return
    told = True
    outcomes = {}
    for name, way in ways.items():
        try:
            way()
            outcomes[name] = "done"
        except OSError as fault:
            outcomes[name] = errno.errorcode[fault.errno]
    print(json.dumps(outcomes), flush=True)

sys.addaudithook(watch)
specification = msgspec.json.decode(sys.argv[1], type=HostSpecification)
serving.serve(specification, socket.socket(fileno=int(sys.argv[2])))
"""


def test_a_host_can_reach_nobody_but_the_front_and_still_answers(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "models")
    ours, theirs = socket.socketpair()
    described = msgspec.json.encode(specification(place)).decode()
    with socket.create_server(("127.0.0.1", 0)) as listener, theirs:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", _REACHER, described),
                *(str(theirs.fileno()), str(listener.getsockname()[1])),
            ],
            pass_fds=(theirs.fileno(),),
            stdout=subprocess.PIPE,
        )
    with process, ours:
        assert process.stdout is not None
        outcomes = msgspec.json.decode(process.stdout.readline())
        ours.settimeout(HANG_SECONDS)
        word, _ = frames.receive(ours)
        assert word["kind"] == "ready"
        host = Host(ours, process.pid, deadline_seconds=HANG_SECONDS)
        reply, _ = host.call(PREDICT, picture("red"))
        assert reply["label"] == "red"
        host.close()
    assert outcomes == dict.fromkeys(outcomes, "EACCES")
    assert len(outcomes) == 7


def test_a_host_of_the_nursery_is_confined_for_good(ready: Born) -> None:
    told = Path(f"/proc/{ready.process_id}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in told.splitlines() if ":\t" in line)
    assert (facts["Seccomp"], facts["NoNewPrivs"]) == ("2", "1")
