import threading
from pathlib import Path
from typing import Any

from appliance.engine import shadow as subject
from appliance.engine.admission import Admission
from appliance.engine.comparison import Comparison, Said
from appliance.engine.served import Served
from appliance.engine.shadow import Copy, ShadowCalls
from appliance.errors import ModelUnavailable
from appliance.library.manifest import Manifest
from appliance.library.versions import VersionDirectory
from tests.engine.running import HANG_SECONDS, eventually

SHADOW = Served(
    place=VersionDirectory("m", 4, Path("m/4")),
    manifest=Manifest(manifest_version=1, name="m", version=4, task="t"),
    admission=Admission(most=1, most_waiting=1, waiting_seconds=1),
)


def copy_of(comparison: Comparison, body: bytes = b"x") -> Copy:
    return Copy(SHADOW, {"method": "predict"}, body, Said("red", 1.0, b""), comparison)


def test_a_copy_is_answered_and_compared() -> None:
    asked: list[tuple[str, bytes]] = []

    def ask(served: Served, header: dict[str, Any], body: bytes) -> Any:
        asked.append((served.name, body))
        return {"label": "red", "confidence": 0.5}, bytearray()

    comparison, calls = Comparison(), ShadowCalls(ask)
    calls.offer(copy_of(comparison))
    told = eventually(lambda: (one := comparison.agreement()).compared and one)
    assert (told.agreed, told.mean_confidence_difference) == (1, 0.5)
    assert asked == [("m@4", b"x")]
    assert comparison.figures({})[0].requests == 1
    calls.stop()
    calls.stop()


def test_a_shadow_that_fails_is_counted_and_asked_again() -> None:
    answers = iter([ModelUnavailable("gone"), ZeroDivisionError(), None])

    def ask(served: Served, header: dict[str, Any], body: bytes) -> Any:
        fault = next(answers)
        if fault is not None:
            raise fault
        return {"label": "red"}, bytearray()

    comparison, calls = Comparison(), ShadowCalls(ask)
    for _ in range(3):
        calls.offer(copy_of(comparison))
    eventually(lambda: comparison.agreement().compared)
    assert comparison.agreement().failed == 1
    calls.stop()


def test_copies_never_wait_without_bound() -> None:
    is_over = threading.Event()

    def ask(served: Served, header: dict[str, Any], body: bytes) -> Any:
        is_over.wait(HANG_SECONDS)
        return {}, bytearray()

    comparison, calls = Comparison(), ShadowCalls(ask)
    for _ in range(subject.MOST_WAITING + 10):
        calls.offer(copy_of(comparison))
    assert comparison.agreement().dropped >= 9
    assert not calls.has_room(1)
    is_over.set()
    eventually(lambda: calls.has_room(1))
    large = bytes(subject.MOST_BYTES)
    assert calls.has_room(len(large)) or calls._bytes
    dropped = comparison.agreement().dropped
    calls.offer(copy_of(comparison, large + b"x"))
    assert comparison.agreement().dropped == dropped + 1
    calls.stop()


def test_it_can_be_stopped_before_it_began() -> None:
    ShadowCalls(lambda *_: ({}, bytearray())).stop()
