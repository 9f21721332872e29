from typing import Any

import msgspec
import pytest

from appliance.host.jobs.measure_params import EvaluateParams, QuantiseParams, TuneParams


@pytest.mark.parametrize("kind", [EvaluateParams, QuantiseParams, TuneParams])
def test_a_model_is_all_that_has_to_be_told(kind: Any) -> None:
    assert msgspec.convert({"model": "cats"}, kind).version is None
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"model": "cats", "speed": 1}, kind)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (EvaluateParams, {"most_items": "0"}),
        (EvaluateParams, {"most_seconds": "nan"}),
        (QuantiseParams, {"max_drop": "-1"}),
        (QuantiseParams, {"calibration_items": "2"}),
        (TuneParams, {"latency_ms": "0"}),
        (TuneParams, {"most_seconds": "100000"}),
    ],
)
def test_what_cannot_be_meant_is_refused(kind: Any, wrong: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"model": "cats", **wrong}, kind, strict=False)
