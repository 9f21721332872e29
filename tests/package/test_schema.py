"""An upgrade that changes the database, one that fails to, and the way back from both."""

import json
import re
import time
from pathlib import Path

import pytest

from tests.package.machine import Machine
from tests.package.repack import FAILING_STEP, GOOD_STEP, repacked, with_step
from tests.package.test_service_life import PREDICT, STATE

UNIT = "inference-appliance"
COPIES = f"{STATE}/backups-pre-upgrade"


@pytest.fixture(scope="module")
def changed(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A later version whose database has one table more."""
    place = tmp_path_factory.mktemp("changed")
    return repacked(package, place, "0.8+changed", with_step(GOOD_STEP))


@pytest.fixture(scope="module")
def broken(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A later version that cannot change the database and fails in the middle of it."""
    place = tmp_path_factory.mktemp("broken")
    return repacked(package, place, "0.9+broken", with_step(FAILING_STEP))


def recorded(machine: Machine) -> int:
    """Return how many predictions the history has, once what was sent before is written."""
    time.sleep(0.2)  # the writer's group is at most 40 ms old
    listed = machine.say(
        f'curl -sS -H "X-API-Key: $(cat {STATE}/admin-key)"'
        " 'http://localhost:8080/api/v1/predictions?limit=1000'"
    )
    return len(json.loads(listed)["predictions"])


def schema(machine: Machine) -> int:
    """Return the schema of the database as it lies on the disk."""
    number = machine.say(f"od -An -tu1 -j60 -N4 {STATE}/appliance.db").split()
    return int.from_bytes(bytes(map(int, number)), "big")  # SQLite's file format, offset 60


def copies(machine: Machine) -> list[str]:
    return machine.run(f"ls {COPIES}/*.db", is_checked=False).stdout.split()


def test_a_failing_change_of_the_database_leaves_it_unharmed_and_says_what_to_do(
    box: Machine, package: Path, broken: Path
) -> None:
    for _ in range(5):
        box.say(PREDICT)
    before = recorded(box)
    box.run("systemctl stop inference-appliance")
    old_schema = schema(box)
    box.install(broken)
    assert box.unit("ActiveState") == "failed"
    assert box.unit("ExecMainStatus") == "78", "it is not tried again and again"
    assert box.unit("NRestarts") == "0"
    said = box.journal()
    assert f"could not be brought from schema {old_schema} to {old_schema + 1}" in said
    assert "install the release from before again" in said
    (copy,) = copies(box)
    assert f"A copy is kept in {copy}" in said
    assert schema(box) == old_schema
    box.install(package)
    box.wait_until_active()
    assert recorded(box) == before
    assert json.loads(box.say(PREDICT))["recorded"] is True


def test_a_restore_on_which_the_release_does_not_start_is_taken_back(
    box: Machine, package: Path, broken: Path
) -> None:
    box.say("appliance backup")
    name = box.say("ls -t /var/backups/inference-appliance/*.backup | head -1")
    before = recorded(box)
    box.install(broken)
    refused = box.run(f"appliance restore {name}", is_checked=False)
    assert refused.returncode != 0
    assert "The state from before is back" in refused.stderr
    box.install(package)
    box.wait_until_active()
    assert recorded(box) == before


def test_an_upgrade_that_changes_the_database_keeps_a_copy_of_it_and_every_row(
    box: Machine, changed: Path
) -> None:
    before, old_schema, old_copies = recorded(box), schema(box), copies(box)
    box.install(changed)
    box.wait_until_active()
    assert recorded(box) == before
    assert json.loads(box.say(PREDICT))["recorded"] is True
    box.run("systemctl stop inference-appliance")  # the log is in the database then
    assert schema(box) == old_schema + 1
    box.run("systemctl start inference-appliance")
    (copy,) = set(copies(box)) - set(old_copies)
    assert re.search(rf"/appliance-s{old_schema}-[0-9TZ]+\.db$", copy)
    assert "is sound" in box.say(f"appliance verify {copy}")


def test_a_downgrade_refuses_the_newer_database_and_names_the_command_that_goes_back(
    box: Machine, package: Path
) -> None:
    key = box.say(f"cat {STATE}/admin-key")
    before = recorded(box)
    box.install(package)
    assert box.unit("ActiveState") == "failed"
    assert box.unit("ExecMainStatus") == "78"
    named = re.search(
        r"go back to what was kept before the upgrade: (\S+ \S+ \S+\.db)", box.journal()
    )
    assert named, box.journal()
    said = box.run(named[1])
    assert "Restored from" in said.stdout
    box.wait_until_active()
    assert box.say(f"cat {STATE}/admin-key") == key
    answer = json.loads(box.say(PREDICT))
    assert answer["recorded"] is True
    # What was predicted between the upgrade and the way back is with the newer release's state.
    assert 5 <= recorded(box) <= before
    assert box.say(f"ls -d {STATE}/before-restore-*")


def test_a_restore_of_a_running_service_is_one_command(box: Machine) -> None:
    box.say("appliance backup")
    name = box.say("ls -t /var/backups/inference-appliance/*.backup | head -1")
    box.say("appliance keys create made-later --role device")
    box.run(f"install -m 0600 {name} /root/brought.backup")
    started = box.unit("ActiveEnterTimestampMonotonic")
    said = box.run("appliance restore /root/brought.backup")
    assert "Restored from brought.backup" in said.stdout
    assert "The service runs again" in said.stderr
    assert box.unit("ActiveState") == "active"
    assert box.unit("ActiveEnterTimestampMonotonic") != started
    assert "made-later" not in box.say("appliance keys list")
    assert json.loads(box.say(PREDICT))["recorded"] is True
    assert box.say(f"find {STATE} ! -user inference-appliance | wc -l") == "0"
    assert box.say(f"ls -d {STATE}/restoring-* 2>/dev/null | wc -l") == "0"


def test_a_backup_of_no_use_does_not_stop_the_service(box: Machine) -> None:
    process = box.unit("MainPID")
    box.run("head -c 3000 /root/brought.backup > /root/cut.backup")
    refused = box.run("appliance restore /root/cut.backup", is_checked=False)
    assert refused.returncode != 0
    assert "is damaged or not a backup" in refused.stderr
    assert box.unit("MainPID") == process
    assert json.loads(box.say(PREDICT))["recorded"] is True


def test_a_reboot_after_all_that_serves(box: Machine) -> None:
    box.boot_again()
    box.wait_until_active()
    assert json.loads(box.say(PREDICT))["recorded"] is True
