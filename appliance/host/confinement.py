"""What a child process gives up before it touches anything a client sent."""

import contextlib
import ctypes
import errno
import os
import resource
import signal
import struct
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_NAME = 15
_NICEST = 19
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000  # unshare(2)
_BPF_LOAD, _BPF_JUMP_EQUAL, _BPF_JUMP_ABOVE, _BPF_RETURN = 0x20, 0x15, 0x35, 0x06  # linux/filter.h
_SECCOMP_ALLOW, _SECCOMP_ERROR = 0x7FFF0000, 0x00050000
_FOREIGN_CALLS = 0x40000000
#: By machine (`uname -m`): its number in linux/audit.h and those of its calls socket, socketpair,
#: bind, listen, connect, io_uring_setup, execve and execveat. A pair of datagram sockets is as
#: good as a socket: it can send to any name on this machine.
_FORBIDDEN_CALLS = {
    "x86_64": (0xC000003E, (41, 53, 49, 50, 42, 425, 59, 322)),
    "aarch64": (0xC00000B7, (198, 199, 200, 201, 203, 425, 221, 281)),
}
_CALL_NUMBER_AT, _MACHINE_AT = 0, 4  # struct seccomp_data
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


def bound_work(*, cpu_seconds: int, file_bytes: int) -> None:
    """Given bounds on this process's time on all cores and on each file it writes, set them."""
    _limit(resource.RLIMIT_CPU, cpu_seconds)
    _limit(resource.RLIMIT_FSIZE, file_bytes)


def yield_to_others() -> None:
    """Run only where nobody else wants the core or the disk, so that what is served never waits.

    SCHED_IDLE: whoever else wakes takes the core at once, and a core that runs nothing else counts
    as free (sched(7)); the class of input and output follows from the nice value (ioprio_set(2)).
    """
    # Either may be forbidden from outside, which is no reason not to work.
    with contextlib.suppress(OSError):
        os.nice(_NICEST)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


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


def leave_network() -> bool:
    """Take the network from this process for good, twice over; return whether one way worked.

    First it moves to a network namespace of its own, which has no addresses; where that is
    forbidden (systemd's RestrictNamespaces=), a filter still refuses every new socket. Sockets it
    was handed before go on working, and so do files of devices, by which drivers of GPUs and
    NPUs work. Call it before the first thread is started: a filter is a thread's own.
    """
    is_alone = any(_libc.unshare(flags) == 0 for flags in (_NEW_NETWORK, _NEW_USER | _NEW_NETWORK))
    return _refuse_sockets() or is_alone


def _refuse_sockets() -> bool:
    """Have the kernel answer EACCES to calls that open a socket (seccomp(2), classic BPF).

    An unknown machine keeps its sockets: the numbers of system calls differ between machines.
    """
    machine, numbers = _FORBIDDEN_CALLS.get(os.uname().machine, (0, ()))
    if not numbers:
        return False
    refuse = len(numbers) + 1
    program = [
        (_BPF_LOAD, 0, 0, _MACHINE_AT),
        (_BPF_JUMP_EQUAL, 0, refuse + 2, machine),  # 32-bit calls have other numbers
        (_BPF_LOAD, 0, 0, _CALL_NUMBER_AT),
        (_BPF_JUMP_ABOVE, refuse, 0, _FOREIGN_CALLS),  # x32 calls would slip past the others
        *(
            (_BPF_JUMP_EQUAL, refuse - 1 - position, 0, number)
            for position, number in enumerate(numbers)
        ),
        (_BPF_RETURN, 0, 0, _SECCOMP_ALLOW),
        (_BPF_RETURN, 0, 0, _SECCOMP_ERROR | errno.EACCES),
    ]
    packed = b"".join(struct.pack("HBBI", *step) for step in program)
    steps = ctypes.create_string_buffer(packed, len(packed))
    described = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(steps))
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    filtered = ctypes.create_string_buffer(described, len(described))
    return bool(_libc.prctl(_PR_SET_SECCOMP, 2, ctypes.c_void_p(ctypes.addressof(filtered))) == 0)
