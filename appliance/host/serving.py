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
from appliance.host.hosted_model import HostedModel, LoadFailed, load
from appliance.host.specification import MODEL, HostEvent, HostSpecification

_log = logging.getLogger(__name__)
#: Open files a host needs besides its connections: the model, cached blobs, libraries, standard
#: streams.
_OWN_FILES = 128


def serve(specification: HostSpecification, control: socket.socket) -> None:
    """Given what to be and the control socket, serve until the front closes that.

    Ends the process. Order matters: confine before any file of the model is read.
    """
    confinement.confine(
        memory_bytes=specification.memory_bytes, open_files=specification.connections + _OWN_FILES
    )
    if not confinement.leave_network():
        _log.warning("the host keeps its network: this kernel allows no way to give it up")
    hosted = _loaded(specification, control)
    _tell(control, _ready(hosted))
    _accept(control, hosted)
    os._exit(0)


def _loaded(specification: HostSpecification, control: socket.socket) -> HostedModel:
    problem: Problem
    cause = MODEL
    try:
        return load(specification)
    except LoadFailed as failed:
        problem, cause = failed, failed.cause
    except Exception as fault:  # a loader's own bug must still be told to the admin
        _log.exception("model load failed")
        problem = ModelInvalid(f"The model could not be loaded: {type(fault).__name__}: {fault}.")
    _tell(control, HostEvent(kind="failed", problem=problem.encoded(), cause=cause))
    os._exit(3)


def _ready(hosted: HostedModel) -> HostEvent:
    return HostEvent(
        kind="ready",
        inputs=hosted.network.raw_inputs,
        outputs=hosted.network.raw_outputs,
        labels={head: tuple(labels) for head, labels in hosted.model.labels.items()},
        model_info=hosted.model_info,
        load_seconds=hosted.load_seconds,
    )


def _tell(control: socket.socket, event: HostEvent) -> None:
    with contextlib.suppress(OSError):
        frames.send(control, msgspec.to_builtins(event))


def _accept(control: socket.socket, hosted: HostedModel) -> None:
    """Take new connections off the control socket; return when the front closes it or has died."""
    while True:
        try:
            message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        except OSError:
            return
        if not message:
            return
        for descriptor in descriptors:
            connection = socket.socket(fileno=descriptor)
            try:
                threading.Thread(target=_converse, args=(connection, hosted), daemon=True).start()
            except RuntimeError:  # no more threads: the caller sees the connection close
                _log.exception("connection refused")
                connection.close()


def _converse(connection: socket.socket, hosted: HostedModel) -> None:
    """Answer one call after the other on a connection until the front closes it."""
    inbox = frames.Inbox(connection)
    with connection:
        while True:
            try:
                header, body = inbox.receive()
            except (OSError, ValueError, MemoryError):
                return
            reply, answer = _answer(hosted, header, body)
            del body  # an idle connection must not keep a large call's bytes alive
            try:
                _send(connection, reply, answer)
            except OSError:
                return  # the front gave up waiting: its deadline has passed


def _send(connection: socket.socket, reply: dict[str, Any], answer: bytes) -> None:
    try:
        frames.send(connection, reply, answer)
    except frames.FrameTooLarge:
        too_large = PayloadTooLarge(
            "The answer is larger than an answer may be. Send a smaller input, or fewer at once."
        )
        frames.send(connection, {"problem": too_large.encoded()})


def _answer(
    hosted: HostedModel, header: dict[str, Any], body: memoryview
) -> tuple[dict[str, Any], bytes]:
    try:
        return hosted.answer(header, body)
    except Problem as problem:
        return {"problem": problem.encoded()}, b""
    except MemoryError:
        too_large = PayloadTooLarge(
            "The input needs more memory than the model's process may use"
            " (models.memory_bytes). Send a smaller one."
        )
        return {"problem": too_large.encoded()}, b""
    except Exception:  # last resort: a bug here must not end the process for other callers
        _log.exception("call failed")
        internal = Internal("The model's process failed on this input. The log has the cause.")
        return {"problem": internal.encoded()}, b""
