import selectors
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.engine.admission import Admission
from appliance.engine.child import Child
from appliance.engine.host import Host
from appliance.engine.served import Served
from appliance.errors import ModelUnavailable
from appliance.library.manifest import Manifest
from appliance.library.versions import VersionDirectory


def child(control: socket.socket) -> Child:
    served = Served(
        place=VersionDirectory("m", 1, Path("m/1")),
        manifest=Manifest(manifest_version=1, name="m", version=1, task="t"),
        admission=Admission(most=1, most_waiting=1, waiting_seconds=1),
    )
    return Child(served=served, control=control)


def test_a_child_that_is_heard_no_more_is_told_to_end() -> None:
    ours, theirs = socket.socketpair()
    with selectors.DefaultSelector() as selector, theirs:
        theirs.settimeout(60)
        selector.register(ours, selectors.EVENT_READ)
        found = child(ours)
        found.host = Host(ours, 0, deadline_seconds=1)
        for _ in range(2):
            found.stop_hearing(selector)
        assert not selector.get_map()
        assert theirs.recv(1) == b""
        with pytest.raises(ModelUnavailable):
            found.host.call({}, b"")


def test_a_child_without_a_process_yet_remembers_why_it_is_to_die() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = child(ours)
        found.kill("too slow")
        assert found.killed_because == "too slow"
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            found.process_id = process.pid
            found.kill("another reason")
            assert process.wait(60) == -9
        assert found.killed_because == "too slow"


def test_a_child_lives_from_when_it_is_ready() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = child(ours)
        assert found.lived_seconds == 0
        found.ready_at = -1000.0
        assert found.lived_seconds > 1000
