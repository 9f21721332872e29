"""A whole virtual machine with a kernel of its own, for what a container cannot be done to.

Its power can be cut, its memory is small or capped for real, and its clock can be set. QEMU runs
it by KVM where /dev/kvm can be used, and by emulation, many times slower, where not.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.package.machine import CACHE, Unbootable

HANG_SECONDS = 1600.0
_COMMAND_SECONDS = 1500.0
_PROBE_SECONDS = 15.0
_QEMU = "qemu-system-x86_64"
_SUITE = "bookworm"
_PACKAGES = (
    "systemd-sysv,dbus,curl,procps,iproute2,logrotate,python3,linux-image-cloud-amd64,"
    "initramfs-tools"
)
_DISK_BYTES = 3_000_000_000
#: Runs inside: one JSON line with a command comes in, one with what it said goes out.
_AGENT = """
import json, subprocess, time
port = open("/dev/virtio-ports/agent", "r+b", buffering=0)
line = b""
while True:
    piece = port.read(1)
    if not piece:
        time.sleep(0.05)  # nobody is connected
    elif piece != b"\\n":
        line += piece
    else:
        done = subprocess.run(["sh", "-c", json.loads(line)], capture_output=True,
                              stdin=subprocess.DEVNULL)
        answer = [done.returncode, done.stdout.decode(errors="replace"),
                  done.stderr.decode(errors="replace")]
        answer = json.dumps(answer).encode() + b"\\n"
        while answer:
            answer = answer[port.write(answer) :]
        line = b""
"""
_FILES_INSIDE = {
    "usr/local/sbin/agent.py": _AGENT,
    "etc/systemd/system/agent.service": (
        "[Unit]\nAfter=dev-virtio\\x2dports-agent.device\n"
        "Wants=dev-virtio\\x2dports-agent.device\n"
        "[Service]\nExecStart=/usr/bin/python3 -u /usr/local/sbin/agent.py\n"
        "Environment=HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive\n"
        "Restart=always\nRestartSec=1\nOOMScoreAdjust=-1000\n"
    ),
    # All that QEMU's own network knows is this one guest and the ports that lead to it.
    "etc/systemd/network/10-only.network": (
        "[Match]\nType=ether\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
    ),
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/hostname": "virtual\n",
}
#: What is inside is part of the name, so that a change of it is not overlooked.
_CONTENT = repr((_SUITE, _PACKAGES, _DISK_BYTES, _FILES_INSIDE)).encode()
_FILES = CACHE / f"{_SUITE}-virtual-{hashlib.sha256(_CONTENT).hexdigest()[:8]}"


def why_no_virtual_machine() -> str:
    """Return why no virtual machine can be run here, or an empty text."""
    if os.geteuid() != 0:
        return "its disk is made as root"
    for program in (_QEMU, "mmdebstrap", "mkfs.ext4"):
        if shutil.which(program) is None:
            return f"{program} is not installed; scripts/test-package --all installs it"
    return ""


def prepared_files() -> Path:
    """Return the directory with a kernel, its first disk and a root's disk; made once."""
    if (_FILES / "disk.img").exists():
        return _FILES
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as made:
        root = Path(made) / "root"
        command = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={_PACKAGES}", _SUITE]
        done = subprocess.run([*command, str(root)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unbootable(f"mmdebstrap {_SUITE} failed: {done.stderr[-400:]}")
        _complete(root)
        _FILES.mkdir(exist_ok=True)
        for name, pattern in (("kernel", "vmlinuz-*"), ("initrd", "initrd.img-*")):
            shutil.copy(next((root / "boot").glob(pattern)), _FILES / name)
        disk = Path(made) / "disk.img"
        with disk.open("wb") as file:
            file.truncate(_DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-d", str(root), str(disk)], check=True)
        disk.rename(_FILES / "disk.img")
    return _FILES


def _complete(root: Path) -> None:
    """Give a root what makes it boot by itself and obey the test."""
    for name, text in _FILES_INSIDE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "agent.service").symlink_to("/etc/systemd/system/agent.service")
    networkd = "/lib/systemd/system/systemd-networkd.service"
    (wants / "systemd-networkd.service").symlink_to(networkd)
    (root / "var/log/journal").mkdir(exist_ok=True)


@functools.cache
def accelerator() -> str:
    """Return what QEMU can run a machine by here: "kvm", or "tcg", which emulates it slowly.

    /dev/kvm being there proves nothing: inside of some virtual machines it lets a guest begin and
    never go on. So a kernel without a disk is started, to see whether it says a word.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    command = [
        *(_QEMU, "-accel", "kvm", "-cpu", "max", "-m", "512", "-nodefaults", "-display", "none"),
        *("-serial", "stdio", "-kernel", str(prepared_files() / "kernel")),
        *("-append", "console=ttyS0 earlyprintk=serial panic=-1", "-no-reboot"),
    ]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_SECONDS
        )
        said = done.stdout
    except subprocess.TimeoutExpired as ended:
        said = ended.stdout or b""
    return "kvm" if b"Linux version" in said else "tcg"


class VirtualMachine:
    """One virtual machine with the package beside it as a disk. The test that made it ends it."""

    def __init__(self, directory: Path, package: Path) -> None:
        files = prepared_files()
        self._kernel, self._initrd = files / "kernel", files / "initrd"
        self.disk = directory / "disk.img"
        self._package = directory / "package.img"
        self._package_bytes = package.stat().st_size
        self._log = directory / "console.log"
        # The path of a socket may only have 108 bytes, which pytest's directories may exceed.
        self._sockets = tempfile.TemporaryDirectory(prefix="ia-vm-")
        copied = ["cp", "--sparse=always", "--reflink=auto", str(files / "disk.img")]
        subprocess.run([*copied, str(self.disk)], check=True)
        shutil.copy(package, self._package)
        os.truncate(self._package, -(-self._package_bytes // 512) * 512)
        self._process: subprocess.Popen[bytes] | None = None
        self._agent: socket.socket | None = None
        self.port = 0

    def boot(self, *, memory_mebibytes: int = 2048) -> None:
        """Boot with so much memory and wait until it obeys."""
        self.port = _free_port()
        place = Path(self._sockets.name) / "agent"
        place.unlink(missing_ok=True)
        console = "root=/dev/vda rw console=ttyS0 quiet panic=-1"
        forwarded = f"hostfwd=tcp:127.0.0.1:{self.port}-:8080"
        command = [
            *(_QEMU, "-accel", accelerator(), "-cpu", "max", "-smp", "2"),
            *("-m", str(memory_mebibytes), "-nodefaults", "-display", "none", "-no-reboot"),
            *("-serial", f"file:{self._log}", "-kernel", str(self._kernel)),
            *("-initrd", str(self._initrd), "-append", console),
            *("-drive", f"file={self.disk},if=virtio,format=raw,cache=writeback"),
            *("-drive", f"file={self._package},if=virtio,format=raw,readonly=on"),
            *(
                "-netdev",
                f"user,id=n,restrict=on,{forwarded}",
                "-device",
                "virtio-net-pci,netdev=n",
            ),
            *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
            *("-chardev", f"socket,id=a,path={place},server=on,wait=off"),
            *("-device", "virtserialport,chardev=a,name=agent"),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self._agent = None
        self.wait_for(place.exists, "QEMU's socket")
        self._agent = socket.socket(socket.AF_UNIX)
        self._agent.connect(str(place))
        self.say("true")

    def cut_power(self) -> None:
        """End the machine between two instructions, as a pulled plug does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._agent is not None:
            self._agent.close()

    def end(self) -> None:
        """Cut the power for good and remove what it has left."""
        self.cut_power()
        self._sockets.cleanup()
        self.disk.unlink(missing_ok=True)
        self._package.unlink(missing_ok=True)

    def run(self, command: str) -> tuple[int, str, str]:
        """Given a shell command, run it inside as root; return its status and what it said."""
        assert self._agent is not None
        self._agent.settimeout(HANG_SECONDS)
        self._agent.sendall(
            json.dumps(f"timeout {_COMMAND_SECONDS:.0f} sh -c '{_quoted(command)}'").encode()
            + b"\n"
        )
        answer = b""
        while not answer.endswith(b"\n"):
            piece = self._agent.recv(65536)
            if not piece:
                raise AssertionError(f"the machine ended during: {command}\n{self.console()}")
            answer += piece
        status, said, complained = json.loads(answer)
        return int(status), str(said), str(complained)

    def say(self, command: str) -> str:
        """Given a shell command that works, run it inside and return its output, stripped."""
        status, said, complained = self.run(command)
        assert status == 0, f"{command}: {status}\n{said}{complained}"
        return said.strip()

    def install(self) -> None:
        """Install the package as an admin does."""
        self.say(f"head -c {self._package_bytes} /dev/vdb > /root/inference-appliance.deb")
        self.say("apt-get install -y /root/inference-appliance.deb; rm /root/*.deb; sync")

    def unit(self, name: str) -> str:
        """Given a property's name, return systemd's value of it."""
        return self.say(f"systemctl show --value -p {name} inference-appliance")

    def wait_until_active(self) -> float:
        """Wait until the service is ready; return the seconds that took."""
        began = time.monotonic()
        self.wait_for(lambda: self.unit("ActiveState") == "active", "an active service")
        return time.monotonic() - began

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Given a condition, wait until it holds; fail with what the machine said if never."""
        deadline = time.monotonic() + HANG_SECONDS
        while time.monotonic() < deadline:
            if condition():
                return
            assert self._process is not None
            assert self._process.poll() is None, f"QEMU ended\n{self.console()}"
            time.sleep(0.2)
        raise AssertionError(f"waited for {what} in vain\n{self.console()}{self.journal()}")

    def console(self) -> str:
        """Return the end of what the kernel and systemd wrote to the console."""
        with contextlib.suppress(OSError):
            return self._log.read_text(errors="replace")[-3000:]
        return ""

    def journal(self, *, lines: int = 60) -> str:
        """Return the end of the service's journal."""
        return self.run(f"journalctl -u inference-appliance -n {lines} --no-pager")[1]


def _quoted(command: str) -> str:
    return command.replace("'", "'\\''")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
