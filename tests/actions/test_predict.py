"""A prediction is the model's answer, recorded and measured, or a problem that says why not."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.actions.callers import Caller
from appliance.actions.predict import Predictor, Request, TensorTurn, shaped_params
from appliance.clock import ManualClock
from appliance.config import History
from appliance.errors import Forbidden, InsufficientStorage, InvalidInput, NotFound, Overloaded
from appliance.metrics import NAMESPACE, Metrics
from appliance.store import predictions
from appliance.store.database import Database
from appliance.store.disk import DiskWatch
from appliance.tasks.registry import task_named
from tests.access_parts import opened
from tests.actions.examples import TRUCK, StubEngine, a_device, a_status


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "state", ManualClock()) as database:
        yield database


@pytest.fixture
def engine() -> StubEngine:
    return StubEngine(a_status(version=3))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def predictor(
    engine: StubEngine, database: Database, metrics: Metrics, **history: Any
) -> Predictor:
    return Predictor(engine, database, ManualClock(), History(**history), metrics)  # type: ignore[arg-type]


def test_the_input_of_a_recorded_prediction_is_offered_to_be_kept_and_no_other(
    engine: StubEngine, database: Database, metrics: Metrics
) -> None:
    offered: list[tuple[str, str, bytes]] = []
    keeping = Predictor(
        engine,  # type: ignore[arg-type]
        database,
        ManualClock(),
        History(),
        metrics,
        keep_input=lambda *given: offered.append(given),
    )
    answer = keeping.predict(request())
    assert offered == [("vehicle-type", answer.id, b"bytes")]
    keeping.use_history(History(enabled=False))
    assert not keeping.predict(request()).recorded
    database.close()
    keeping.use_history(History())
    assert not keeping.predict(request()).recorded
    assert len(offered) == 1


def request(caller: Caller | None = None, **changes: Any) -> Request:
    asked = Request(
        caller=caller or a_device(),
        model="vehicle-type",
        version=None,
        params={},
        content_type="image/jpeg",
        body=b"bytes",
        request_id="r1",
        received_monotonic=time.monotonic(),
    )
    return asked._replace(**changes)


def counted(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(f"{NAMESPACE}_{name}")


def test_the_answer_is_the_models_own_json_with_where_it_came_from(
    engine: StubEngine, database: Database, metrics: Metrics
) -> None:
    answer = predictor(engine, database, metrics).predict(request(params={"top_k": "2"}))
    assert bytes(answer.result) == TRUCK
    assert (answer.task, answer.model, answer.version) == (
        "image-classification",
        "vehicle-type",
        3,
    )
    assert answer.recorded
    assert (answer.timing.queue_ms, answer.timing.decode_ms) == (1.0, 2.0)
    assert (answer.timing.infer_ms, answer.timing.encode_ms) == (3.0, 4.0)
    ((model, version, header, body),) = engine.calls
    assert (model, version, body) == ("vehicle-type", None, b"bytes")
    assert header["params"] == {"top_k": "2"}
    assert header["content_type"] == "image/jpeg"


def test_every_answer_is_found_again_in_the_history(
    engine: StubEngine, database: Database, metrics: Metrics
) -> None:
    answer = predictor(engine, database, metrics).predict(request())
    assert database.flush()
    row = predictions.get(database, answer.id)
    assert row is not None
    assert (row.model, row.version, row.label, row.confidence) == (
        "vehicle-type",
        3,
        "truck",
        0.75,
    )
    assert (row.key_id, row.key_name, row.request_id) == ("cam001", "camera cam001", "r1")
    assert (row.result, row.input_bytes, row.content_type) == (TRUCK, 5, "image/jpeg")
    assert row.received_seconds == ManualClock().wall_seconds()
    assert counted(metrics, "predictions_recorded_total") == 1


def test_without_history_nothing_is_recorded_and_the_answer_says_so(
    engine: StubEngine, database: Database, metrics: Metrics
) -> None:
    answer = predictor(engine, database, metrics, enabled=False).predict(request())
    assert not answer.recorded
    assert database.flush()
    assert predictions.count(database) == 0
    assert counted(metrics, "predictions_unrecorded_total") == 1


def test_when_nothing_can_be_written_the_answer_still_comes_and_says_so(
    engine: StubEngine, database: Database, metrics: Metrics
) -> None:
    database.close()
    answer = predictor(engine, database, metrics).predict(request())
    assert bytes(answer.result) == TRUCK
    assert not answer.recorded


def test_required_history_refuses_before_the_model_is_asked(
    engine: StubEngine, database: Database, metrics: Metrics
) -> None:
    database.close()
    with pytest.raises(InsufficientStorage, match=r"history\.required") as refused:
        predictor(engine, database, metrics, required=True).predict(request())
    assert refused.value.status == 507
    assert engine.calls == []


def test_required_history_gives_no_answer_that_was_not_accepted_for_writing(
    engine: StubEngine, metrics: Metrics, tmp_path: Path
) -> None:
    """The file takes writes, but on a full disk no new row of the history is accepted."""
    clock = ManualClock()
    disk = DiskWatch(tmp_path, reserve_bytes=4096, clock=clock)
    database = Database.open(
        tmp_path / "appliance.db", clock=clock, quota_bytes=1 << 30, queue_rows=10, disk=disk
    )
    try:
        disk.note_full()
        assert database.status().is_writable
        with pytest.raises(InsufficientStorage):
            predictor(engine, database, metrics, required=True).predict(request())
        assert not predictor(engine, database, metrics).predict(request()).recorded
    finally:
        database.close()


def test_required_history_answers_while_it_can_be_written(
    engine: StubEngine, database: Database, metrics: Metrics
) -> None:
    assert predictor(engine, database, metrics, required=True).predict(request()).recorded


def test_a_model_outside_the_keys_scope_is_forbidden_even_if_it_does_not_exist(
    engine: StubEngine, database: Database, metrics: Metrics
) -> None:
    caller = a_device(models=("step",))
    for model in ("vehicle-type", "nowhere"):
        with pytest.raises(Forbidden, match=model):
            predictor(engine, database, metrics).predict(request(caller, model=model))
    assert engine.calls == []


def test_an_unknown_model_and_the_engines_own_problems_reach_the_caller_unrecorded(
    engine: StubEngine, database: Database, metrics: Metrics
) -> None:
    subject = predictor(engine, database, metrics)
    with pytest.raises(NotFound):
        subject.predict(request(model="nowhere"))
    engine.fault = Overloaded("The waiting line is full.")
    with pytest.raises(Overloaded):
        subject.predict(request())
    assert database.flush()
    assert predictions.count(database) == 0


def test_wrong_parameters_never_reach_the_model(
    engine: StubEngine, database: Database, metrics: Metrics
) -> None:
    with pytest.raises(InvalidInput):
        predictor(engine, database, metrics).predict(request(params={"top_k": "none"}))
    assert engine.calls == []


IMAGES = task_named("image-classification")


def test_parameters_arrive_as_plain_values_that_fit_the_task() -> None:
    shaped = shaped_params(IMAGES, {"top_k": "3", "crop": "1,2,30,40", "min_confidence": "0.5"})
    params = msgspec.convert(shaped, IMAGES.Params, strict=False)
    assert params == IMAGES.Params(top_k=3, crop=(1, 2, 30, 40), min_confidence=0.5)
    assert shaped_params(IMAGES, {}) == {}


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"top_k": "0"}, "/query/top_k"),
        ({"top_k": "many"}, "/query/top_k"),
        ({"min_confidence": "1.1"}, "/query/min_confidence"),
        ({"crop": "1,2,3"}, "/query/crop"),
        ({"crop": "1,2,3,x"}, "/query/crop/3"),
        ({"topk": "3"}, "/query/topk"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(params: dict[str, str], pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        shaped_params(IMAGES, params)
    assert [fault.pointer for fault in refused.value.errors] == [pointer]


def test_an_unknown_parameter_is_told_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"'topk'.*top_k, min_confidence, crop"):
        shaped_params(IMAGES, {"topk": "3"})


def tensors() -> TensorTurn:
    return TensorTurn(
        caller=a_device(),
        model="vehicle-type",
        version=3,
        task="image-classification",
        request_id="r9",
        inference_id="i9",
        content_type="application/octet-stream; " + "x" * 200,
        input_bytes=12,
        duration_ms=2.0,
    )


def test_of_a_tensor_request_the_history_keeps_that_it_was_answered(
    engine: StubEngine, database: Database, metrics: Metrics
) -> None:
    assert predictor(engine, database, metrics).record_tensors(tensors())
    assert database.flush()
    (row,) = predictions.find(database, predictions.Filter()).predictions
    assert (row.result, row.label, row.key_id) == (b'{"tensors":"i9"}', None, "cam001")
    assert len(row.content_type) <= 100


def test_without_history_tensor_requests_leave_no_row(
    engine: StubEngine, database: Database, metrics: Metrics
) -> None:
    assert not predictor(engine, database, metrics, enabled=False).record_tensors(tensors())
    assert database.flush()
    assert predictions.count(database) == 0


def test_a_result_drawn_on_its_picture_is_recorded_like_any_other(
    database: Database, metrics: Metrics
) -> None:
    engine = StubEngine(a_status(version=3, task="object-detection"))
    answer, drawn = predictor(engine, database, metrics).draw(request(), "image/png")
    assert drawn == b"drawn bytes"
    assert engine.calls[0][2]["draw"] == "image/png"
    assert bytes(answer.result) == TRUCK
    assert database.flush()
    row = predictions.get(database, answer.id)
    assert row is not None
    assert row.result == TRUCK


def test_what_a_task_cannot_draw_is_not_asked_of_it(
    engine: StubEngine, database: Database, metrics: Metrics
) -> None:
    answer, drawn = predictor(engine, database, metrics).draw(request(), "image/png")
    assert drawn is None
    assert "draw" not in engine.calls[0][2]
    assert bytes(answer.result) == TRUCK
    detector = StubEngine(a_status(task="object-detection"))
    assert predictor(detector, database, metrics).draw(request(), "image/gif")[1] is None
