"""The nursery: a process that has imported everything heavy once and forks hosts from itself.

A host then starts in milliseconds and shares the memory of OpenVINO, numpy and Pillow. It never
loads a model and starts no thread, so forking is safe; exactly one thread ever runs here.
"""

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
import warnings
from typing import NoReturn, TextIO

import msgspec

from appliance import log
from appliance.config import Log
from appliance.host import confinement, serving
from appliance.host.jobs import runner
from appliance.host.specification import NurseryEvent, Spawn

_log = logging.getLogger(__name__)
_MESSAGE_BYTES = 65536
_STDERR = 2


def main(descriptor: int) -> None:
    """Given the inherited socket's descriptor, serve spawn requests until the front closes it."""
    confinement.die_with_parent()
    confinement.set_process_name("ia-nursery")
    confinement.leave_ending_to_the_front()
    stream = _own_log_stream()
    log.configure(Log(), process="nursery", stream=stream)
    with socket.socket(fileno=descriptor) as front:
        wakeup = _wakeup_on_child_end()
        _import_pictures()
        gc.freeze()  # keep what is imported out of every collection, so its pages stay shared
        _Births(front, wakeup, stream).attend()


def _own_log_stream() -> TextIO:
    """Return a stream to stderr for log lines, and send what C libraries print there to nowhere.

    libtiff prints a line for each odd tag of a picture: a client could fill the journal with it.
    """
    try:
        descriptor = os.dup(_STDERR)
    except OSError:  # closed by whoever started the front
        descriptor = os.open(os.devnull, os.O_WRONLY)
    stream = os.fdopen(descriptor, "w", buffering=1, errors="backslashreplace")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), _STDERR)
    sys.stderr = stream
    return stream


def _wakeup_on_child_end() -> tuple[int, int]:
    """Return a pipe's two ends; a byte arrives in it whenever a child has ended."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reader, writer


def _import_pictures() -> None:
    from PIL import Image, ImageOps  # noqa: F401

    Image.init()
    # Set once here, because switching filters around each picture is not safe among threads.
    warnings.filterwarnings("ignore", module=r"PIL\b")


class _Births:
    """Forks a host for each request and tells the front of births and ends."""

    def __init__(self, front: socket.socket, wakeup: tuple[int, int], stream: TextIO) -> None:
        self._front = front
        self._wakeup = wakeup
        self._stream = stream

    def attend(self) -> None:
        """Return when the front has closed its end."""
        front, (reader, _) = self._front.fileno(), self._wakeup
        is_wanted = True
        while is_wanted:
            ready, _, _ = select.select([front, reader], [], [])
            if reader in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(reader, 4096)
            if front in ready:
                is_wanted = self._spawn_one()
            self._report_ended()

    def _spawn_one(self) -> bool:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._front, _MESSAGE_BYTES, 1)
        except ConnectionError:
            return False
        if not message:
            return False
        spawn = msgspec.msgpack.decode(message, type=Spawn)
        if descriptors:
            self._fork(spawn, descriptors[0])
            os.close(descriptors[0])
        else:
            self._tell_unborn(spawn, "the nursery has too many open files")
        return True

    def _fork(self, spawn: Spawn, control_descriptor: int) -> None:
        try:
            process_id = os.fork()
        except OSError as fault:  # too many processes: the hosts there are must live on
            self._tell_unborn(spawn, str(fault))
            return
        if process_id == 0:
            self._become_host(spawn, control_descriptor)
        self._tell(NurseryEvent(kind="born", process_id=process_id, token=spawn.token))

    def _tell_unborn(self, spawn: Spawn, reason: str) -> None:
        _log.error("host not started", extra={"reason": reason})
        self._tell(NurseryEvent(kind="unborn", token=spawn.token, reason=reason))

    def _become_host(self, spawn: Spawn, control_descriptor: int) -> NoReturn:
        """Never return: whatever happens, this forked copy must not go on as a second nursery."""
        try:
            confinement.reset_signals()
            confinement.die_with_parent()
            self._front.close()
            for descriptor in self._wakeup:
                os.close(descriptor)
            self._live(spawn, socket.socket(fileno=control_descriptor))
        except BaseException:
            _log.exception("host ended")
        finally:
            os._exit(4)

    def _live(self, spawn: Spawn, control: socket.socket) -> None:
        if spawn.specification is not None:
            model, version = spawn.specification.directory.rsplit("/", 2)[-2:]
            confinement.set_process_name(f"ia-{model}")
            self._log_as(f"host {model}@{version}", spawn.specification.log_level)
            serving.serve(spawn.specification, control)
        elif spawn.job is not None:
            confinement.set_process_name("ia-jobs")
            self._log_as("job", spawn.job.log_level)
            runner.serve(spawn.job, control)

    def _log_as(self, process: str, level: str) -> None:
        log.configure(Log(level=level), process=process, stream=self._stream)

    def _report_ended(self) -> None:
        with contextlib.suppress(ChildProcessError):  # it has none at all
            while True:
                process_id, status = os.waitpid(-1, os.WNOHANG)
                if process_id == 0:
                    return
                self._tell(NurseryEvent(kind="ended", process_id=process_id, wait_status=status))

    def _tell(self, event: NurseryEvent) -> None:
        with contextlib.suppress(OSError):
            self._front.send(msgspec.msgpack.encode(event))
