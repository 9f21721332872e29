"""Kinds of job for tests, which the runner's process imports by name; none of them is shipped."""

import errno
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from appliance.errors import InvalidInput, Unavailable
from appliance.host.jobs.contract import JobResult, JobRun, NewVersion
from appliance.host.jobs.registry import RegisteredKind


class PlayParams(msgspec.Struct, frozen=True, kw_only=True):
    """What to do; `place` is a folder that outlives attempts."""

    act: str = "echo"
    place: str = ""
    times: int = 1
    model: str = ""
    version: int | None = None


class Play:
    """Does what it is told, well or badly."""

    Params = PlayParams

    def run(self, run: JobRun) -> JobResult:
        return getattr(self, run.params.act)(run)

    def echo(self, run: JobRun) -> JobResult:
        """Answer with what was sent and keep a copy of it."""
        told = [(one.name, one.content_type, Path(one.path).read_bytes()) for one in run.inputs]
        (run.workspace / "scratch").write_text("gone afterwards")
        (run.results / "unwanted").write_text("gone afterwards")
        (run.results / "more").mkdir()
        (run.results / "more" / "kept.txt").write_text("kept")
        return JobResult(
            document={
                "inputs": [(name, kind, body.decode()) for name, kind, body in told],
                "models": sorted(run.specifications),
                "process": os.getpid(),
                "niceness": os.nice(0),
            },
            files=("more/kept.txt",),
        )

    def nothing(self, run: JobRun) -> JobResult:
        return JobResult(document={})

    def reach(self, run: JobRun) -> JobResult:
        """Tell what became of each way to reach somebody."""

        def outcome(act: Callable[[], object]) -> str:
            try:
                act()
            except OSError as fault:
                return type(fault).__name__
            return "done"

        ways: dict[str, Callable[[], object]] = {
            "ipv4": lambda: socket.socket(socket.AF_INET),
            "ipv6": lambda: socket.socket(socket.AF_INET6),
            "unix": lambda: socket.socket(socket.AF_UNIX),
            "pair": socket.socketpair,
            "program": lambda: os.execv("/bin/true", ["true"]),
        }
        return JobResult(document={name: outcome(way) for name, way in ways.items()})

    def crash(self, run: JobRun) -> JobResult:
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError

    def crash_once(self, run: JobRun) -> JobResult:
        """Fail as often as `times` says, then go well."""
        tries = Path(run.params.place) / "tries"
        with tries.open("ab") as file:
            file.write(b"x")
        if tries.stat().st_size <= run.params.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return JobResult(document={"tries": tries.stat().st_size})

    def wait(self, run: JobRun) -> JobResult:
        """Say that it runs, then go on until the file `go` is there."""
        place = Path(run.params.place)
        (place / f"runs-{os.getpid()}").touch()
        while not (place / "go").exists():
            run.report(0.5, "half of it")
            time.sleep(0.01)
        return JobResult(document={"process": os.getpid()})

    def deaf(self, run: JobRun) -> JobResult:
        (Path(run.params.place) / f"runs-{os.getpid()}").touch()
        time.sleep(3600)
        raise AssertionError

    def refuse(self, run: JobRun) -> JobResult:
        raise InvalidInput("The table has no columns.", pointer="/columns")

    def stumble(self, run: JobRun) -> JobResult:
        raise Unavailable("Something is not there yet.")

    def bug(self, run: JobRun) -> JobResult:
        raise ZeroDivisionError("by zero")

    def fill(self, run: JobRun) -> JobResult:
        raise OSError(errno.ENOSPC, "No space left on device")

    def eat(self, run: JobRun) -> JobResult:
        raise MemoryError

    def shout(self, run: JobRun) -> JobResult:
        return JobResult(document="x" * 2_000_000)

    def stray(self, run: JobRun) -> JobResult:
        return JobResult(document={}, files=("../../inputs/0001",))

    def make(self, run: JobRun) -> JobResult:
        """Leave a version behind."""
        (run.results / "version").mkdir()
        (run.results / "version" / "manifest.toml").write_text("made")
        made = NewVersion(model="colour", directory="version")
        return JobResult(document={"kept": True}, new_version=made)


KIND = Play()
PLAY = RegisteredKind(
    name="play", title="Play", Params=PlayParams, implementation="tests.job_kinds:KIND"
)
