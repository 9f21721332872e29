import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import frames
from appliance.engine.nursery import Nursery
from tests.engine.running import HANG_SECONDS, eventually, is_gone
from tests.host.test_hosted_model import specification
from tests.tiny_models import write_colour_model

# What a nursery writes goes to its stderr, so these look at a whole process from outside.
PROGRAM = """
import sys, time
from pathlib import Path
from appliance import frames
from appliance.engine.nursery import Nursery
from tests.host.test_hosted_model import specification
from tests.tiny_models import VersionDirectory
nursery = Nursery()
nursery.socket.settimeout(60)
place = VersionDirectory("colour", 1, Path(sys.argv[1]))
control = nursery.spawn(1, specification(place))
control.settimeout(60)
print(frames.receive(control)[0]["kind"], flush=True)
exec(sys.argv[2])
"""


def run(place: Path, then: str) -> tuple[str, list[str]]:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(place), then],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout, found.stderr.splitlines()


def test_native_noise_about_a_picture_reaches_no_log_and_our_own_lines_are_json(
    tmp_path: Path,
) -> None:
    place = write_colour_model(tmp_path / "models")
    # libtiff complains about these unknown tags, one line for each.
    then = """
import io
from PIL import Image
from appliance.engine.host import Host
host = Host(control, 0, deadline_seconds=60)
buffer = io.BytesIO()
Image.new("1", (64, 64)).save(buffer, "TIFF", compression="group4")
broken = bytearray(buffer.getvalue())
broken[8:40] = bytes(32)
for body, header in ((bytes(broken), {"method": "predict", "content_type": ""}), (b"", None)):
    try:
        host.call(header, body)
    except Exception as problem:
        print(type(problem).__name__)
host.close()
"""
    out, lines = run(place.directory, then)
    assert out.splitlines()[0] == "ready"
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["call failed"]
    assert events[0]["process"] == "host colour@1"


def test_everything_dies_with_the_front(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "models")
    then = (
        "import os; print(nursery.process_id, nursery.event().process_id); os.kill(os.getpid(), 9)"
    )
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(place.directory), then],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert found.returncode == -9
    processes = [int(word) for word in found.stdout.split()[1:]]
    assert len(processes) == 2
    eventually(lambda: all(map(is_gone, processes)))


def test_a_nursery_that_may_not_fork_says_so_and_lives_on(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may start any number of processes")
    nursery = Nursery()
    try:
        nursery.socket.settimeout(HANG_SECONDS)
        place = write_colour_model(tmp_path / "models")
        hard = resource.prlimit(nursery.process_id, resource.RLIMIT_NPROC)[1]
        resource.prlimit(nursery.process_id, resource.RLIMIT_NPROC, (1, hard))
        nursery.spawn(5, specification(place)).close()
        event = nursery.event()
        assert event is not None
        assert (event.kind, event.token) == ("unborn", 5)
        resource.prlimit(nursery.process_id, resource.RLIMIT_NPROC, (hard, hard))
        control = nursery.spawn(6, specification(place))
        with control:
            control.settimeout(HANG_SECONDS)
            assert frames.receive(control)[0]["kind"] == "ready"
    finally:
        nursery.end()


def test_a_nursery_without_files_to_spare_says_so_and_lives_on(tmp_path: Path) -> None:
    nursery = Nursery()
    try:
        nursery.socket.settimeout(HANG_SECONDS)
        place = write_colour_model(tmp_path / "models")
        with nursery.spawn(4, specification(place)) as control:
            control.settimeout(HANG_SECONDS)
            assert frames.receive(control)[0]["kind"] == "ready"
        while (event := nursery.event()) and event.kind != "ended":
            pass
        soft, hard = resource.prlimit(nursery.process_id, resource.RLIMIT_NOFILE)
        in_use = set(map(int, os.listdir(f"/proc/{nursery.process_id}/fd")))
        lowest_free = min(set(range(len(in_use) + 1)) - in_use)
        resource.prlimit(nursery.process_id, resource.RLIMIT_NOFILE, (lowest_free, hard))
        nursery.spawn(5, specification(place)).close()
        event = nursery.event()
        assert event is not None
        assert (event.kind, event.token) == ("unborn", 5)
        resource.prlimit(nursery.process_id, resource.RLIMIT_NOFILE, (soft, hard))
        with nursery.spawn(6, specification(place)) as control:
            control.settimeout(HANG_SECONDS)
            assert frames.receive(control)[0]["kind"] == "ready"
    finally:
        nursery.end()
