"""A tensor request is let through, measured and recorded, or refused before the model works."""

import pytest

from appliance.errors import InsufficientStorage
from tests.tensor_models import LABELS
from tests.web.dialects.open_inference_server import Served, error, infer, json_request


def test_history_that_must_be_kept_is_asked_for_before_the_model_works(v2: Served) -> None:
    v2.unrecordable = InsufficientStorage("The disk is full.")
    assert error(infer(v2, json_request()), 507) == "The disk is full."
    assert v2.engine.status("scores", None).statistics.success_count == 0
    assert v2.records == []


def test_what_was_answered_is_recorded_with_who_asked_and_how_long_it_took(v2: Served) -> None:
    status, headers, _ = infer(v2, json_request(2))
    assert status == 200
    (told,) = v2.records
    assert (told.model, told.version, told.task) == ("scores", 3, "tensors")
    assert (told.caller.key_name, told.input_bytes) == ("k", len(json_request(2)))
    assert headers["server-timing"].endswith(f"total;dur={told.timing.total_ms}")


@pytest.mark.parametrize("rows", [1, 3])
def test_batches_are_told_apart_in_the_statistics(v2: Served, rows: int) -> None:
    infer(v2, json_request(rows))
    (batch,) = v2.engine.status("scores", None).batches
    assert (batch.batch_size, batch.count) == (rows, 1)
    assert len(LABELS) == 5
