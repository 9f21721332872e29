"""Every example of a drop-in and the socket, put into force by its own instructions."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.package.machine import Machine
from tests.package.test_service_life import PREDICT

EXAMPLES = "/usr/share/doc/inference-appliance/examples"
DROP_INS = "/etc/systemd/system/inference-appliance.service.d"
SOCKET = "inference-appliance.socket"


@contextmanager
def in_force(box: Machine, name: str) -> Iterator[None]:
    """Put a drop-in into force, and take it away at the end."""
    try:
        box.run(f"install -D -m 0644 {EXAMPLES}/{name} {DROP_INS}/{name}")
        box.run("systemctl daemon-reload && systemctl restart inference-appliance")
        yield
    finally:
        box.run(f"rm {DROP_INS}/{name}; systemctl daemon-reload")
        box.run("systemctl restart inference-appliance")


def test_the_drop_in_for_gpu_and_npu_starts_where_there_is_neither(box: Machine) -> None:
    # The package udev makes this group, which a machine without devices does not need.
    box.run("getent group render || groupadd --system render")
    with in_force(box, "gpu-npu.conf"):
        assert box.unit("PrivateDevices") == "no"
        render = box.say("getent group render | cut -d: -f3")
        groups = box.say(f"grep ^Groups: /proc/{box.unit('MainPID')}/status").split()
        assert render in groups
        assert json.loads(box.say(PREDICT))["recorded"] is True


def test_with_the_memory_cap_it_serves_below_it(box: Machine) -> None:
    with in_force(box, "memory-cap.conf"):
        assert int(box.unit("MemoryMax")) == 4 << 30
        assert int(box.unit("MemoryHigh")) == 3 << 30
        assert box.unit("CPUQuotaPerSecUSec") == "2s"
        assert json.loads(box.say(PREDICT))["recorded"] is True


def test_with_local_networks_only_this_machine_is_still_answered(box: Machine) -> None:
    with in_force(box, "lan-only.conf"):
        assert "192.168.0.0/16" in box.unit("IPAddressAllow")
        assert set(box.unit("IPAddressDeny").split()) == {"0.0.0.0/0", "::/0"}
        assert json.loads(box.say(PREDICT))["recorded"] is True


@pytest.fixture(scope="module")
def with_socket(box: Machine) -> Machine:
    """The machine whose systemd holds the port, by the instructions of the example."""
    box.run(f"cp {EXAMPLES}/{SOCKET} /etc/systemd/system/; systemctl daemon-reload")
    box.run(f"systemctl stop inference-appliance; systemctl enable --now {SOCKET}")
    return box


def test_the_first_request_starts_what_the_socket_belongs_to(with_socket: Machine) -> None:
    assert with_socket.unit("ActiveState") == "inactive"
    assert json.loads(with_socket.say(PREDICT))["recorded"] is True
    with_socket.wait_until_active()


def test_with_the_socket_an_upgrade_refuses_no_client_and_runs_no_mixed_files(
    with_socket: Machine, next_package: Path
) -> None:
    load = with_socket.hammer(40, threads=2)
    with_socket.install(next_package)
    with_socket.wait_until_active()
    result = load.done()
    print(f"upgrade with the socket: {result}")
    process = with_socket.unit("MainPID")
    used = with_socket.say(f"ls -l /proc/{process}/exe; cat /proc/{process}/maps")
    replaced = [line for line in used.splitlines() if re.search(r"/usr/.*\(deleted\)", line)]
    assert not replaced
    assert with_socket.unit("NRestarts") == "0", with_socket.journal()
    assert result["failed"] == 0, result
