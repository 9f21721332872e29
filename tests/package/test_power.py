"""Power cuts, a small memory, a memory cap and a set clock, in a virtual machine of its own.

`scripts/test-package --all` runs this; by emulation it takes most of half an hour.
"""

import contextlib
import http.client
import json
import os
import random
import threading
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.package.machine import ROOT, Unbootable, suite_under_test
from tests.package.repack import repacked
from tests.package.virtual import VirtualMachine, accelerator, why_no_virtual_machine
from tests.tiny_models import picture

STATE = "/var/lib/inference-appliance"
CUTS = int(os.environ.get("APPLIANCE_PACKAGE_CUTS", "3"))
#: A prediction is recorded within a group's 40 ms; a slow machine gets many times that.
RECORDED_SECONDS = 1.0
#: By emulation and beside other work every step takes minutes; this is only against a hang.
pytestmark = pytest.mark.timeout(5400)
PICTURE = (ROOT / "docs" / "samples" / "truck.jpg").read_bytes()
SMALL_MEBIBYTES = 1024
#: For the pages of files that are in use, without which everything only waits for the disk.
_ROOM_BYTES = 48 << 20


class Client:
    """Calls to the appliance from outside of its machine."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key

    def call(self, method: str, path: str, body: bytes = b"", kind: str = "image/jpeg") -> Any:
        """Return the JSON answer; raise OSError, HTTPException or AssertionError if refused."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        headers = {"X-API-Key": self._key, "Content-Type": kind}
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        assert 200 <= answer.status < 300, (answer.status, content)
        return json.loads(content)

    def predict(self) -> Any:
        return self.call("POST", "/api/v1/models/vehicle-type/predict", PICTURE)

    def all_of(self, what: str) -> set[str]:
        """Given "keys", "jobs" or "predictions", return the id of every one."""
        found: set[str] = set()
        cursor: Any = ""
        while cursor is not None:
            more = f"&cursor={cursor}" if cursor else ""
            page = self.call("GET", f"/api/v1/{what}?limit=1000{more}")
            found |= {one["id"] for one in page[what]}
            cursor = page["next_cursor"]
        return found


class Load:
    """Writes of every kind from outside, and what of them was acknowledged."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._is_over = threading.Event()
        self.keys: list[str] = []
        self.jobs: list[str] = []
        self.predictions: list[tuple[float, str]] = []  # when it was answered, and its id
        work = (self._issue, self._submit, self._predict, self._predict)
        self._threads = [threading.Thread(target=self._repeat, args=(each,)) for each in work]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(300)
            assert not thread.is_alive()

    def _repeat(self, work: Any) -> None:
        while not self._is_over.is_set():
            try:
                work()
            except (OSError, http.client.HTTPException, AssertionError, ValueError):
                self._is_over.wait(0.2)  # refused, or the power is off

    def _issue(self) -> None:
        wanted = json.dumps({"name": "made under load", "role": "device"}).encode()
        made = self._client.call("POST", "/api/v1/keys", wanted, "application/json")
        self.keys.append(made["id"])

    def _submit(self) -> None:
        path = "/api/v1/models/vehicle-type/batch"
        job = self._client.call("POST", path, zipped(2), "application/zip")
        self.jobs.append(job["id"])
        self._is_over.wait(1.0)  # each is several predictions of work

    def _predict(self) -> None:
        answer = self._client.predict()
        if answer["recorded"]:
            self.predictions.append((time.monotonic(), answer["id"]))


def zipped(count: int) -> bytes:
    """Return a zip of so many pictures."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(count):
            archive.writestr(f"{number}.jpg", PICTURE)
    return buffer.getvalue()


class Box:
    """The virtual machine with the appliance on it, and its admin's key."""

    def __init__(self, machine: VirtualMachine) -> None:
        self.machine = machine
        self.key = machine.say(f"cat {STATE}/admin-key")

    @property
    def client(self) -> Client:
        return Client(self.machine.port, self.key)

    def boot(self, memory_mebibytes: int = 2048) -> float:
        """Boot, and return how long it took until the service was ready."""
        began = time.monotonic()
        self.machine.boot(memory_mebibytes=memory_mebibytes)
        self.machine.wait_until_active()
        return time.monotonic() - began


@pytest.fixture(scope="module")
def box(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    if os.environ.get("APPLIANCE_PACKAGE_ALL") != "1":
        pytest.skip("runs a virtual machine, which takes long: scripts/test-package --all")
    if suite_under_test() != "bookworm":
        pytest.skip("the virtual machine is a Debian 12: it is tried once, with that release")
    reason = why_no_virtual_machine()
    if reason:
        pytest.skip(f"no virtual machine can be run here: {reason}")
    place = tmp_path_factory.mktemp("virtual")
    # Only packed differently: an emulated processor takes minutes to decompress it.
    plain = repacked(package, place, package.name.split("_")[1], lambda tree: None)
    try:
        machine = VirtualMachine(place, plain)
    except Unbootable as fault:
        pytest.skip(f"no virtual machine can be run here: {fault}")
    plain.unlink()
    try:
        began = time.monotonic()
        machine.boot()
        booted = time.monotonic()
        machine.install()
        machine.wait_until_active()
        print(
            f"by {accelerator()}: booted in {booted - began:.0f} s, installed and ready in"
            f" {time.monotonic() - booted:.0f} s"
        )
        machine.say(
            "printf '[access]\\nrequests_per_second = 10000\\nburst = 10000\\n'"
            " > /etc/inference-appliance/conf.d/load.toml; sync"
        )
        machine.say("systemctl restart inference-appliance")
        yield Box(machine)
    finally:
        machine.end()


def test_cuts_of_the_power_lose_nothing_that_was_acknowledged(box: Box) -> None:
    chance = random.Random(19)
    keys: set[str] = set()
    jobs: set[str] = set()
    predictions: set[str] = set()
    young = young_lost = 0
    for number in range(CUTS):
        with Load(box.client) as load:
            box.machine.wait_for(
                lambda: bool(load.keys and load.jobs and load.predictions), "acknowledged writes"
            )
            time.sleep(chance.uniform(5, 15))  # what is cut off differs
            box.machine.cut_power()
            cut = time.monotonic()
        keys |= set(load.keys)
        jobs |= set(load.jobs)
        predictions |= {name for at, name in load.predictions if cut - at > RECORDED_SECONDS}
        late = {name for at, name in load.predictions if cut - at <= RECORDED_SECONDS}
        ready = box.boot()
        client = box.client
        assert keys - client.all_of("keys") == set()
        assert jobs - client.all_of("jobs") == set()
        kept = client.all_of("predictions")
        assert predictions - kept == set()
        young, young_lost = young + len(late), young_lost + len(late - kept)
        print(
            f"cut {number + 1}: {len(load.keys)} keys, {len(load.jobs)} jobs,"
            f" {len(load.predictions)} predictions acknowledged, none lost; ready {ready:.0f} s"
            " after the power was back"
        )
    print(f"of {young} predictions answered in the last second before a cut {young_lost} are gone")
    assert box.machine.run("appliance audit verify")[0] == 0
    box.machine.say("systemctl stop inference-appliance")
    assert box.machine.say(_INTEGRITY) == "ok"
    box.machine.say("systemctl start inference-appliance")
    box.machine.wait_for(
        lambda: not _unfinished(box.client, jobs), "the jobs that were waiting to be done"
    )


_INTEGRITY = (
    'python3 -c "import sqlite3;'
    f" print(sqlite3.connect('{STATE}/appliance.db')"
    ".execute('PRAGMA integrity_check').fetchone()[0])\""
)


def _unfinished(client: Client, jobs: set[str]) -> set[str]:
    page = client.call("GET", "/api/v1/jobs?state=waiting,running&limit=1000")
    dead = client.call("GET", "/api/v1/jobs?state=dead&limit=1000")["jobs"]
    assert not dead, dead
    return jobs & {one["id"] for one in page["jobs"]}


def test_a_host_that_outgrows_the_memory_cap_dies_alone_and_comes_back(box: Box) -> None:
    machine, client = box.machine, box.client
    before = client.predict()
    front = machine.unit("MainPID")
    group = f"/sys/fs/cgroup{machine.unit('ControlGroup')}"
    # As the example memory-cap.conf does it, with room for the program but not for every picture.
    used = int(machine.say(f"awk '/^anon / {{print $2}}' {group}/memory.stat"))
    machine.say(
        "mkdir -p /run/systemd/system/inference-appliance.service.d; printf"
        f" '[Service]\\nMemoryMax={used + _ROOM_BYTES}\\n'"
        " > /run/systemd/system/inference-appliance.service.d/cap.conf; systemctl daemon-reload"
    )
    refused: list[str] = []
    deadline = time.monotonic() + 600
    large = picture(size=4900)  # 72 MB as pixels
    while not _was_killed(machine, group) and time.monotonic() < deadline:
        try:
            client.call("POST", "/api/v1/models/vehicle-type/predict", large, "image/png")
        except AssertionError as answer:
            refused.append(str(answer))
    assert _was_killed(machine, group), "the kernel ended nothing"
    machine.say("rm -r /run/systemd/system/inference-appliance.service.d; systemctl daemon-reload")
    machine.wait_for(lambda: _answers(client), "an answer again")
    assert machine.unit("MainPID") == front, "the service itself lived on"
    assert machine.unit("NRestarts") == "0"
    assert all("503" in each for each in refused), refused
    assert before["id"] in client.all_of("predictions")
    print(f"the kernel ended a host; {len(refused)} requests were refused, with 503 and a reason")


def _was_killed(machine: VirtualMachine, group: str) -> bool:
    events = machine.say(f"cat {group}/memory.events")
    return int(dict(line.split() for line in events.splitlines())["oom_kill"]) > 0


def _answers(client: Client) -> bool:
    try:
        return bool(client.predict()["recorded"])
    except (OSError, http.client.HTTPException, AssertionError):
        return False


def test_a_clock_that_is_set_wrong_and_right_again_disturbs_no_answer(box: Box) -> None:
    machine, client = box.machine, box.client
    rows = client.all_of("predictions")
    front = machine.unit("MainPID")

    def clock() -> str:
        state: str = client.call("GET", "/health")["clock"]["state"]
        return state

    def set_clock(by: str, expected: str) -> None:
        machine.say(f"date -s \"$(date -d '{by}' '+%F %T')\"")
        assert client.predict()["recorded"] is True
        began = time.monotonic()
        machine.wait_for(lambda: clock() == expected, f"a clock that is {expected} after {by}")
        print(f"{by}: {expected} after {time.monotonic() - began:.1f} s")
        assert client.predict()["recorded"] is True

    set_clock("+1 year", "suspect")
    set_clock("1 year ago", "ok")  # it may be believed again before anybody can ask
    set_clock("2 hours ago", "suspect")
    set_clock("+2 hours", "ok")
    assert machine.unit("MainPID") == front
    assert rows <= client.all_of("predictions"), "nothing was taken for old and deleted"


def test_on_a_machine_with_little_memory_it_starts_and_serves(box: Box) -> None:
    box.machine.say("sync")
    box.machine.cut_power()
    ready = box.boot(SMALL_MEBIBYTES)
    for _ in range(20):
        assert box.client.predict()["recorded"] is True
    assert box.machine.unit("NRestarts") == "0", box.machine.journal(lines=400)
    available = box.machine.say("awk '/MemAvailable/ {print int($2 / 1024)}' /proc/meminfo")
    print(f"{SMALL_MEBIBYTES} MiB: ready after {ready:.0f} s, {available} MiB left")
