import time
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import Internal, InvalidInput
from appliance.host.hosted_model import HostedModel, load
from appliance.host.jobs.box_labels import TrueBox
from appliance.host.jobs.contract import Cancelled
from appliance.host.jobs.labelled_data import Item, LabelledSet
from appliance.host.jobs.measure import Answer, asker, latency, measure, measuring_params
from appliance.tasks.contract import Payload
from appliance.tasks.registry import task_named
from tests.measure_parts import specification
from tests.tiny_models import picture, write_colour_model, write_detector_model

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


@pytest.fixture
def colour(tmp_path: Path) -> HostedModel:
    return load(specification(write_colour_model(tmp_path / "models")))


def item(path: Path, colour: str, label: str | None, **more: Any) -> Item:
    path.write_bytes(picture(colour))
    return Item(name=path.name, content_type="image/png", path=path, label=label, **more)


def told(share: float, words: str) -> None:
    """Take a report."""


def measured(model: HostedModel, data: LabelledSet, **more: Any) -> Any:
    ask = asker(model, measuring_params(model.task, {}))
    return measure(model.model, data, ask, report=told, **more)


def test_answers_are_compared_with_labels(tmp_path: Path, colour: HostedModel) -> None:
    items = (
        item(tmp_path / "1.png", "red", "red"),
        item(tmp_path / "2.png", "blue", "BLUE"),
        item(tmp_path / "3.png", "lime", "red"),
        item(tmp_path / "4.png", "lime", "violet"),
    )
    found, rows = measured(colour, LabelledSet(form="labels", items=items))
    assert (found.items, found.score) == (4, 0.5)
    assert "does not know violet" in found.notes[0]
    assert [row.is_right for row in rows] == [True, True, False, False]
    assert [row.truth for row in rows] == ["red", "blue", "red", "violet"]
    assert found.classification.calibration.accuracy == 0.5
    assert found.latency.p50_ms > 0


def test_items_that_cannot_be_answered_are_told_and_not_counted(
    tmp_path: Path, colour: HostedModel
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    bad = Item(name="broken.png", content_type="image/png", path=broken, label="red")
    good = item(tmp_path / "1.png", "red", "red")
    found, rows = measured(colour, LabelledSet(form="labels", items=(bad, good)))
    assert (found.items, found.failed, len(rows)) == (1, 1, 1)
    assert found.failures[0].item == "broken.png"
    with pytest.raises(InvalidInput, match="No item could be answered"):
        measured(colour, LabelledSet(form="labels", items=(bad,)))


def test_a_bug_of_ours_is_no_property_of_an_item(tmp_path: Path, colour: HostedModel) -> None:
    def ask(payload: Payload) -> Answer:
        raise Internal("a bug")

    data = LabelledSet(form="labels", items=(item(tmp_path / "1.png", "red", "red"),))
    with pytest.raises(Internal):
        measure(colour.model, data, ask, report=told)


def test_when_the_time_is_up_the_rest_is_left_out(tmp_path: Path, colour: HostedModel) -> None:
    items = tuple(item(tmp_path / f"{number}.png", "red", "red") for number in range(3))
    data = LabelledSet(form="labels", items=items)
    found, _ = measured(colour, data, until_monotonic=0.0)
    assert found.items == 1
    assert "2 of 3 items, drawn evenly from all, were left out" in found.notes[-1]


def test_a_bounded_measurement_begins_with_items_of_every_label(
    tmp_path: Path, colour: HostedModel
) -> None:
    items = tuple(
        item(tmp_path / f"{label}-{number}.png", label, label)
        for label in ("red", "blue")
        for number in range(20)
    )
    asked: list[bytes] = []
    ask = asker(colour, measuring_params(colour.task, {}))

    def noting(payload: Payload) -> Answer:
        asked.append(bytes(payload.body))
        return ask(payload)

    data = LabelledSet(form="labels", items=items)
    until = time.monotonic() + 1e6
    found, rows = measure(colour.model, data, noting, report=told, until_monotonic=until)
    assert found.items == 40
    assert len(set(asked[:12])) == 2
    assert [row.item for row in rows] == [one.name for one in items]


def test_a_wish_to_cancel_is_let_through(tmp_path: Path, colour: HostedModel) -> None:
    def report(share: float, words: str) -> None:
        raise Cancelled

    data = LabelledSet(form="labels", items=(item(tmp_path / "1.png", "red", "red"),))
    ask = asker(colour, measuring_params(colour.task, {}))
    with pytest.raises(Cancelled):
        measure(colour.model, data, ask, report=report)


def test_boxes_are_compared_with_what_a_detector_finds(tmp_path: Path) -> None:
    detector = load(specification(write_detector_model(tmp_path / "models")))
    # A red picture is a red object in each quarter.
    quarters = [(x, y, x + 0.5, y + 0.5) for x in (0, 0.5) for y in (0, 0.5)]
    boxes = tuple(TrueBox("red", edges, True) for edges in quarters)
    data = LabelledSet(form="boxes", items=(item(tmp_path / "1.png", "red", None, boxes=boxes),))
    found, rows = measured(detector, data)
    assert found.detection.map50 == pytest.approx(1.0)
    assert found.score == found.detection.map50_95
    assert found.working_point.recall == 1.0
    assert rows == []


def test_labels_of_another_kind_are_refused(tmp_path: Path, colour: HostedModel) -> None:
    one = item(tmp_path / "1.png", "red", None, boxes=(TrueBox("red", (0, 0, 1, 1), True),))
    with pytest.raises(InvalidInput, match="answers with labels"):
        measured(colour, LabelledSet(form="boxes", items=(one,)))
    data = LabelledSet(form="labels", items=(item(tmp_path / "1.png", "red", "red"),))
    with pytest.raises(InvalidInput, match="no head"):
        measured(colour, data, head="size")


def test_only_what_answers_with_labels_or_boxes_can_be_measured() -> None:
    assert measuring_params(task_named("image-classification"), {"top_k": "9"})["top_k"] == "9"
    assert float(measuring_params(task_named("object-detection"), {})["threshold"]) < 0.05
    with pytest.raises(InvalidInput, match="neither with labels nor with boxes"):
        measuring_params(task_named("step-detection"), {})


def test_latency_computed_by_hand() -> None:
    found = latency([(0.001, 0.002, 0.001)] * 9 + [(0.002, 0.016, 0.002)])
    assert (found.p50_ms, found.longest_ms, found.items) == (4.0, 20.0, 10)
    assert (found.decode_ms, found.infer_ms, found.encode_ms) == (1.1, 3.4, 1.1)


def test_the_first_of_many_answers_pays_for_set_up_and_is_left_out() -> None:
    assert latency([(5.0, 5.0, 5.0)] + [(0.001, 0.0, 0.0)] * 20).longest_ms == 1.0
