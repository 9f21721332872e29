"""What maintainer scripts promise beside upgrades and leaving: policies, repeats, odd admins."""

import json
import re
from pathlib import Path

import pytest

from tests.package.machine import Machine
from tests.package.test_files import MOST_EXPOSURE_TENTHS
from tests.package.test_service_life import PREDICT, STATE

UNIT = "inference-appliance"
APT = "DEBIAN_FRONTEND=noninteractive apt-get -y"
POLICY = "/usr/sbin/policy-rc.d"
SERVICES = (UNIT, f"{UNIT}-stream", f"{UNIT}-backup", f"{UNIT}-verify", f"{UNIT}-metrics")
#: What an admin may have set up of their own; nobody but the admin may touch it.
FOREIGN = "/srv/models-of-the-admin"


@pytest.fixture(scope="module")
def refused(machine: Machine, package: Path) -> tuple[Machine, str]:
    """A machine whose policy forbids to start services, as images are built, and what apt said."""
    machine.run(f"printf '#!/bin/sh\\nexit 101\\n' > {POLICY}; chmod +x {POLICY}")
    said = machine.install(package)
    machine.run(f"rm {POLICY}")
    return machine, said


def test_where_a_policy_forbids_it_nothing_starts_and_the_installation_succeeds(
    refused: tuple[Machine, str],
) -> None:
    machine, said = refused
    assert machine.say(f"dpkg-query -W -f '${{Status}}' {UNIT}") == "install ok installed"
    for unit in (f"{UNIT}.service", f"{UNIT}-stream.service", f"{UNIT}-backup.timer"):
        assert machine.unit("ActiveState", unit) == "inactive"
        assert machine.unit("NRestarts", f"{UNIT}.service") == "0"
    # The next boot starts it: the policy is about now, not about for ever.
    assert machine.say(f"systemctl is-enabled {UNIT}") == "enabled"
    assert len([line for line in said.splitlines() if line.startswith(f"{UNIT}: ")]) == 1
    assert not re.search(r"^(E|W|dpkg: error|Failed|Job for)", said, re.MULTILINE), said
    assert machine.say("systemctl --failed --no-legend | grep inference; true") == ""


def test_after_the_policy_is_gone_it_starts_by_hand(
    refused: tuple[Machine, str],
) -> None:
    machine, _ = refused
    machine.run(f"systemctl start {UNIT} {UNIT}-stream {UNIT}-backup.timer")
    machine.wait_until_active()
    assert json.loads(machine.say(PREDICT))["result"]["predictions"][0]["label"] == "truck"


def test_every_script_may_run_again_without_harm(box: Machine) -> None:
    key = box.say(f"cat {STATE}/admin-key")
    scripts = f"/var/lib/dpkg/info/{UNIT}"
    version = box.say(f"dpkg-query -W -f '${{Version}}' {UNIT}")
    before = box.say("getent passwd inference-appliance")
    for _ in range(2):
        said = box.say(f"DPKG_MAINTSCRIPT_PACKAGE={UNIT} {scripts}.postinst configure {version}")
        assert "admin key" not in said  # that is news only once
    box.run(f"dpkg --configure -a; dpkg-reconfigure -f noninteractive {UNIT}", is_checked=False)
    box.wait_until_active()
    assert box.say("getent passwd inference-appliance") == before
    assert box.say(f"cat {STATE}/admin-key") == key
    assert json.loads(box.say(PREDICT))["recorded"] is True


def test_an_interrupted_unpacking_is_finished_by_the_usual_command(
    box: Machine, package: Path
) -> None:
    box.run(f"dpkg --unpack /root/{package.name}")  # as if the power had gone after it
    assert box.unit("ActiveState") in {"inactive", "deactivating"}
    # Nobody may start it by hand either, until all files and users are there; they are told why.
    box.run("systemctl start --no-block inference-appliance")
    box.wait_for(
        lambda: "Waiting for an upgrade to end" in box.journal(), "the service that waits"
    )
    assert box.unit("ActiveState") == "activating"
    box.run("dpkg --configure -a")
    box.wait_until_active()
    assert json.loads(box.say(PREDICT))["recorded"] is True


def test_an_upgrade_keeps_what_systemctl_edit_wrote_and_the_admin_s_users(
    box: Machine, next_package: Path
) -> None:
    directory = f"/etc/systemd/system/{UNIT}.service.d"
    box.run(f"mkdir -p {directory}; printf '[Service]\\nNice=3\\n' > {directory}/override.conf")
    box.run("systemctl daemon-reload")
    number = box.say("id -u inference-appliance")
    box.run(f"echo '# mine' >> /etc/{UNIT}/config.toml")
    said = box.install(next_package)
    box.wait_until_active()
    assert box.unit("Nice") == "3"
    assert box.say(f"tail -n 1 /etc/{UNIT}/config.toml") == "# mine"
    assert "Configuration file" not in said
    assert box.say("id -u inference-appliance") == number


def test_an_installation_after_a_removal_keeps_disabled_what_was_disabled(
    box: Machine, package: Path
) -> None:
    key = box.say(f"cat {STATE}/admin-key")
    box.run(f"systemctl disable {UNIT}")
    box.run(f"{APT} remove {UNIT}")
    # What removal keeps: settings, state, log, cache, backups, the user.
    kept = f"/etc/{UNIT}/config.toml {STATE}/admin-key /var/log/{UNIT} /var/backups/{UNIT}"
    box.run(f"ls -d {kept} /var/cache/{UNIT}; id {UNIT}")
    said = box.install(package)
    assert box.run(f"systemctl is-enabled {UNIT}", is_checked=False).stdout.strip() == "disabled"
    assert box.unit("ActiveState") == "inactive"
    assert "Configuration file" not in said
    assert box.say(f"tail -n 1 /etc/{UNIT}/config.toml") == "# mine"
    assert box.say(f"cat {STATE}/admin-key") == key
    box.run(f"systemctl enable --now {UNIT}")
    assert json.loads(box.say(PREDICT))["recorded"] is True


def test_systemd_has_no_complaint_about_the_installed_units(box: Machine) -> None:
    units = [f"{UNIT}.service", f"{UNIT}-stream.service"]
    units += [f"{UNIT}-{name}.{kind}" for name in ("backup", "verify", "metrics")
              for kind in ("service", "timer")]  # fmt: skip
    # Images of Ubuntu leave manual pages out, so whether `man` finds them is not asked here.
    done = box.run(f"systemd-analyze verify --man=no {' '.join(units)}", is_checked=False)
    mine = [line for line in done.stderr.splitlines() if UNIT in line]
    assert mine == []
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_every_installed_service_is_confined_by_this_release_s_own_count(
    box: Machine, service: str
) -> None:
    report = box.run(
        f"systemd-analyze security --no-pager --threshold={MOST_EXPOSURE_TENTHS}"
        f" {service}.service",
        is_checked=False,
    )
    print(report.stdout.strip().splitlines()[-1])
    assert report.returncode == 0, report.stdout[-3000:]


def test_the_completion_of_the_shell_knows_the_verbs(box: Machine) -> None:
    said = box.say(
        "bash -c '. /usr/share/bash-completion/completions/appliance;"
        ' COMP_WORDS=(appliance ""); COMP_CWORD=1; _inference_appliance;'
        ' printf "%s\\n" "${COMPREPLY[@]}"\''
    )
    assert {"serve", "backup", "doctor", "model"} <= set(said.splitlines())


def test_a_purge_follows_no_path_that_an_admin_wrote_down(box: Machine) -> None:
    box.run(f"systemctl stop {UNIT}")
    box.run(f"mkdir -p {FOREIGN}; cp -a {STATE}/. {FOREIGN}/; chown {UNIT}: {FOREIGN}")
    box.run(
        f'printf \'[state]\\ndir = "{FOREIGN}"\\n[backup]\\ndir = "{FOREIGN}/backups"\\n\''
        f" > /etc/{UNIT}/conf.d/places.toml; mkdir -p {FOREIGN}/backups"
    )
    before = box.say(f"find {FOREIGN} -type f | sort | sha256sum")
    said = box.say(f"{APT} purge {UNIT} 2>&1")
    assert box.say(f"find {FOREIGN} -type f | sort | sha256sum") == before
    assert box.say(f"ls -d {STATE} /etc/{UNIT} 2>/dev/null; true") == ""
    assert said.count("are kept") == 1
    assert box.say("id -u inference-appliance")


def test_a_second_purge_and_a_new_installation_begin_afresh(box: Machine, package: Path) -> None:
    box.run(f"dpkg --purge {UNIT}", is_checked=False)
    said = box.install(package)
    box.wait_until_active()
    assert "the admin key is in" in said
    assert json.loads(box.say(PREDICT))["recorded"] is True
