import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.host.confinement import allowed_cores


def run(program: str) -> str:
    found = subprocess.run(
        [sys.executable, "-c", f"import os, resource, signal\n{program}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


CONFINE = "from appliance.host import confinement\n"


def test_a_confined_process_cannot_take_more_memory_than_it_may() -> None:
    found = run(
        CONFINE + "confinement.confine(memory_bytes=1 << 28, open_files=64)\n"
        "try:\n    bytearray(1 << 29)\n"
        "except MemoryError:\n    print('refused', resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    assert found == "refused (64, 64)"


def test_bounded_work_ends_at_its_time_and_size(tmp_path: Path) -> None:
    found = run(
        CONFINE + "confinement.bound_work(cpu_seconds=7, file_bytes=10)\n"
        "print(resource.getrlimit(resource.RLIMIT_CPU))\n"
        f"file = open({str(tmp_path / 'f')!r}, 'wb', buffering=0)\n"
        "file.write(b'x' * 10)\n"
        "try:\n    file.write(b'x')\nexcept OSError as fault:\n    print(fault.strerror)"
    )
    assert found.splitlines() == ["(7, 7)", "File too large"]


def test_who_yields_takes_the_core_from_nobody() -> None:
    found = run(
        CONFINE + "confinement.yield_to_others()\n"
        "print(os.nice(0), os.sched_getscheduler(0) == os.SCHED_IDLE)"
    )
    assert found == "19 True"


def test_a_lower_limit_from_outside_is_kept() -> None:
    found = run(
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\n"
        + CONFINE
        + "import ctypes\n"
        "confinement.confine(memory_bytes=1 << 40, open_files=32)\n"
        "print(resource.getrlimit(resource.RLIMIT_AS)[1] == 1 << 29,"
        " resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert found == "True (0, 0)"


def test_a_child_dies_with_its_parent() -> None:
    program = (
        CONFINE + "import sys, time\n"
        "reader, writer = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    confinement.die_with_parent()\n"
        "    os.write(writer, b'x')\n"
        "    time.sleep(600)\n"
        "os.read(reader, 1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # The pipe ends only when the last process that holds it is gone.
    found = subprocess.run(
        [sys.executable, "-c", f"import os, resource, signal\n{program}"],
        stdout=subprocess.PIPE,
        timeout=60,
    )
    assert found.returncode == -signal.SIGKILL


def test_signals_for_a_whole_group_are_left_to_the_front() -> None:
    found = run(
        CONFINE + "confinement.reset_signals()\n"
        "[os.kill(os.getpid(), n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]\n"
        "print('alive', signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL)"
    )
    assert found == "alive True"


def test_a_process_shows_its_name() -> None:
    found = run(
        CONFINE + "confinement.set_process_name('ia-vehicle-type-and-more')\n"
        "print(open('/proc/self/comm').read())"
    )
    assert found == "ia-vehicle-type"


@pytest.fixture
def cgroups(tmp_path: Path) -> Path:
    (tmp_path / "root" / "system.slice" / "appliance.service").mkdir(parents=True)
    (tmp_path / "own").write_text("0::/system.slice/appliance.service\n")
    return tmp_path


def cores(cgroups: Path) -> int:
    return allowed_cores(cgroups=cgroups / "root", own_cgroup=cgroups / "own")


def test_without_a_quota_the_affinity_counts(cgroups: Path) -> None:
    assert cores(cgroups) == len(os.sched_getaffinity(0))
    (cgroups / "root" / "cpu.max").write_text("max 100000\n")
    assert cores(cgroups) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("place", ["", "system.slice", "system.slice/appliance.service"])
def test_a_quota_anywhere_above_counts_rounded_up(cgroups: Path, place: str) -> None:
    (cgroups / "root" / place / "cpu.max").write_text("50000 100000\n")
    assert cores(cgroups) == 1
    (cgroups / "root" / place / "cpu.max").write_text("150000 100000\n")
    assert cores(cgroups) == min(2, len(os.sched_getaffinity(0)))


def test_files_the_kernel_does_not_have_are_no_fault(tmp_path: Path) -> None:
    assert allowed_cores(cgroups=tmp_path, own_cgroup=tmp_path / "absent") >= 1
    (tmp_path / "cpu.max").write_text("junk")
    assert allowed_cores(cgroups=tmp_path, own_cgroup=tmp_path / "absent") >= 1


def test_this_machine_has_a_core() -> None:
    assert 1 <= allowed_cores() <= len(os.sched_getaffinity(0))


LEAVER = """
import os, socket, sys
from appliance.host.confinement import leave_network
kept, other = socket.socketpair()
unbound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
print(leave_network())
for attempt in (lambda: socket.socket(), lambda: socket.socket(socket.AF_INET6),
                lambda: socket.socket(socket.AF_UNIX), lambda: socket.socketpair(),
                lambda: unbound.bind(b"\\0name"), lambda: unbound.connect("/dev/log"),
                lambda: os.execv("/bin/true", ["true"])):
    try:
        attempt()
        print("done")
    except PermissionError:
        print("refused")
print(len(open("/proc/net/dev").read().splitlines()) <= 3)
kept.sendall(b"still works")
print(other.recv(99).decode())
import threading
thread = threading.Thread(target=print, args=("thread",))
thread.start()
thread.join()
"""


def test_a_process_that_left_the_network_opens_no_socket_and_starts_no_program() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVER], capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    if lines[:1] != ["True"]:
        pytest.skip("this machine's kernel or architecture allows neither way")
    assert lines[1:8] == ["refused"] * 7
    assert lines[8] == "True"
    assert lines[9] == "still works"
    assert lines[-1] == "thread"


#: asm/unistd_64.h: socket, connect, bind, listen, socketpair, execve, execveat, io_uring_setup.
CALLS = (41, 42, 49, 50, 53, 59, 322, 425)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="other machines have other numbers")
@pytest.mark.parametrize("x32", [0, 0x40000000])
def test_every_call_that_opens_a_way_out_is_refused_by_its_number(x32: int) -> None:
    found = run(
        CONFINE + "import ctypes, errno\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print(confinement.leave_network())\n"
        f"for number in {CALLS}:\n"
        f"    told = libc.syscall(number | {x32}, -1, -1, -1, -1, -1)\n"
        "    print(number, told, errno.errorcode[ctypes.get_errno()])\n"
        f"print(libc.syscall(39 | {x32}) == (-1 if {x32} else os.getpid()))"  # getpid
    )
    lines = found.splitlines()
    if lines[0] != "True":
        pytest.skip("this machine's kernel or architecture allows neither way")
    assert lines[1:-1] == [f"{number} -1 EACCES" for number in CALLS]
    assert lines[-1] == "True"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only there are calls of 32 bits")
def test_the_calls_of_32_bit_programs_are_no_way_around(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no compiler to make a library that calls the kernel that way")
    source = tmp_path / "old.c"
    source.write_text(
        "long old_socket(void) { long r; __asm__ volatile"
        ' ("int $0x80" : "=a"(r) : "a"(359), "b"(2), "c"(1), "d"(0) : "memory"); return r; }'
    )
    library = tmp_path / "old.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    found = run(
        CONFINE + "import ctypes, errno\n"
        f"old = ctypes.CDLL({str(library)!r})\n"
        "before = old.old_socket()\n"
        "left = confinement.leave_network()\n"
        "print(before, left, old.old_socket() == -errno.EACCES)"
    )
    before, left, is_refused = found.split()
    if int(before) < 0 or left != "True":
        pytest.skip("this kernel knows no 32-bit calls, or no way out of the network")
    assert is_refused == "True"
