"""An input is sent as a file to be saved, never as a page."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.actions.read_input import InputReading
from appliance.web.openapi import Route
from appliance.web.resources.prediction_input import PredictionInput
from tests.actions.examples import a_device
from tests.actions.input_examples import PICTURE, Keeping, keeping_in
from tests.web.routed import Routed

PATH = "/api/v1/predictions"


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Keeping]:
    with keeping_in(tmp_path / "state") as found:
        found.keeper.start()
        yield found


@pytest.fixture
def served(keeping: Keeping) -> Routed:
    resource = PredictionInput(InputReading(keeping.database, keeping.clock, keeping.files))
    return Routed(Route(PATH + "/{prediction_id}/input", resource))


def test_a_picture_comes_with_its_type_and_to_be_saved(keeping: Keeping, served: Routed) -> None:
    prediction_id = keeping.remember()
    keeping.kept()
    answer = served.get(f"{PATH}/{prediction_id}/input")
    assert answer.content == PICTURE
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    wanted = f'attachment; filename="{prediction_id}.png"'
    assert answer.headers["content-disposition"] == wanted


def test_a_page_sent_as_an_input_comes_back_as_mere_bytes(
    keeping: Keeping, served: Routed
) -> None:
    prediction_id = keeping.remember(b"<script>alert(1)</script>", content_type="text/html")
    keeping.kept()
    answer = served.get(f"{PATH}/{prediction_id}/input")
    assert answer.headers["content-type"] == "application/octet-stream"


def test_what_is_not_kept_or_not_ones_own_is_not_there(keeping: Keeping, served: Routed) -> None:
    prediction_id = keeping.remember(model="other")
    assert served.get(f"{PATH}/{prediction_id}/input").status_code == 404
    own = keeping.remember()
    keeping.kept()
    served.caller = a_device("cam002")
    assert served.get(f"{PATH}/{own}/input").status_code == 404
