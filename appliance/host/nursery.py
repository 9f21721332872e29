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

import msgspec

from appliance.host import confinement, serving
from appliance.host.specification import NurseryEvent, Spawn

_log = logging.getLogger(__name__)
_MESSAGE_BYTES = 65536


def main(descriptor: int) -> None:
    """Given the inherited socket's descriptor, serve spawn requests until the front closes it."""
    confinement.die_with_parent()
    confinement.set_process_name("ia-nursery")
    front = socket.socket(fileno=descriptor)
    wakeup_reader, wakeup_writer = os.pipe()
    os.set_blocking(wakeup_reader, False)
    os.set_blocking(wakeup_writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.set_wakeup_fd(wakeup_writer, warn_on_full_buffer=False)
    _import_pictures()
    gc.freeze()  # keep the imported objects out of every collection, so their pages stay shared
    while True:
        ready, _, _ = select.select([front, wakeup_reader], [], [])
        if wakeup_reader in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wakeup_reader, 4096)
        _report_ended(front)
        if front in ready and not _spawn_one(front, (wakeup_reader, wakeup_writer)):
            return


def _import_pictures() -> None:
    from PIL import Image, ImageOps  # noqa: F401

    Image.init()


def _spawn_one(front: socket.socket, own_descriptors: tuple[int, int]) -> bool:
    message, descriptors, _, _ = socket.recv_fds(front, _MESSAGE_BYTES, 1)
    if not message:
        return False
    spawn = msgspec.msgpack.decode(message, type=Spawn)
    process_id = os.fork()
    if process_id == 0:
        _become_host(spawn, front, descriptors[0], own_descriptors)
    os.close(descriptors[0])
    _tell(front, NurseryEvent(kind="born", process_id=process_id, token=spawn.token))
    return True


def _become_host(
    spawn: Spawn, front: socket.socket, control_descriptor: int, own_descriptors: tuple[int, int]
) -> None:
    """Never return: whatever happens, this forked copy must not go on as a second nursery."""
    try:
        confinement.reset_signals()
        confinement.die_with_parent()
        front.close()
        for descriptor in own_descriptors:
            os.close(descriptor)
        parts = spawn.specification.directory.rsplit("/", 2)
        confinement.set_process_name(f"ia-{parts[-2]}")
        serving.serve(spawn.specification, socket.socket(fileno=control_descriptor))
    except BaseException:
        _log.exception("host ended")
    finally:
        os._exit(4)


def _report_ended(front: socket.socket) -> None:
    while True:
        try:
            process_id, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if process_id == 0:
            return
        _tell(front, NurseryEvent(kind="ended", process_id=process_id, wait_status=status))


def _tell(front: socket.socket, event: NurseryEvent) -> None:
    with contextlib.suppress(OSError):
        front.send(msgspec.msgpack.encode(event))
