"""Health and metadata of the server, for every kind of client."""

import json

import msgspec
import tritonclient.http as triton

from appliance.web.dialects.open_inference_schemas import (
    ServerMetadata,
)
from tests.web.dialects.open_inference_server import (
    Served,
    error,
    raw,
)


def test_health_satisfies_clients_that_read_the_body_and_those_that_do_not(
    v2: Served, client: triton.InferenceServerClient
) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("add")
    assert client.is_model_ready("add", "3")
    assert json.loads(raw(v2, "GET", "/v2/health/live")[2]) == {"live": True}
    assert json.loads(raw(v2, "GET", "/v2/health/ready")[2]) == {"live": True, "ready": True}
    answer = raw(v2, "GET", "/v2/models/add/ready")
    assert json.loads(answer[2]) == {"name": "add", "ready": True}


def test_one_active_model_that_is_not_ready_makes_the_server_not_ready(
    v2: Served, client: triton.InferenceServerClient
) -> None:
    v2.engine.states["add"] = ("failed", "its weights are cut off.")
    assert client.is_server_live()
    assert not client.is_server_ready()
    assert not client.is_model_ready("add")
    assert client.is_model_ready("upper")
    assert "add" in error(raw(v2, "GET", "/v2/health/ready"), 503)
    text = error(raw(v2, "GET", "/v2/models/add/ready"), 503)
    assert text == "Model 'add' version 3 is failed, not ready: its weights are cut off."


def test_a_model_that_was_unloaded_does_not_make_the_server_unready(
    v2: Served, client: triton.InferenceServerClient
) -> None:
    v2.engine.states["add"] = ("stopped", "")
    assert client.is_server_ready()
    assert not client.is_model_ready("add")


def test_the_server_names_itself_and_only_the_extensions_it_has(
    client: triton.InferenceServerClient,
) -> None:
    found = msgspec.convert(client.get_server_metadata(), ServerMetadata)
    assert found.name == "inference-appliance"
    assert {"binary_tensor_data", "statistics", "model_repository"} <= set(found.extensions)
    assert not {"logging", "trace"} & set(found.extensions)
