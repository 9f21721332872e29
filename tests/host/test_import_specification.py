"""What passes between the front and the child survives the way."""

from pathlib import Path

import msgspec

from appliance.errors import ModelInvalid
from appliance.host.import_specification import ImportEvent, ImportSpecification
from tests.import_parts import a_specification


def test_a_specification_survives_json(tmp_path: Path) -> None:
    told = a_specification(tmp_path, {}, mean=[1.0, 2.0, 3.0], color="BGR")
    assert msgspec.json.decode(msgspec.json.encode(told), type=ImportSpecification) == told


def test_an_event_carries_a_problem() -> None:
    event = ImportEvent(kind="failed", problem=ModelInvalid("no").encoded())
    assert msgspec.json.decode(msgspec.json.encode(event), type=ImportEvent) == event
