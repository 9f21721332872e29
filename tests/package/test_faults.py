"""What may befall a box: memory, disk and clock run out or jump, it is rebooted in mid-work."""

import contextlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package.machine import ROOT, Machine
from tests.package.test_service_life import PREDICT, STATE
from tests.tiny_models import picture

MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
FAKE_CLOCK = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
DROP_IN = "/run/systemd/system/inference-appliance.service.d"
#: For everything but the models, so that it is full soon.
DISK_MEBIBYTES = 160


def predicted(machine: Machine, command: str = PREDICT) -> dict[str, object]:
    """Return the answer to a picture, whatever it is."""
    said = machine.run(command, is_checked=False).stdout
    answer: dict[str, object] = json.loads(said) if said else {}
    return answer


def asked(machine: Machine, path: str) -> dict[str, object]:
    said = machine.say(
        f'curl -sS -H "X-API-Key: $(cat {STATE}/admin-key)" "http://localhost:8080{path}"'
    )
    found: dict[str, object] = json.loads(said)
    return found


def recorded(machine: Machine) -> set[str]:
    rows = asked(machine, "/api/v1/predictions?limit=1000")["predictions"]
    assert isinstance(rows, list)
    return {row["id"] for row in rows}


def hosts(machine: Machine) -> list[int]:
    """Return the processes of the models, by their numbers outside of the machine."""
    space = os.readlink(f"/proc/{machine.leader}/ns/pid")
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not entry.name.isdigit() or os.readlink(entry / "ns/pid") != space:
                continue
            # Confined processes are the first choice of the kernel when memory runs out.
            if (entry / "oom_score_adj").read_text().strip() == "500":
                found.append(int(entry.name))
    return sorted(found)


# --- memory


@pytest.fixture
def tight_group() -> Iterator[Path]:
    """A control group whose processes get hardly any more memory."""
    if not (MEMORY_GROUPS / "memory.limit_in_bytes").exists():
        pytest.skip("no memory controller of cgroup v1 here; test_power.py does it by MemoryMax")
    group = MEMORY_GROUPS / f"ia-tight-{os.getpid()}"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(2 * 1024 * 1024))
    yield group
    for process in (group / "cgroup.procs").read_text().split():
        (MEMORY_GROUPS / "cgroup.procs").write_text(process)
    group.rmdir()


def test_a_host_the_kernel_ends_for_memory_comes_back_and_nothing_is_lost(
    box: Machine, tight_group: Path
) -> None:
    kept = {str(predicted(box)["id"]) for _ in range(5)}
    front, restarts = box.unit("MainPID"), box.unit("NRestarts")
    before = hosts(box)
    assert before
    # Small as a file, 48 MB as pixels.
    (box.root / "root" / "large.png").write_bytes(picture(size=4000))
    large = PREDICT.replace("image/jpeg", "image/png")
    large = re.sub("@[^ ]+", "@/root/large.png", large)
    for process in before:
        (tight_group / "cgroup.procs").write_text(str(process))
    refused: list[dict[str, object]] = []

    def was_killed() -> bool:
        answer = predicted(box, large)
        if "id" not in answer:
            refused.append(answer)
        events = (tight_group / "memory.oom_control").read_text()
        return "oom_kill 0" not in events

    box.wait_for(was_killed, "the kernel to end a host")
    box.wait_for(lambda: predicted(box).get("recorded") is True, "an answer again")
    assert set(before) - set(hosts(box)), "at least one is another process now"
    assert (box.unit("MainPID"), box.unit("NRestarts")) == (front, restarts)
    for answer in refused:
        assert answer["status"] == 503, answer
        assert answer["detail"], answer
    assert "signal 9" in box.journal(lines=200)
    assert kept <= recorded(box)
    print(f"{len(refused)} requests were refused while it was away: {refused[:1]}")


def test_a_host_that_hangs_is_replaced(box: Machine) -> None:
    for process in hosts(box):
        os.kill(process, 19)  # SIGSTOP
    answer = predicted(box)
    assert answer.get("status", 200) in (200, 503, 504), answer
    box.wait_for(lambda: predicted(box).get("recorded") is True, "an answer again")


# --- disk


@pytest.fixture
def small_disk(box: Machine) -> Iterator[str]:
    """The state on a small disk of its own, and the path of a file that fills it."""
    box.run("systemctl stop inference-appliance")
    size = f"size={DISK_MEBIBYTES}m,mode=0750,uid=inference-appliance,gid=inference-appliance"
    box.run(f"mv {STATE} {STATE}.big; mkdir {STATE}; mount -t tmpfs -o {size} tmpfs {STATE}")
    box.run(f"cp -a {STATE}.big/. {STATE}/; rm -f {STATE}/reserve*")
    box.run(
        "printf '[state]\\nreserve_bytes = 1048576\\n'"
        " > /etc/inference-appliance/conf.d/reserve.toml"
    )
    box.run("systemctl start inference-appliance")
    yield f"{STATE}/filler"
    box.run("systemctl stop inference-appliance; rm /etc/inference-appliance/conf.d/reserve.toml")
    box.run(f"umount {STATE}; rmdir {STATE}; mv {STATE}.big {STATE}")
    box.run("systemctl start inference-appliance")


def test_on_a_full_disk_answers_keep_coming_and_recording_returns_with_the_room(
    box: Machine, small_disk: str
) -> None:
    kept = {str(predicted(box)["id"]) for _ in range(5)}
    assert kept <= recorded(box)
    box.run(f"cat /dev/zero > {small_disk}", is_checked=False)
    box.wait_for(lambda: predicted(box).get("recorded") is False, "an answer that is not kept")
    told = box.run("curl -sS http://localhost:8080/ready", is_checked=False).stdout
    assert json.loads(told)["ready"] is False
    assert "disk" in box.run("appliance doctor", is_checked=False).stdout
    # A restart on a full disk is what bricks other databases.
    box.run("systemctl restart inference-appliance --no-block")
    box.wait_for(lambda: predicted(box).get("recorded") is False, "an answer after the restart")
    box.run(f"rm {small_disk}")
    box.wait_for(lambda: predicted(box).get("recorded") is True, "a record again")
    box.wait_until_active()
    assert kept <= recorded(box)
    assert box.run("appliance audit verify", is_checked=False).returncode == 0


# --- clock


@pytest.fixture
def clock(box: Machine) -> Iterator[Path]:
    """The service under a clock of its own; the file says by how many seconds it is wrong.

    A container shares the kernel's clock, so it is set for real only in test_power.py.
    """
    if not Path(FAKE_CLOCK).exists():
        pytest.skip("libfaketime is not installed; scripts/test-package installs it")
    shutil.copy(FAKE_CLOCK, box.root / "usr/lib/libfaketime.so")
    offset = box.root / "etc/offset"
    offset.write_text("+0\n")
    box.run(f"mkdir -p {DROP_IN}")
    lines = (
        "LD_PRELOAD=/usr/lib/libfaketime.so FAKETIME_TIMESTAMP_FILE=/etc/offset"
        " FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1"
    )
    box.run(
        f"printf '[Service]\\nEnvironment={lines}\\n' > {DROP_IN}/clock.conf;"
        " systemctl daemon-reload; systemctl restart inference-appliance"
    )
    yield offset
    box.run(f"rm {DROP_IN}/clock.conf; systemctl daemon-reload")
    box.run("systemctl restart inference-appliance")


def test_a_clock_that_jumps_disturbs_no_answer_and_deletes_nothing(
    box: Machine, clock: Path
) -> None:
    def state() -> str:
        found = asked(box, "/health")["clock"]
        assert isinstance(found, dict)
        return str(found["state"])

    kept = {str(predicted(box)["id"]) for _ in range(3)}
    front, restarts = box.unit("MainPID"), box.unit("NRestarts")
    assert state() == "ok"
    for seconds in (365 * 86400, -7300):
        fresh = clock.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(clock)
        assert predicted(box)["recorded"] is True
        box.wait_for(lambda: state() == "suspect", f"a suspect clock, {seconds} s off")
        assert predicted(box)["recorded"] is True
        clock.write_text("+0\n")
        box.wait_for(lambda: state() == "ok", "a clock that is believed again")
    assert (box.unit("MainPID"), box.unit("NRestarts")) == (front, restarts)
    assert kept <= recorded(box)


# --- another machine


def test_a_copy_to_another_machine_that_fails_fails_the_unit_and_keeps_the_backup(
    box: Machine,
) -> None:
    unit = "inference-appliance-backup.service"
    example = "/usr/share/doc/inference-appliance/examples/offsite-backup.conf"
    drop_in = f"/etc/systemd/system/{unit}.d/offsite.conf"
    # The example by its own instructions; nothing answers there, and rsync is not even installed.
    box.run(f"install -D -m 0644 {example} {drop_in}; systemctl daemon-reload")
    before = int(box.say("ls /var/backups/inference-appliance | grep -c backup$; true"))
    try:
        assert box.run(f"systemctl start {unit}", is_checked=False).returncode != 0
        assert box.unit("ActiveState", unit) == "failed"
        after = int(box.say("ls /var/backups/inference-appliance | grep -c backup$"))
        assert after == before + 1
        box.run(f"printf '[Service]\\nExecStartPost=\\n' > {drop_in}; systemctl daemon-reload")
        box.run(f"systemctl start {unit}")
        assert box.unit("Result", unit) == "success"
    finally:
        box.run(f"rm {drop_in}; systemctl daemon-reload; systemctl reset-failed {unit}")


# --- reboot


def test_jobs_that_wait_when_it_is_rebooted_are_done_afterwards(box: Machine) -> None:
    pictures = box.root / "root" / "pictures.zip"
    with zipfile.ZipFile(pictures, "w") as archive:
        for number in range(40):
            archive.write(ROOT / "docs" / "samples" / "truck.jpg", f"{number}.jpg")
    submit = (
        f'curl -sS -H "X-API-Key: $(cat {STATE}/admin-key)" -H "Content-Type: application/zip"'
        " --data-binary @/root/pictures.zip"
        " http://localhost:8080/api/v1/models/vehicle-type/batch"
    )
    jobs = [json.loads(box.say(submit))["id"] for _ in range(6)]
    unfinished = asked(box, "/api/v1/jobs?state=waiting,running&limit=100")["jobs"]
    assert unfinished, "some are still to be done"
    box.boot_again()
    box.wait_until_active()

    def states() -> dict[str, str]:
        rows = asked(box, "/api/v1/jobs?limit=100")["jobs"]
        assert isinstance(rows, list)
        return {row["id"]: row["state"] for row in rows}

    box.wait_for(
        lambda: not {"waiting", "running"} & {states()[job] for job in jobs}, "the jobs' end"
    )
    assert {states()[job] for job in jobs} == {"done"}
    for job in jobs:
        result = asked(box, f"/api/v1/jobs/{job}/result")
        assert "40" in json.dumps(result), result
