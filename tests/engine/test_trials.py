"""A trial costs nobody an answer: splits fall back, shadows are never waited for."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from appliance.engine.traffic import Traffic
from tests.engine.running import HANG_SECONDS, Running, eventually, stopped
from tests.tiny_models import picture, write_colour_model, write_detector_model

OTHER = ("rouge", "vert", "bleu")
PREDICT = {"method": "predict", "params": {}, "content_type": "image/png"}


def on_trial(engine: Running, name: str, traffic: Traffic, **options: object) -> None:
    engine.install(name)
    write_colour_model(engine.models_directory, name=name, version=2, **options)  # type: ignore[arg-type]
    engine.engine.set_traffic(name, traffic, commit=lambda _: None)


def version_for(engine: Running, name: str, sender: str) -> int:
    reply, _ = engine.engine.call(name, None, PREDICT, picture(), sender=sender)
    return int(reply["version"])


def test_senders_are_split_and_compared(shared: Running) -> None:
    on_trial(shared, "halved", Traffic(traffic={"1": 50, "2": 50}))
    met = {sender: version_for(shared, "halved", sender) for sender in map(str, range(40))}
    assert set(met.values()) == {1, 2}
    assert all(version_for(shared, "halved", sender) == met[sender] for sender in met)
    report = shared.engine.comparison("halved")
    assert (report.active_version, report.shadow, report.agreement) == (1, None, None)
    one, two = report.versions
    assert (one.role, two.role) == ("active", "split")
    assert one.requests + two.requests == 80
    assert two.p50_ms is not None
    assert two.p50_ms > 0


def test_the_active_version_stands_in_for_one_that_died(shared: Running) -> None:
    on_trial(shared, "fragile", Traffic(traffic={"2": 100}))
    assert version_for(shared, "fragile", "cam") == 2
    host = shared.process_of("fragile", 2)
    with stopped(shared.nursery_process()):  # nobody starts it again
        os.kill(host, signal.SIGKILL)
        eventually(lambda: shared.served("fragile", 2).state != "ready")
        assert version_for(shared, "fragile", "cam") == 1
    eventually(lambda: version_for(shared, "fragile", "cam") == 2)


def test_a_shadow_gets_copies_and_the_active_version_answers(shared: Running) -> None:
    on_trial(shared, "shaded", Traffic(shadow="2"), labels=OTHER, golden_label="rouge")
    for colour in ("red", "red", "blue"):
        assert shared.predict("shaded", colour) == (colour, 1)
        eventually(lambda: not shared.engine._trials._shadows._bytes)
    agreement = eventually(
        lambda: (
            (told := shared.engine.comparison("shaded").agreement) and told.compared == 3 and told
        )
    )
    assert (agreement.agreed, agreement.dropped) == (0, 0)
    first = agreement.differences[0]
    assert (first.active, first.shadow, first.count) == ("red", "rouge", 2)


def infer(engine: Running, name: str, document: dict[str, Any], **header: Any) -> int:
    call = {"method": "infer", "json_bytes": None, "request_id": "r", **header}
    reply, _ = engine.engine.call(name, None, call, json.dumps(document).encode())
    return int(reply["version"])


PIXELS = [[[[1.0] * 8] * 8, [[0.0] * 8] * 8, [[0.5] * 8] * 8]]


@pytest.mark.parametrize(
    ("document", "header"),
    [
        (
            {
                "inputs": [
                    {"name": "image", "shape": [1, 3, 8, 8], "datatype": "FP32", "data": PIXELS}
                ]
            },
            {},
        ),
        ({"instances": PIXELS}, {"verb": "predict"}),
        ({"inputs": {"image": PIXELS}}, {"verb": "classify"}),
    ],
    ids=["open inference", "tensorflow rows", "tensorflow classes"],
)
def test_a_shadow_gets_copies_of_tensor_requests(
    shared: Running, request: pytest.FixtureRequest, document: dict[str, Any], header: Any
) -> None:
    if header.get("verb") == "classify":
        document = {"examples": [{"image": PIXELS[0]}]}
    name = "tensors-" + request.node.callspec.id.replace(" ", "-")
    on_trial(shared, name, Traffic(shadow="2"), labels=OTHER, golden_label="rouge")
    assert infer(shared, name, document, **header) == 1
    told = eventually(
        lambda: (found := shared.engine.comparison(name).agreement) and found.compared and found
    )
    (first,) = told.differences
    assert (first.active, first.shadow, told.agreed, told.failed) == ("red", "rouge", 0, 0)
    active, shadow = shared.engine.comparison(name).versions
    assert (active.role, active.requests) == ("active", 1)
    assert (shadow.role, shadow.requests) == ("shadow", 1)


def test_tensors_agree_when_they_mean_the_same(shared: Running) -> None:
    on_trial(shared, "louder", Traffic(shadow="2"), factor=9.0)
    (document,) = [
        {"inputs": [{"name": "image", "shape": [1, 3, 8, 8], "datatype": "FP32", "data": PIXELS}]}
    ]
    infer(shared, "louder", document)
    told = eventually(
        lambda: (
            (found := shared.engine.comparison("louder").agreement) and found.compared and found
        )
    )
    assert (told.agreed, told.mean_confidence_difference) == (1, 1.0)


def test_a_shadow_of_a_detector_draws_nothing_and_agrees(shared: Running) -> None:
    for version in (1, 2):
        write_detector_model(shared.models_directory, name="drawn", version=version)
    shared.engine.load("drawn", 1)
    shared.engine.set_traffic("drawn", Traffic(shadow="2"), commit=lambda _: None)
    reply, drawn = shared.engine.call("drawn", None, {**PREDICT, "draw": "image/png"}, picture())
    assert drawn[:4] == b"\x89PNG"
    assert reply["label"] == "red"
    told = eventually(
        lambda: (found := shared.engine.comparison("drawn").agreement) and found.compared and found
    )
    assert told.agreed == 1


def test_a_shadow_that_hangs_delays_nobody(shared: Running) -> None:
    on_trial(shared, "patient", Traffic(shadow="2"))
    with stopped(shared.process_of("patient", 2)):
        for _ in range(40):
            assert shared.predict("patient") == ("red", 1)
        told = shared.engine.comparison("patient").agreement
        assert told is not None
        assert told.dropped > 0
        assert told.compared == 0
        assert shared.status("patient").in_flight == 0


def test_calls_by_number_and_turns_of_streams_are_not_copied(shared: Running) -> None:
    on_trial(shared, "exact", Traffic(shadow="2"))
    assert shared.predict("exact", version=2) == ("red", 2)
    shared.engine.call("exact", None, {"method": "canary"}, b"")
    told = shared.engine.comparison("exact").agreement
    assert told is not None
    assert (told.compared, told.dropped) == (0, 0)
    assert not shared.engine._trials._shadows._bytes


def test_failures_count_for_the_version_that_failed(shared: Running) -> None:
    on_trial(shared, "failing", Traffic(traffic={"1": 100}))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(shared.predict, "failing", body=b"no picture").exception(HANG_SECONDS)
    (figures,) = shared.engine.comparison("failing").versions
    assert (figures.requests, figures.failures) == (1, 1)


def test_without_a_trial_nothing_is_compared(shared: Running) -> None:
    shared.install("plain")
    shared.predict("plain")
    report = shared.engine.comparison("plain")
    assert (report.versions, report.agreement, report.traffic) == ((), None, {})
    assert "plain" not in shared.engine._trials.observed
