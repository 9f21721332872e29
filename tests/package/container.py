"""A Debian without systemd as its first process and without a network: what a container is."""

from pathlib import Path

from tests.package.machine import Machine, Unbootable


class Container(Machine):
    """One running container, entered as a machine is. The test that made it stops it."""

    def boot(self) -> None:
        """Start it; its only process waits for ever."""
        self._spawn("--as-pid2", "sleep", "infinity")
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
