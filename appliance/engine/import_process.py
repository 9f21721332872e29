"""The front's side of an import: start the child, hear how far it is, end it when it must end."""

import contextlib
import logging
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import msgspec

from appliance import errors
from appliance.engine.nursery import return_code_words
from appliance.errors import ModelInvalid, ShuttingDown, Unavailable
from appliance.host.import_specification import ImportEvent, ImportSpecification

_log = logging.getLogger(__name__)
_MOST_EVENT_BYTES = 32 << 20
_LOOK_SECONDS = 0.25
_LAST_WORDS_BYTES = 2000
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")


def import_command() -> list[str]:
    """Return the command line that starts the child that imports; see `engine/nursery.py`."""
    if getattr(sys, "frozen", False):
        return [sys.executable, "host-import"]
    return [sys.executable, "-P", "-m", "appliance.host.import_child"]


def run_import(
    specification: ImportSpecification,
    *,
    on_stage: Callable[[str], None],
    wall_seconds: float,
    stopping: threading.Event,
) -> ImportEvent:
    """Given an import, run it in a child, tell its stages, and return what it found.

    Raise the child's own problem, ModelInvalid when it dies or takes longer than `wall_seconds`,
    ShuttingDown when `stopping` is set meanwhile, Unavailable when no process can be started.
    """
    # The kernel ends the child with this thread, which stays until it has ended.
    with tempfile.TemporaryFile() as words:
        try:
            process = subprocess.Popen(
                import_command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                env=_environment(os.environ),
            )
        except OSError as fault:
            raise Unavailable(f"The import cannot be started: {fault.strerror}.") from None
        with process:
            try:
                _send(process, specification)
                event = _listen(process, on_stage, time.monotonic() + wall_seconds, stopping)
            finally:
                process.kill()
                code = process.wait()
        if event is None:
            _log.error("import ended", extra={"reason": _last_words(words)})
            raise ModelInvalid(
                f"The model ended the process that read it ({return_code_words(code)})."
                " It is damaged, or too large for models.import_memory_bytes."
            )
    if event.kind == "failed":
        raise errors.decoded(dict(event.problem))
    return event


def _send(process: "subprocess.Popen[bytes]", specification: ImportSpecification) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(msgspec.json.encode(specification))


def _listen(
    process: "subprocess.Popen[bytes]",
    on_stage: Callable[[str], None],
    deadline: float,
    stopping: threading.Event,
) -> ImportEvent | None:
    """Return the last event, or None when the child ended without one."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if stopping.is_set():
                raise ShuttingDown("The appliance is stopping; the import goes on when it starts.")
            if time.monotonic() > deadline:
                raise ModelInvalid(
                    "The import took too long and was ended (models.import_seconds)."
                )
            if not selector.select(_LOOK_SECONDS):
                continue
            piece = os.read(descriptor, 1 << 16)
            if not piece or len(pending) > _MOST_EVENT_BYTES:
                return None
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                event = _event(line)
                if event is None or event.kind != "stage":
                    return event
                on_stage(event.stage)


def _event(line: bytes) -> ImportEvent | None:
    """Return one event; None for what is none, as a child taken over by its model might send."""
    try:
        return msgspec.json.decode(line, type=ImportEvent)
    except msgspec.DecodeError:
        return None


def _last_words(file: IO[bytes]) -> str:
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - _LAST_WORDS_BYTES))
    return file.read().decode(errors="replace").strip()


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Return the few variables the child needs; none of ours that might hold a secret."""
    environment = {name: ours[name] for name in _KEPT_VARIABLES if name in ours}
    environment["OPENBLAS_NUM_THREADS"] = "1"
    package = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package, ours.get("PYTHONPATH"))))
    return environment
