"""Which requests wait for models; the running service is tested end to end (test_starting.py)."""

import threading

import pytest

from appliance.config import Limits
from appliance.errors import StateUnusable
from appliance.web.door import bind
from appliance.web.lanes import Lane
from appliance.web.serve import bind_patiently, body_limit_of, lane_of


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


@pytest.mark.parametrize(
    ("method", "path", "most_bytes"),
    [
        ("POST", "/api/v1/keys", 11),
        ("POST", "/api/v1/models/vehicle-type/predict", 110),
        ("POST", "/api/v1/models", 1000),
        ("POST", "/api/v1/models/", 1000),
        ("POST", "/api/v1/models/vehicle-type/batch", 1000),
        ("GET", "/api/v1/models", 11),
        ("POST", "/api/v1/models/../keys", 11),
    ],
)
def test_each_body_has_the_limit_of_what_it_is_for(
    method: str, path: str, most_bytes: int
) -> None:
    limits = Limits(json_bytes=10, input_bytes=100, body_bytes=1000)
    assert body_limit_of(method, path, limits) == most_bytes


def test_a_port_that_is_let_go_in_a_moment_is_waited_for() -> None:
    stored = bind("0.0.0.0", 0)
    port = stored.getsockname()[1]
    # As systemd does with a stored socket after a change of http.host.
    closing = threading.Timer(0.2, stored.close)
    closing.start()
    with bind_patiently("127.0.0.1", port, patience_seconds=30) as listener:
        assert listener.getsockname() == ("127.0.0.1", port)
    closing.join()


def test_a_port_of_another_program_is_named_at_once() -> None:
    with bind("127.0.0.1", 0) as taken, pytest.raises(StateUnusable, match="Another program"):
        bind_patiently("127.0.0.1", taken.getsockname()[1], patience_seconds=0)
