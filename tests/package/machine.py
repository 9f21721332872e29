"""A Debian machine with a real systemd and no network, booted by systemd-nspawn in a second."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "roots"
HAMMER = Path(__file__).with_name("hammer.py")
PACKAGES = (
    "systemd-sysv,dbus,curl,procps,iproute2,logrotate,cron,supervisor,prometheus-node-exporter"
)
#: What only some tests need beside those; a root of its own holds them.
FLAVOURS = {"": "", "tools": ",nginx,ssl-cert,autopkgtest,apt-utils,ufw"}
HANG_SECONDS = 120.0
UBUNTU = "http://archive.ubuntu.com/ubuntu"
_UBUNTU_KEYRING = "pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb"
_UBUNTU_KEYRING_SHA256 = "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8"
_REBOOT_STATUS = 133  # systemd-nspawn --keep-unit ends with it when the guest wants to reboot
_UNIT = "inference-appliance"


class Unbootable(Exception):
    """This machine cannot boot another one; the text says why."""


def why_unbootable() -> str:
    """Return why no machine can be booted here, or an empty text."""
    if os.geteuid() != 0:
        return "systemd-nspawn needs root"
    for program in ("systemd-nspawn", "mmdebstrap", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed; scripts/test-package installs it"
    return ""


def suite_under_test() -> str:
    """Return the release that the machines of this run have."""
    return os.environ.get("APPLIANCE_PACKAGE_SUITE", "bookworm")


def prepared_root(suite: str, flavour: str = "") -> Path:
    """Given a release, return a root of it that is made once and then only copied."""
    root = CACHE / "-".join(filter(None, (suite, flavour)))
    if not (root / "etc" / "os-release").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(root, ignore_errors=True)
        include = f"--include={PACKAGES}{FLAVOURS[flavour]}"
        command = ["mmdebstrap", "--quiet", "--variant=apt", include]
        if suite == "noble":
            command += ["--components=main,universe", f"--keyring={_ubuntu_keyring()}"]
        command += [suite, str(root), *([UBUNTU] if suite == "noble" else [])]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            shutil.rmtree(root, ignore_errors=True)
            raise Unbootable(f"mmdebstrap {suite} failed: {made.stderr[-400:]}")
        (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n", encoding="utf-8")
        (root / "var" / "log" / "journal").mkdir(exist_ok=True)
        # Services of other packages would only take time and, on a shared kernel, fail.
        for unit in ("supervisor.service", "systemd-networkd-wait-online.service", "cron.service"):
            (root / "etc" / "systemd" / "system" / unit).symlink_to("/dev/null")
        for wanted in root.glob("etc/systemd/system/*.wants/nginx*"):
            wanted.unlink()  # the test that wants it starts it
    return root


def _ubuntu_keyring() -> Path:
    """Return the keys that Ubuntu's archive is signed with, which Debian 12 has no package of."""
    keyring = CACHE / "ubuntu-archive-keyring.gpg"
    if not keyring.exists():
        with urllib.request.urlopen(f"{UBUNTU}/{_UBUNTU_KEYRING}", timeout=60) as answer:
            content = answer.read()
        if hashlib.sha256(content).hexdigest() != _UBUNTU_KEYRING_SHA256:
            raise Unbootable("the package with Ubuntu's keys is not the one that is known here")
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "keyring.deb").write_bytes(content)
            subprocess.run(["dpkg-deb", "-x", f"{folder}/keyring.deb", folder], check=True)
            shutil.copy(f"{folder}/usr/share/keyrings/{keyring.name}", keyring)
    return keyring


class Machine:
    """One booted machine. The test that made it stops it."""

    def __init__(self, directory: Path, suite: str = "", flavour: str = "") -> None:
        source = prepared_root(suite or suite_under_test(), flavour)
        self.root = directory / "root"
        subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(self.root)], check=True)
        self._log = directory / "boot.log"
        self._name = f"ia-{os.getpid()}-{abs(hash(str(directory))) % 10000}"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self.leader = 0

    def boot(self) -> None:
        """Boot and wait until systemd says that everything runs."""
        self.leader = 0
        self._spawn("--boot", "--console=read-only")
        self.wait_for(self._has_leader, "the machine's systemd")
        self.run("systemctl is-system-running --wait", is_checked=False)

    def boot_again(self) -> None:
        """Reboot as an admin does and wait until everything runs."""
        assert self._nspawn is not None
        self.run("systemctl reboot", is_checked=False)
        status = self._nspawn.wait(HANG_SECONDS)
        assert status == _REBOOT_STATUS, status
        self.boot()

    def stop(self) -> None:
        """End the machine at once."""
        if self._nspawn is not None and self._nspawn.poll() is None:
            os.kill(self.leader, signal.SIGKILL)
            self._nspawn.wait(HANG_SECONDS)
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.root)], check=False)

    def run(
        self, command: str, *, is_checked: bool = True, most_seconds: float = HANG_SECONDS * 2
    ) -> "subprocess.CompletedProcess[str]":
        """Given a shell command, run it inside and return what it said."""
        entered = ["nsenter", "-t", str(self.leader), *_NAMESPACES]
        done = subprocess.run(
            [*entered, "env", "-i", _PATH, "HOME=/root", "LANG=C.UTF-8", "sh", "-c", command],
            capture_output=True,
            text=True,
            timeout=most_seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if is_checked and done.returncode:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def say(self, command: str) -> str:
        """Given a shell command, run it inside and return its output, stripped."""
        return self.run(command).stdout.strip()

    def install(self, package: Path) -> str:
        """Given a .deb, install it as an admin does and return what apt said."""
        shutil.copy(package, self.root / "root" / package.name)
        return self.say(
            "DEBIAN_FRONTEND=noninteractive apt-get install -y --allow-downgrades"
            f" /root/{package.name} 2>&1"
        )

    def unit(self, name: str, unit: str = _UNIT) -> str:
        """Given a property's name, return systemd's value of it."""
        return self.say(f"systemctl show --value -p {name} {unit}")

    def wait_until_active(self) -> None:
        """Wait until the service says that it is ready."""
        self.wait_for(lambda: self.unit("ActiveState") == "active", "an active service")

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Given a condition, wait until it holds; fail with the journal's end if it never does."""
        deadline = time.monotonic() + HANG_SECONDS
        while time.monotonic() < deadline:
            if condition():
                return
            time.sleep(0.1)
        raise AssertionError(f"waited for {what} in vain\n{self.journal()[-3000:]}")

    def journal(self, *, lines: int = 60) -> str:
        """Return the end of the service's journal."""
        if not self.leader:
            return self._log.read_text(errors="replace")
        return self.run(f"journalctl -u {_UNIT} -n {lines} --no-pager", is_checked=False).stdout

    def hammer(self, seconds: float, *, threads: int = 4) -> "Hammer":
        """Start to send predictions from inside for so long; the result is its `done()`."""
        key = (self.root / "var/lib/inference-appliance/admin-key").read_text().strip()
        picture = ROOT / "docs" / "samples" / "truck.jpg"
        command = ["nsenter", "-t", str(self.leader), "-n", sys.executable, str(HAMMER)]
        return Hammer([*command, str(seconds), str(threads), str(picture)], key)

    def _spawn(self, *arguments: str) -> None:
        """Start systemd-nspawn over the root, without a network, and return at once."""
        command = [
            *("systemd-nspawn", "-q", "-D", str(self.root), "--register=no", "--keep-unit"),
            *("--private-network", f"--machine={self._name}", *arguments),
        ]
        with self._log.open("ab") as log:
            self._nspawn = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                preexec_fn=_own_cgroup,
                start_new_session=True,
            )

    def _has_leader(self) -> bool:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            raise Unbootable(
                f"systemd-nspawn ended: {self._log.read_text(errors='replace')[-600:]}"
            )
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                self.leader = int(child)
        if not self.leader or not Path(f"/proc/{self.leader}").exists():
            return False
        state = self.run("systemctl is-system-running", is_checked=False).stdout.strip()
        return state in {"starting", "running", "degraded"}


class Hammer:
    """Requests under way, sent from inside of a machine."""

    def __init__(self, command: list[str], key: str) -> None:
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env={**os.environ, "HAMMER_KEY": key}
        )

    def done(self) -> dict[str, Any]:
        """Wait for the end and return the counts and times that hammer.py prints."""
        output, _ = self._process.communicate(timeout=HANG_SECONDS * 2)
        found: dict[str, Any] = json.loads(output)
        return found


_NAMESPACES = ("-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _own_cgroup() -> None:
    """Keep the machine's groups out of the host's root group."""
    for base in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        if (base / "cgroup.procs").exists():
            group = base / "inference-appliance-tests"
            group.mkdir(exist_ok=True)
            (group / "cgroup.procs").write_text(str(os.getpid()))
            return
