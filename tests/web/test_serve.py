"""Which requests wait for models; the running service is tested end to end (test_starting.py)."""

import pytest

from appliance.web.lanes import Lane
from appliance.web.serve import lane_of


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/models/vehicle-type/predict"),
        ("POST", "/api/v1/models/vehicle-type/predict/"),
        ("POST", "/api/v1/models/vehicle-type/versions/2/predict"),
        ("POST", "/v2/models/vehicle-type/infer"),
        ("POST", "/api/vehicle/classify"),
        ("POST", "/api/v1/streams/01a1fbfd-2104-7001-b1f5-9329ab45552f"),
        ("DELETE", "/api/v1/streams/01a1fbfd-2104-7001-b1f5-9329ab45552f"),
        ("POST", "/detect_step"),
    ],
)
def test_what_asks_a_model_waits_in_the_inference_lane(method: str, path: str) -> None:
    assert lane_of(method, path) is Lane.INFERENCE


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/live"),
        ("GET", "/metrics"),
        ("GET", "/api/v1/models/vehicle-type/predict"),
        ("POST", "/api/v1/keys"),
        ("POST", "/api/v1/streams"),
        ("POST", "/v2/repository/models/vehicle-type/load"),
        ("POST", "/predict/../live"),
    ],
)
def test_everything_else_never_waits_behind_predictions(method: str, path: str) -> None:
    assert lane_of(method, path) is Lane.CONTROL
