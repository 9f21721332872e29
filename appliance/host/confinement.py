"""What a child process gives up before it touches anything a client sent."""

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_NAME = 15
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Have the kernel send SIGKILL when the thread that started this process ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def set_process_name(name: str) -> None:
    """Given a name, show its first 15 bytes in `ps`, so an admin sees which model eats memory."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def confine(*, memory_bytes: int, open_files: int) -> None:
    """Given its largest address space and number of open files, limit this process for good.

    It also leaves no core dump behind and becomes the first choice of the kernel's OOM killer, so
    that the front outlives it.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, open_files)
    _limit(resource.RLIMIT_AS, memory_bytes)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _limit(kind: int, wanted: int) -> None:
    """Set a limit, or keep a lower one from outside: raising it would need a privilege."""
    hard = resource.getrlimit(kind)[1]
    bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (bound, bound))


def leave_ending_to_the_front() -> None:
    """Ignore the signals by which a terminal or supervisor ends a whole group of processes.

    The front stops gracefully and still needs its children then; it ends them with SIGKILL.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)


def reset_signals() -> None:
    """Undo what the nursery set up to hear of its children."""
    leave_ending_to_the_front()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def allowed_cores(*, cgroups: Path = _CGROUPS, own_cgroup: Path = _OWN_CGROUP) -> int:
    """Return how many cores this process may use: affinity, then CPU quotas, rounded up.

    The quota of every group above this process counts: systemd's `CPUQuota=` is on the service's
    own group, a container's on its root. `cgroups` and `own_cgroup` are the kernel's files.
    """
    cores = len(os.sched_getaffinity(0))
    for group in _groups(cgroups, own_cgroup):
        with contextlib.suppress(OSError, ValueError):
            quota, period = (group / "cpu.max").read_text().split()[:2]
            if quota != "max":
                cores = min(cores, max(1, -(-int(quota) // int(period))))
    return cores


def _groups(cgroups: Path, own_cgroup: Path) -> list[Path]:
    """Return the directory of this process's group in cgroup v2 and of all groups above it."""
    groups = [cgroups]
    with contextlib.suppress(OSError):
        for line in own_cgroup.read_text().splitlines():
            if line.startswith("0::/"):
                own = Path(line.removeprefix("0::/"))
                groups += [cgroups / own, *(cgroups / above for above in own.parents)]
    return groups
