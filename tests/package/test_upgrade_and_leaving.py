"""Upgrade, disable, mask, downgrade, remove and purge: what maintainer scripts promise."""

import json
import time
from pathlib import Path

import pytest

from tests.package.machine import Machine
from tests.package.test_service_life import PREDICT, STATE

UNIT = "inference-appliance"


def version(machine: Machine) -> str:
    return machine.say(f"dpkg-query -W -f '${{Version}}' {UNIT}")


def test_an_upgrade_under_load_keeps_everything_and_shows_a_short_gap(
    box: Machine, next_package: Path
) -> None:
    key = box.say(f"cat {STATE}/admin-key")
    box.run("printf '[limits]\\nwaiting = 63\\n' >> /etc/inference-appliance/config.toml")
    box.run("echo APPLIANCE_LOG__LEVEL=info >> /etc/default/inference-appliance")
    load = box.hammer(40, threads=2)
    time.sleep(1)  # the load is under way
    began = time.monotonic()
    said = box.install(next_package)
    seconds = time.monotonic() - began
    box.wait_until_active()
    result = load.done()
    print(f"upgrade: {seconds:.1f} s, {result}")
    assert version(box).endswith("next1")
    assert box.say(f"cat {STATE}/admin-key") == key
    assert "waiting = 63" in box.say("appliance config show")
    assert "Configuration file" not in said  # dpkg asked nothing
    assert result["answered"] > 0
    # Files must not be replaced under a running program: so it stops first, and says so in docs.
    assert result["gap_seconds"] < 90  # a hang, not a measurement


def test_an_upgrade_leaves_a_disabled_service_disabled(
    box: Machine, package: Path, next_package: Path
) -> None:
    box.run(f"systemctl disable --now {UNIT}")
    box.install(package)
    assert box.run(f"systemctl is-enabled {UNIT}", is_checked=False).stdout.strip() == "disabled"
    assert box.unit("ActiveState") == "inactive"
    box.run(f"systemctl enable {UNIT}")
    box.run(f"systemctl mask {UNIT}")
    box.install(next_package)
    assert box.run(f"systemctl is-enabled {UNIT}", is_checked=False).stdout.strip() == "masked"
    box.run(f"systemctl unmask {UNIT}; systemctl start {UNIT}")


def test_a_downgrade_with_the_same_schema_serves_again(box: Machine, package: Path) -> None:
    box.install(package)
    box.wait_until_active()
    assert not version(box).endswith("next1")
    assert json.loads(box.say(PREDICT))["recorded"] is True


def test_a_failed_upgrade_leaves_the_old_version_serving(box: Machine, next_package: Path) -> None:
    box.run(
        "cd /root && rm -rf bad && mkdir -p bad/DEBIAN && cat > bad/DEBIAN/control <<'END'\n"
        "Package: inference-appliance\nVersion: 0.9\nArchitecture: amd64\nMaintainer: a <a@b>\n"
        "Description: broken\nEND\n"
        "printf '#!/bin/sh\\ndeb-systemd-invoke stop inference-appliance.service\\nexit 1\\n'"
        " > bad/DEBIAN/preinst; chmod 755 bad/DEBIAN/preinst; dpkg-deb -b bad bad.deb"
    )
    assert box.run("dpkg -i /root/bad.deb", is_checked=False).returncode != 0
    box.wait_until_active()
    assert not version(box).startswith("0.9")
    assert json.loads(box.say(PREDICT))["recorded"] is True


def test_a_backup_is_restored_by_one_command(box: Machine) -> None:
    box.run("appliance backup")
    name = box.say("ls -t /var/backups/inference-appliance/*.backup | head -1")
    box.run(f"systemctl stop {UNIT}")
    said = box.say(f"appliance restore {name}")
    assert "Restored from" in said
    box.run(f"systemctl start {UNIT}")
    box.wait_until_active()
    assert json.loads(box.say(PREDICT))["recorded"] is True
    assert box.say(f"find {STATE} ! -user inference-appliance | wc -l") == "0"


def test_remove_stops_it_and_keeps_what_it_knows(box: Machine, package: Path) -> None:
    key = box.say(f"cat {STATE}/admin-key")
    box.run(f"DEBIAN_FRONTEND=noninteractive apt-get remove -y {UNIT}")
    assert box.run("curl -s http://localhost:8080/live", is_checked=False).returncode == 7
    assert box.say(f"cat {STATE}/admin-key") == key
    assert box.say("ls /etc/inference-appliance/config.toml /var/backups/inference-appliance/*")
    assert box.say("id -u inference-appliance")
    box.install(package)
    box.wait_until_active()
    assert box.say(f"cat {STATE}/admin-key") == key


def test_purge_deletes_the_state_keeps_the_backups_and_says_so(box: Machine) -> None:
    box.run("appliance backup")
    said = box.say(f"DEBIAN_FRONTEND=noninteractive apt-get purge -y {UNIT} 2>&1")
    assert "the backups in /var/backups/inference-appliance are kept" in said
    assert box.say("ls /var/backups/inference-appliance/*.backup")
    left = box.say(
        "ls -d /etc/inference-appliance /etc/default/inference-appliance"
        " /var/lib/inference-appliance"
        " /var/cache/inference-appliance /var/log/inference-appliance /usr/lib/inference-appliance"
        " /run/inference-appliance /etc/cron.d/inference-appliance"
        " /var/lib/systemd/timers/stamp-inference-appliance-* /etc/systemd/system/*/inference-app*"
        " /var/lib/prometheus/node-exporter/inference_appliance.prom 2>/dev/null; true"
    )
    assert left == ""
    assert box.say("systemctl --failed --no-legend | grep inference; true") == ""


def test_without_a_running_systemd_it_installs_starts_nothing_and_has_its_directories(
    machine: Machine, package: Path
) -> None:
    machine.run(f"cp /root/{package.name} /tmp/x.deb")
    chroot = "unshare --pid --fork --mount sh -c 'mount -t tmpfs none /run; "
    machine.run(f"{chroot} dpkg -i /tmp/x.deb; ls -ld {STATE} /run/inference-appliance'")
    assert machine.unit("ActiveState") == "inactive"
    machine.run("dpkg --purge inference-appliance", is_checked=False)


@pytest.mark.parametrize("line", range(3))
def test_cron_does_nothing_where_systemd_runs(machine: Machine, package: Path, line: int) -> None:
    machine.install(package)
    commands = [
        each.split(None, 6)[6]
        for each in machine.say("cat /etc/cron.d/inference-appliance").splitlines()
        if each and each[0] in "0123456789*"
    ]
    done = machine.run(f"set -x; {commands[line]}")
    assert "inference-appliance backup" not in done.stderr
    assert "drill" not in done.stderr
    assert "metrics-textfile" not in done.stderr
