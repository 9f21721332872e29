"""Debian's own test of installing, removing and purging, without a network."""

import subprocess
from pathlib import Path

import pytest

from tests.package.machine import Unbootable, prepared_root, suite_under_test
from tests.package.test_files import needs

#: What may stay: the backups, which a purge keeps and says so, and logrotate's own notes, which
#: piuparts brings about by running logrotate.
KEPT = ("/var/backups/inference-appliance", "/var/lib/logrotate/status")
#: Run inside of piuparts' copy of the root: what the package depends on is there already, so its
#: source of packages may be empty.
OFFLINE = """#!/bin/sh
set -e
mkdir /srv/empty
: >/srv/empty/Packages
echo 'deb [trusted=yes] file:/srv/empty ./' >/etc/apt/sources.list
rm -f /etc/apt/sources.list.d/*
"""


def test_it_installs_and_purges_without_a_trace(package: Path, tmp_path: Path) -> None:
    try:
        root = prepared_root(suite_under_test())
    except Unbootable as fault:
        pytest.skip(f"there is no root to test in: {fault}")
    script = tmp_path / "scripts" / "post_chroot_unpack_offline"
    script.parent.mkdir()
    script.write_text(OFFLINE, encoding="utf-8")
    script.chmod(0o755)
    command = [
        # Without a network: what piuparts wanted to fetch, the test would not know of.
        *("unshare", "--net", "--", needs("piuparts"), f"--existing-chroot={root}"),
        *("--keep-sources-list", f"--distribution={suite_under_test()}", "--no-eatmydata"),
        *("--do-not-verify-signatures", "--no-upgrade-test", f"--scriptsdir={script.parent}"),
        *(f"--tmpdir={tmp_path}", *(f"--ignore={path}" for path in KEPT)),
        str(package),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    failures = [line for line in said.splitlines() if " FAIL" in line]
    assert done.returncode == 0, "\n".join([*failures, said[-5000:]])
    assert "PASS: Installation and purging test" in said
