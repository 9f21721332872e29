"""debian/tests as Debian's own tester runs them, inside of a booted machine without a network."""

import re
import shutil
from pathlib import Path

import pytest

from tests.package.machine import ROOT, Machine

FLAVOUR = "tools"
SOURCE = "/root/source"
#: It installs the package again before each test.
MOST_SECONDS = 1200.0
TESTS = ("smoke", "lifecycle", "backup", "purge")


@pytest.fixture(scope="module")
def source(machine: Machine, package: Path) -> Machine:
    """The machine with the package's file and the source's debian directory in it."""
    for name in ("debian", "LICENSE"):
        target = machine.root / SOURCE[1:] / name
        if (ROOT / name).is_dir():
            built = shutil.ignore_patterns(".debhelper", "inference-appliance", "*.debhelper*")
            shutil.copytree(ROOT / name, target, symlinks=True, ignore=built)
        else:
            shutil.copy(ROOT / name, target)
    shutil.copy(package, machine.root / "root" / package.name)
    # There is no network; what the tests depend on is installed already.
    machine.run("rm -f /etc/apt/sources.list.d/*; : > /etc/apt/sources.list")
    return machine


@pytest.mark.timeout(MOST_SECONDS + 60)
def test_debian_s_tester_passes_every_test(source: Machine, package: Path) -> None:
    done = source.run(
        # Debian 13's null tester does not claim to be a container; this machine is one.
        "autopkgtest --ignore-restrictions=isolation-container -o /root/autopkgtest"
        f" -B /root/{package.name} {SOURCE}/ -- null 2>&1",
        is_checked=False,
        most_seconds=MOST_SECONDS,
    )
    summary = source.say("cat /root/autopkgtest/summary")
    print(summary)
    found = dict(re.findall(r"^(\S+)\s+(PASS|FAIL|SKIP|FLAKY)", summary, re.MULTILINE))
    # The null tester cannot reboot what it runs on; the next test does.
    assert found == {**dict.fromkeys(TESTS, "PASS"), "reboot": "SKIP"}, done.stdout[-4000:]


def test_the_test_of_a_reboot_passes_around_a_real_one(source: Machine, package: Path) -> None:
    source.run(": > /etc/apt/sources.list; rm -f /etc/apt/sources.list.d/*")
    source.install(package)
    # The tester's own command for it; what it would do, boot_again does.
    source.run(
        "printf '#!/bin/sh\\necho \"$1\" > /root/mark\\n' > /tmp/autopkgtest-reboot;"
        " chmod +x /tmp/autopkgtest-reboot"
    )
    source.run(f"cd {SOURCE} && debian/tests/reboot")
    source.boot_again()
    mark = source.say("cat /root/mark")
    assert mark == "rebooted"
    said = source.say(f"cd {SOURCE} && AUTOPKGTEST_REBOOT_MARK={mark} debian/tests/reboot")
    assert said.endswith("admin-key: OK")
