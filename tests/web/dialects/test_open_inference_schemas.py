"""The dialect's JSON carries the protocol's own names, and its schema takes what clients send."""

import json
from typing import Any

import jsonschema_rs
import msgspec
import numpy as np
import pytest
import tritonclient.http as triton

from appliance.web.dialects import open_inference_schemas as schemas

#: Source: Open Inference Protocol V2, HTTP/REST, "Types" of each response object.
PROTOCOL: dict[type[msgspec.Struct], set[str]] = {
    schemas.ServerMetadata: {"name", "version", "extensions"},
    schemas.ServerLive: {"live"},
    schemas.ModelMetadata: {
        *("name", "versions", "platform", "inputs", "outputs"),
        "rt_info",  # OpenVINO Model Server's addition
    },
    schemas.MetadataTensor: {"name", "datatype", "shape"},
    schemas.InferenceResponse: {"model_name", "model_version", "id", "outputs"},
    schemas.InferredTensor: {"name", "shape", "datatype", "parameters", "data"},
    schemas.Duration: {"count", "ns"},
    schemas.StatisticsList: {"model_stats"},
    schemas.RepositoryEntry: {"name", "version", "state", "reason"},
}


@pytest.mark.parametrize("kind", PROTOCOL, ids=lambda kind: kind.__name__)
def test_fields_have_the_protocols_names(kind: type[msgspec.Struct]) -> None:
    assert {field.encode_name for field in msgspec.structs.fields(kind)} == PROTOCOL[kind]


def test_readiness_serves_both_readings_of_the_protocol() -> None:
    told = json.loads(msgspec.json.encode(schemas.ServerReady(live=True, ready=False)))
    assert told == {"live": True, "ready": False}


def sent(*, binary: bool, outputs: bool = True) -> Any:
    """Return the JSON part of a request as the public client library makes it."""
    tensor = triton.InferInput("x", [2, 3], "FP32")
    tensor.set_data_from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3), binary_data=binary)
    wanted = [triton.InferRequestedOutput("y", binary_data=binary, class_count=2)]
    body, length = triton.InferenceServerClient.generate_request_body(
        [tensor], outputs=wanted if outputs else None, request_id="i1", parameters={"p": 1}
    )
    return json.loads(body[:length] if length else body)


SCHEMA = jsonschema_rs.Draft202012Validator(schemas.INFERENCE_REQUEST_SCHEMA)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("outputs", [True, False])
def test_the_schema_takes_what_the_public_client_sends(*, binary: bool, outputs: bool) -> None:
    request = sent(binary=binary, outputs=outputs)
    assert list(SCHEMA.iter_errors(request)) == []
    assert request["inputs"][0]["shape"] == [2, 3]


@pytest.mark.parametrize(
    "request_json",
    [
        {},
        {"inputs": {}},
        {"inputs": [{"name": "x", "shape": [1]}]},
        {"inputs": [{"name": "x", "shape": [-1], "datatype": "FP32"}]},
        {"inputs": [{"name": 1, "shape": [1], "datatype": "FP32"}]},
        {"inputs": [], "outputs": [{}]},
        {"inputs": [], "id": "x" * 257},
    ],
)
def test_the_schema_refuses_what_no_model_could_answer(request_json: Any) -> None:
    assert not SCHEMA.is_valid(request_json)


@pytest.mark.parametrize(
    ("body", "is_ready"), [(b"{}", False), (b'{"ready":true}', True), (b'{"ready":false}', False)]
)
def test_an_index_may_be_asked_for_what_is_ready_only(body: bytes, *, is_ready: bool) -> None:
    assert msgspec.json.decode(body, type=schemas.IndexRequest).ready is is_ready


def test_parameters_of_a_load_are_plain_values() -> None:
    body = b'{"parameters":{"unload_dependents":true,"config":"{}","n":1}}'
    found = msgspec.json.decode(body, type=schemas.RepositoryRequest)
    assert found.parameters == {"unload_dependents": True, "config": "{}", "n": 1.0}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"parameters":{"a":[]}}', type=schemas.RepositoryRequest)
