"""Doctor: what usually goes wrong on a box, looked at one by one, each with what to do about it.

It looks from outside and changes nothing, so that it also works while the appliance is down.
"""

import grp
import pwd
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.actions import neighbours, told_by_health
from appliance.actions.findings import FAULT, OK, UNKNOWN, WARNING, Finding, Scene

_LOW_SHARE = 0.07
_WARN_SHARE = 0.15
_OLDEST_SANE_SECONDS = 1_750_000_000  # the middle of 2025: no box is older than its release
_DAY_SECONDS = 86400.0
#: What the CPU plugin of OpenVINO needs at least, and what makes it quick.
_NEEDED_FLAGS = frozenset({"sse4_2"})
_QUICK_FLAGS = ("avx2", "avx512f", "avx512_vnni", "amx_tile")


def examine(scene: Scene) -> list[Finding]:
    """Given the scene, return a finding for everything that was looked at."""
    return [finding for check in _CHECKS for finding in check(scene)]


def _service(scene: Scene) -> Iterator[Finding]:
    if scene.health is None and not scene.may_ask:
        yield Finding(
            subject="service",
            level=UNKNOWN,
            text="This user may not ask the appliance how it is.",
            advice="sudo appliance doctor",
        )
        return
    if scene.health is None:
        state = scene.unit("ActiveState")
        known = f" systemd says: {state}." if state else ""
        yield Finding(
            subject="service",
            level=FAULT,
            text=f"The appliance does not run: nobody answers on its admin socket.{known}",
            advice="systemctl start inference-appliance; journalctl -eu inference-appliance",
        )
        return
    reasons = scene.health.get("reasons") or ()
    status = str(scene.health.get("status", "unknown"))
    yield Finding(
        subject="service",
        level={"ok": OK, "degraded": WARNING}.get(status, FAULT),
        text=f"It answers and calls itself {status}"
        + (f": {'; '.join(map(str, reasons))}." if isinstance(reasons, list) and reasons else "."),
        advice="" if status == "ok" else "The reasons are also at /health.",
    )


def _unit(scene: Scene) -> Iterator[Finding]:
    enabled = scene.unit("UnitFileState")
    if not enabled:
        return
    if enabled != "enabled":
        yield Finding(
            subject="unit",
            level=WARNING,
            text=f"The unit is {enabled}: it does not start with the machine.",
            advice="systemctl unmask inference-appliance; systemctl enable inference-appliance",
        )
    restarts = scene.unit("NRestarts")
    if restarts.isdigit() and int(restarts) > 0:
        yield Finding(
            subject="unit",
            level=WARNING,
            text=f"systemd has started the service {restarts} times again since it was started.",
            advice="journalctl -u inference-appliance tells why it ended.",
        )
    if enabled == "enabled" and restarts in ("", "0"):
        yield Finding(subject="unit", level=OK, text="The unit is enabled and has not failed.")


def _permissions(scene: Scene) -> Iterator[Finding]:
    for name, path in (("state", scene.state), ("backups", scene.backups)):
        try:
            facts = path.stat()
        except FileNotFoundError:
            yield Finding(
                subject="directories",
                level=FAULT,
                text=f"The directory of the {name}, {path}, does not exist.",
                advice="systemd-tmpfiles --create inference-appliance.conf",
            )
            continue
        except PermissionError:
            yield Finding(
                subject="directories",
                level=WARNING,
                text=f"{path} may not be looked at by this user.",
                advice="Run the doctor as root.",
            )
            continue
        if facts.st_mode & stat.S_IRWXO:
            yield Finding(
                subject="directories",
                level=WARNING,
                text=f"Everybody on this machine may look into {path}.",
                advice=f"chmod o-rwx {path}",
            )
        else:
            yield Finding(
                subject="directories",
                level=OK,
                text=f"The directory of the {name}, {path}, belongs to {_user(facts.st_uid)}.",
            )
    yield from _strangers(scene.state)


def _strangers(state: Path) -> Iterator[Finding]:
    """A file of root's among the state is what a command run as root in the wrong way leaves."""
    try:
        owner = state.stat().st_uid
        found = [path for path in state.iterdir() if path.lstat().st_uid != owner]
    except OSError:
        return
    if found:
        yield Finding(
            subject="directories",
            level=FAULT,
            text=f"{found[0]} does not belong to {_user(owner)}, as the rest of the state does.",
            advice=f"chown {_user(owner)}: {found[0]}",
        )


def _disk(scene: Scene) -> Iterator[Finding]:
    for name, path in (("state", scene.state), ("backups", scene.backups)):
        try:
            usage = shutil.disk_usage(path)
        except OSError:
            continue  # told by the check of the directories
        share = usage.free / usage.total if usage.total else 0.0
        level = FAULT if share < _LOW_SHARE else WARNING if share < _WARN_SHARE else OK
        yield Finding(
            subject="disk",
            level=level,
            text=f"The disk of the {name} has {usage.free / 1e9:.1f} GB free, {share:.0%} of it.",
            advice=""
            if level == OK
            else "Make room: copy old backups away, lower history.keep_days.",
        )


def _clock(scene: Scene) -> Iterator[Finding]:
    if scene.now_seconds < _OLDEST_SANE_SECONDS:
        yield Finding(
            subject="clock",
            level=FAULT,
            text=f"The clock says {time.strftime('%Y-%m-%d', time.gmtime(scene.now_seconds))}.",
            advice="timedatectl set-ntp true, or set it by hand.",
        )
    else:
        yield Finding(subject="clock", level=OK, text="The clock shows a sane time.")


def _processor(scene: Scene) -> Iterator[Finding]:
    try:
        text = (scene.proc / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    lines = [line for line in text.splitlines() if line.startswith("flags")]
    flags = set(lines[0].partition(":")[2].split()) if lines else set()
    if not flags:
        return
    if not flags >= _NEEDED_FLAGS:
        yield Finding(
            subject="processor",
            level=FAULT,
            text="This processor lacks SSE 4.2, which OpenVINO needs.",
            advice="In a virtual machine, choose the processor type 'host'.",
        )
        return
    quick = [flag for flag in _QUICK_FLAGS if flag in flags]
    yield Finding(
        subject="processor",
        level=OK if quick else WARNING,
        text=f"The processor has {', '.join(quick) or 'no vector extensions beyond SSE'}.",
        advice="" if quick else "In a virtual machine, choose the processor type 'host'.",
    )


def _devices(scene: Scene) -> Iterator[Finding]:
    nodes = [*(scene.dev / "dri").glob("renderD*"), *(scene.dev / "accel").glob("accel*")]
    if not nodes:
        return  # a machine without GPU and NPU lacks nothing
    if scene.unit("PrivateDevices") == "yes":
        yield Finding(
            subject="GPU and NPU",
            level=OK,
            text=f"{nodes[0]} is there but hidden from the service (the default).",
            advice="To use it, see gpu-npu.conf in /usr/share/doc/inference-appliance/examples.",
        )
        return
    group = _group(nodes[0].stat().st_gid)
    given = scene.unit("SupplementaryGroups").split()
    if given and group not in given:
        yield Finding(
            subject="GPU and NPU",
            level=FAULT,
            text=f"{nodes[0]} belongs to the group {group}, which the service does not have.",
            advice=f"Write SupplementaryGroups={group} into the drop-in gpu-npu.conf.",
        )


def _backup(scene: Scene) -> Iterator[Finding]:
    if not scene.may_see_backups:
        yield Finding(
            subject="backup", level=UNKNOWN, text="Only root may look into the backups' directory."
        )
        return
    if scene.newest_backup_seconds is None:
        is_new = scene.health is not None and _uptime(scene.health) < _DAY_SECONDS
        yield Finding(
            subject="backup",
            level=OK if is_new else WARNING,
            text="There is no backup yet.",
            advice="appliance backup",
        )
        return
    age = scene.now_seconds - scene.newest_backup_seconds
    is_old = age > scene.config.backup.max_age_seconds
    yield Finding(
        subject="backup",
        level=WARNING if is_old else OK,
        text=f"The newest backup is {age / 3600:.0f} hours old.",
        advice="systemctl status inference-appliance-backup; or: appliance backup"
        if is_old
        else "",
    )


def _uptime(health: dict[str, object]) -> float:
    value = health.get("uptime_seconds")
    return float(value) if isinstance(value, int | float) else 0.0


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


_CHECKS: tuple[Callable[[Scene], Iterator[Finding]], ...] = (
    _service,
    _unit,
    told_by_health.models,
    told_by_health.database,
    _permissions,
    _disk,
    neighbours.instance,
    neighbours.ports,
    neighbours.firewalls,
    _clock,
    told_by_health.clock,
    _processor,
    _devices,
    _backup,
)
