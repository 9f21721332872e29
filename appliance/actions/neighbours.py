"""Who else is on this machine: whoever has our port or our state, and the firewall before them."""

import contextlib
import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from appliance.actions import firewall
from appliance.actions.findings import FAULT, OK, UNKNOWN, WARNING, Finding, Scene
from appliance.clock import SystemClock
from appliance.store.integrity import LOCK_NAME

_LOOPBACKS = frozenset({"127.0.0.1", "::1", "localhost"})
#: A start that compiles its models may be silent for so long.
_START_SECONDS = 180.0
_MOST_WORDS = 100
TAKEN = "it is taken"


class Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    """A process, as far as the caller may look at it."""

    process: int
    command: str
    #: The systemd unit it belongs to, or an empty text.
    unit: str
    age_seconds: float

    def __str__(self) -> str:
        unit = f", unit {self.unit}" if self.unit else ""
        return f"{self.command or 'a process'} (process {self.process}{unit})"

    @property
    def end_it(self) -> str:
        """The command that ends it."""
        return f"systemctl stop {self.unit}" if self.unit else f"kill {self.process}"


def instance(scene: Scene) -> Iterator[Finding]:
    """Given the scene, tell who has the sole right to the state directory."""
    holder = holder_of(scene.state, locks=scene.proc / "locks")
    if holder is None:
        return
    if scene.health is None:
        yield _silent(holder, scene)
        return
    main = scene.unit("MainPID")
    if main and main != str(holder.process):
        yield Finding(
            subject="instance",
            level=WARNING,
            text=f"{holder} uses {scene.state}, and systemd did not start it: the service cannot"
            " run beside it.",
            advice=f"{holder.end_it}; systemctl restart inference-appliance",
        )
    else:
        yield Finding(
            subject="instance",
            level=OK,
            text=f"Process {holder.process} is the only one that uses {scene.state}.",
        )


def _silent(holder: Neighbour, scene: Scene) -> Finding:
    """Return what to think of an appliance that has the state and does not answer."""
    if holder.age_seconds < _START_SECONDS:
        return Finding(
            subject="instance",
            level=WARNING,
            text=f"{holder} has {scene.state} and does not answer yet. It started"
            f" {holder.age_seconds:.0f} s ago.",
            advice="Wait a little; journalctl -fu inference-appliance shows how far it is.",
        )
    is_service = holder.unit == "inference-appliance.service"
    restarted = "systemctl restart inference-appliance"
    return Finding(
        subject="instance",
        level=FAULT,
        text=f"{holder} has {scene.state} and does not answer: nobody else can use it.",
        advice=restarted if is_service else f"{holder.end_it}; {restarted}",
    )


def ports(scene: Scene) -> Iterator[Finding]:
    """Given the scene, tell whether the ports are free for us or ours already."""
    http, streams = scene.config.http, scene.config.streams
    if scene.health is None:  # else our own appliance has it
        yield from _port("http.port", http.host, http.port, scene)
    yield from _port("streams.gateway_port", streams.gateway_host, streams.gateway_port, scene)


def _port(setting: str, host: str, port: int, scene: Scene) -> Iterator[Finding]:
    fault = port_fault(host, port) if port else ""
    holder = listener_on(port) if fault == TAKEN else None
    if not port or (holder is not None and _is_ours(holder)):
        return
    if not fault:
        if scene.health is None:
            yield Finding(subject="port", level=OK, text=f"Port {port} ({setting}) is free.")
        return
    if fault == TAKEN and holder is None and not scene.is_root:
        yield Finding(
            subject="port", level=UNKNOWN, text=f"Port {port} is taken; only root may see by whom."
        )
        return
    whose = f"is taken by {holder}" if holder else f"cannot be had: {fault}"
    move = f"set {setting} to another number and restart the service"
    yield Finding(
        subject="port",
        level=FAULT,
        text=f"Port {port} {whose}.",
        advice=f"{holder.end_it}; or {move}." if holder else f"{move.capitalize()}.",
    )


def _is_ours(holder: Neighbour) -> bool:
    """Return whether the appliance itself listens, or systemd keeps the port for it."""
    if holder.process == 1 or holder.unit.startswith("inference-appliance"):
        return True
    return holder.command.endswith("stream-gateway")


def firewalls(scene: Scene) -> Iterator[Finding]:
    """Given the scene, tell whether a firewall keeps clients away from the port."""
    port = scene.config.http.port
    if scene.config.http.host in _LOOPBACKS or not port:
        return  # nobody comes from outside
    if not scene.is_root:
        yield Finding(
            subject="firewall", level=UNKNOWN, text="Only root may read the rules of a firewall."
        )
        return
    judged = firewall.judge(port, scene.ask)
    if judged is None:
        text = f"No firewall of this machine keeps clients away from port {port}."
        yield Finding(subject="firewall", level=OK, text=text)
    elif judged.outcome == firewall.OPEN:
        text = f"{judged.by} lets clients in to port {port}."
        yield Finding(subject="firewall", level=OK, text=text)
    elif judged.outcome == firewall.CLOSED:
        yield Finding(
            subject="firewall",
            level=WARNING,
            text=f"{judged.by} lets no client in to port {port}: only this machine can use it.",
            advice=_opened(judged.by, port),
        )
    else:
        yield Finding(
            subject="firewall",
            level=UNKNOWN,
            text=f"Whether {judged.by} lets clients in to port {port} depends on who they are.",
            advice=_listed(judged.by),
        )


def _opened(firewall_name: str, port: int) -> str:
    """Return how an admin opens a port."""
    return {
        "ufw": f"ufw allow {port}/tcp",
        "firewalld": f"firewall-cmd --permanent --add-port={port}/tcp; firewall-cmd --reload",
        "iptables": f"iptables -I INPUT -p tcp --dport {port} -j ACCEPT; then save the rules.",
    }.get(firewall_name, f"Put 'tcp dport {port} accept' into the input chain (nft list ruleset).")


def _listed(firewall_name: str) -> str:
    """Return what shows an admin the rules."""
    shown = {
        "ufw": "ufw status",
        "firewalld": "firewall-cmd --list-all",
        "iptables": "iptables -S",
    }
    return f"{shown.get(firewall_name, 'nft list ruleset')} shows the rules."


def port_fault(host: str, port: int) -> str:
    """Given an address to listen on, return why that cannot be done now, or an empty text."""
    try:
        kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as fault:
        return f"{host} is no address of this machine ({fault.strerror})"
    with socket.socket(kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen()  # two may bind with SO_REUSEADDR, only one may listen
        except OSError as fault:
            if fault.errno == errno.EADDRINUSE:
                return TAKEN
            return fault.strerror or str(fault)
    return ""


def listener_on(port: int) -> Neighbour | None:
    """Given a TCP port, return who listens on it; None when nobody does or it cannot be seen."""
    try:
        found = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return None
    for each in found:
        if (
            each.status == psutil.CONN_LISTEN
            and each.laddr
            and each.laddr.port == port
            and each.pid
        ):
            return neighbour(each.pid)
    return None


def holder_of(state: Path, *, locks: Path = Path("/proc/locks")) -> Neighbour | None:
    """Given a state directory, return who has the sole right to it; None for nobody.

    The kernel's list of locks is read (proc_locks(5)). Trying to lock would be surer, and could
    keep an appliance from starting that tries in the same moment.
    """
    try:
        facts = (state / LOCK_NAME).stat()
        lines = locks.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if "FLOCK" not in words or "->" in words:
            continue
        place = words[words.index("FLOCK") + 4]
        # The device is not compared: on some file systems stat tells another one than the kernel.
        number = words[words.index("FLOCK") + 3]
        # A holder inside of a container has the number 0 here.
        if place.rpartition(":")[2] == str(facts.st_ino) and number.isdigit() and int(number):
            return neighbour(int(number))
    return None


def neighbour(process: int) -> Neighbour:
    """Given a process id, return what may be known of it."""
    now = SystemClock().wall_seconds()
    command, started = "", now
    with contextlib.suppress(psutil.Error, OSError):
        found = psutil.Process(process)
        command, started = found.name(), found.create_time()
        if words := found.cmdline():
            command = " ".join([Path(words[0]).name, *words[1:]])[:_MOST_WORDS]
    return Neighbour(
        process=process,
        command=command,
        unit=_unit_of(process),
        age_seconds=max(0.0, now - started),
    )


def _unit_of(process: int) -> str:
    """Return the service a process belongs to by its control group, or an empty text."""
    try:
        text = Path(f"/proc/{process}/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for part in reversed(text.replace("\n", "/").split("/")):
        if part.endswith(".service"):
            return part
    return ""
