"""Tensor requests in the history, and history.required under /v2 as under /api/v1."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.actions.predict import Predictor, Timing
from appliance.clock import ManualClock
from appliance.config import History
from appliance.errors import InsufficientStorage
from appliance.metrics import Metrics
from appliance.store import predictions
from appliance.store.database import Database
from appliance.web.dialects.tensor_history import TensorHistory
from appliance.web.dialects.tensor_relay import Inferred
from tests.access_parts import opened
from tests.actions.examples import StubEngine, a_device

INFERRED = Inferred(
    caller=a_device(),
    model="m",
    version=2,
    task="image-classification",
    request_id="r1",
    inference_id="i1",
    timing=Timing(1.0, 2.0, 3.0, 4.0, 10.0),
    input_bytes=7,
    content_type="application/json",
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "state", ManualClock()) as database:
        yield database


def history(database: Database, **settings: bool) -> TensorHistory:
    clock = ManualClock()
    return TensorHistory(
        Predictor(StubEngine(), database, clock, History(**settings), Metrics())  # type: ignore[arg-type]
    )


def test_of_the_tensors_only_their_id_is_kept(database: Database) -> None:
    history(database).record(INFERRED)
    assert database.flush()
    (row,) = predictions.find(database, predictions.Filter()).predictions
    assert (row.model, row.version, row.key_id, row.request_id) == ("m", 2, "cam001", "r1")
    assert (row.result, row.input_bytes, row.duration_ms) == (b'{"tensors":"i1"}', 7, 10.0)


def test_without_history_nothing_is_kept(database: Database) -> None:
    history(database, enabled=False).record(INFERRED)
    assert database.flush()
    assert predictions.find(database, predictions.Filter()).predictions == ()


def test_history_that_must_be_kept_and_cannot_be_refuses(database: Database) -> None:
    needed, wanted = history(database, required=True), history(database)
    needed.require_recordable()
    database.close()
    wanted.require_recordable()
    with pytest.raises(InsufficientStorage, match=r"history\.required"):
        needed.require_recordable()
    with pytest.raises(InsufficientStorage, match=r"history\.required"):
        needed.record(INFERRED)
