"""A Debian without systemd as its first process and without a network: what a container is."""

import os
import subprocess
from pathlib import Path

from tests.package.machine import Machine, Unbootable


class Container(Machine):
    """One running container, entered as a machine is. The test that made it stops it."""

    def boot(self) -> None:
        """Start it; its only process waits for ever."""
        command = [
            *("systemd-nspawn", "-q", "-D", str(self.root), "--register=no", "--keep-unit"),
            *("--as-pid2", "--private-network", f"--machine={self._name}"),
            *("sleep", "infinity"),
        ]
        with self._log.open("ab") as log:
            self._nspawn = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )
        self.wait_for(self._has_sleeper, "the container's first process")

    def _has_sleeper(self) -> bool:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            said = self._log.read_text(errors="replace")
            raise Unbootable(f"systemd-nspawn ended: {said[-600:]}")
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        for child in children.read_text().split():
            inside = Path(f"/proc/{child}/task/{child}/children")
            if inside.exists() and inside.read_text().split():
                self.leader = int(child)
        return self.leader != 0 and self.run("true", is_checked=False).returncode == 0
