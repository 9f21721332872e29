"""The child of an import is heard, bounded and ended, whatever its model does to it."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from appliance.engine import import_process
from appliance.engine.import_process import run_import
from appliance.errors import ModelInvalid, ShuttingDown
from tests.import_parts import a_specification, run
from tests.tiny_formats import onnx_model


def children() -> set[int]:
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    return set(map(int, listed.split()))


def test_the_packaged_program_starts_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert import_process.import_command()[1:] == ["-P", "-m", "appliance.host.import_child"]
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert import_process.import_command() == [sys.executable, "host-import"]


def test_a_model_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    before = children()
    told = a_specification(tmp_path, {"m.onnx": onnx_model()})
    with pytest.raises(ModelInvalid, match="too long"):
        run_import(told, on_stage=lambda _: None, wall_seconds=0.01, stopping=threading.Event())
    assert children() == before


def test_an_import_ends_when_the_appliance_stops(tmp_path: Path) -> None:
    stopping = threading.Event()
    stopping.set()
    told = a_specification(tmp_path, {"m.onnx": onnx_model()})
    began = time.monotonic()
    with pytest.raises(ShuttingDown):
        run_import(told, on_stage=lambda _: None, wall_seconds=100, stopping=stopping)
    assert time.monotonic() - began < 20


def test_a_child_that_dies_is_told_as_such(tmp_path: Path) -> None:
    """So little address space that the child cannot even say that it has too little."""
    told = a_specification(tmp_path, {"m.onnx": onnx_model()}, memory_bytes=1 << 20)
    with pytest.raises(ModelInvalid):
        run(told)


def test_the_child_does_not_know_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_SECRET", "hush")
    environment = import_process._environment(os.environ)
    assert "APPLIANCE_SECRET" not in environment
    assert "PATH" in environment


def test_what_is_no_event_is_no_answer() -> None:
    assert import_process._event(b'{"kind": "gift"}') is None
    assert import_process._event(b"\xff") is None
