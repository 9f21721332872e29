"""A host process: load, say so, then answer calls until told to stop or the front is gone."""

import contextlib
import logging
import os
import socket
import threading
from typing import Any

import msgspec

from appliance import frames
from appliance.errors import Internal, ModelInvalid, PayloadTooLarge, Problem
from appliance.host import confinement
from appliance.host.service import HostedModel, load
from appliance.host.specification import HostEvent, HostSpecification

_log = logging.getLogger(__name__)


def serve(specification: HostSpecification, control: socket.socket) -> None:
    """Given what to be and the control socket, serve until the control socket says or brings its end.

    Ends the process. Order matters: confine before any file of the model is read.
    """
    confinement.confine(memory_bytes=specification.memory_bytes)
    try:
        hosted = load(specification)
    except Problem as problem:
        _tell(control, HostEvent(kind="failed", problem=problem.encoded()))
        os._exit(3)
    except Exception as fault:  # a loader's own bug must still be told to the admin
        _log.exception("model load failed")
        problem = ModelInvalid(f"The model could not be loaded: {type(fault).__name__}: {fault}.")
        _tell(control, HostEvent(kind="failed", problem=problem.encoded()))
        os._exit(3)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(specification.socket_path)
    listener.bind(specification.socket_path)
    os.chmod(specification.socket_path, 0o600)
    listener.listen(specification.connections)
    threading.Thread(target=_accept, args=(listener, hosted), daemon=True).start()
    _tell(control, _ready(hosted))
    _wait_for_end(control)
    os._exit(0)


def _ready(hosted: HostedModel) -> HostEvent:
    return HostEvent(
        kind="ready",
        inputs=hosted.network.raw_inputs,
        outputs=hosted.network.raw_outputs,
        labels={head: tuple(labels) for head, labels in hosted.model.labels.items()},
        load_seconds=hosted.load_seconds,
    )


def _tell(control: socket.socket, event: HostEvent) -> None:
    with contextlib.suppress(OSError):
        frames.send(control, msgspec.to_builtins(event))


def _wait_for_end(control: socket.socket) -> None:
    """Return when the front closes the control socket: it has drained this host, or it has died."""
    with contextlib.suppress(OSError):
        while control.recv(64):
            pass


def _accept(listener: socket.socket, hosted: HostedModel) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_converse, args=(connection, hosted), daemon=True).start()


def _converse(connection: socket.socket, hosted: HostedModel) -> None:
    """Answer one call after the other on a connection until the front closes it."""
    with connection:
        while True:
            try:
                header, body = frames.receive(connection)
            except (ConnectionError, ValueError, OSError):
                return
            reply, answer = _answer(hosted, header, body)
            try:
                frames.send(connection, reply, answer)
            except OSError:
                return  # the front gave up waiting: its deadline has passed


def _answer(
    hosted: HostedModel, header: dict[str, Any], body: bytearray
) -> tuple[dict[str, Any], bytes]:
    try:
        return hosted.answer(header, body)
    except Problem as problem:
        return {"problem": problem.encoded()}, b""
    except MemoryError:
        too_large = PayloadTooLarge(
            "The input needs more memory than the model's process may use."
        )
        return {"problem": too_large.encoded()}, b""
    except Exception:  # last resort: a bug here must not end the process for other callers
        _log.exception("call failed")
        internal = Internal("The model's process failed on this input. The log has the cause.")
        return {"problem": internal.encoded()}, b""
