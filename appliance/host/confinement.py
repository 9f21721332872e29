"""What a child process gives up before it touches anything a client sent."""

import contextlib
import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Have the kernel send SIGKILL when the parent's thread that started this process ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def set_process_name(name: str) -> None:
    """Given a name, show its first 15 bytes in `ps` and `top`, so an admin sees which model eats memory."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def confine(*, memory_bytes: int, open_files: int = 256) -> None:
    """Limit this process for good: address space, open files, no core dump, first choice of the OOM killer."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = open_files if hard == resource.RLIM_INFINITY else min(open_files, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def reset_signals() -> None:
    """Undo what the parent did to signals; the front decides when a child ends, not the terminal."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)


def allowed_cores() -> int:
    """Return how many cores this process may use: affinity, then the cgroup's quota, rounded up."""
    cores = len(os.sched_getaffinity(0))
    for path in ("/sys/fs/cgroup/cpu.max",):
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            quota, period = file.read().split()[:2]
            if quota != "max":
                cores = min(cores, max(1, -(-int(quota) // int(period))))
    return cores
