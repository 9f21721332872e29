"""Models as the dialect describes them."""

import json

import msgspec
import pytest
import tritonclient.http as triton

from appliance.web.dialects.open_inference_schemas import (
    ModelConfig,
    ModelMetadata,
)
from tests.web.dialects.open_inference_server import (
    Served,
    error,
    features,
    raw,
)


def test_metadata_shows_tensors_with_the_batch_as_a_free_size(
    client: triton.InferenceServerClient,
) -> None:
    for version in ("", "3"):
        found = msgspec.convert(client.get_model_metadata("add", version), ModelMetadata)
        assert (found.name, found.versions) == ("add", ("3",))
        assert [(one.name, one.datatype, one.shape) for one in found.inputs] == [
            ("a", "FP32", (-1, 4)),
            ("b", "FP32", (-1, 4)),
        ]
        assert [one.name for one in found.outputs] == ["sum", "difference"]


def test_configuration_leaves_the_batch_out_of_the_dimensions(
    client: triton.InferenceServerClient,
) -> None:
    found = msgspec.convert(client.get_model_config("picture", "3"), ModelConfig)
    assert found.max_batch_size == 8
    assert (found.input[0].data_type, found.input[0].dims) == ("TYPE_UINT8", (2, 2, 3))
    text = msgspec.convert(client.get_model_config("upper"), ModelConfig)
    assert text.input[0].data_type == "TYPE_STRING"


def test_a_model_that_never_ran_has_no_tensors_to_describe(v2: Served) -> None:
    v2.engine.states["add"] = ("starting", "")
    v2.engine.hides_tensors = True
    assert "starting" in error(raw(v2, "GET", "/v2/models/add"), 503)
    assert "starting" in error(raw(v2, "GET", "/v2/models/add/config"), 503)


@pytest.mark.parametrize("version", ["", "9", "0", "x", "3.0", "٣"])
@pytest.mark.parametrize("part", ["", "/ready", "/config", "/stats"])
def test_unknown_models_and_versions_are_told_in_the_words_clients_look_for(
    v2: Served, version: str, part: str
) -> None:
    name = "add" if version else "nowhere"
    path = f"/v2/models/{name}" + (f"/versions/{version}" if version else "") + part
    text = error(raw(v2, "GET", _quoted(path)), 404)
    assert text.startswith(f"Request for unknown model: '{name}'")


def _quoted(path: str) -> str:
    return "".join(c if ord(c) < 128 else "".join(f"%{b:02X}" for b in c.encode()) for c in path)


def test_the_list_of_models_is_there(v2: Served) -> None:
    v2.engine.states["add"] = ("stopped", "")
    names = json.loads(raw(v2, "GET", "/v2/models")[2])["models"]
    assert "upper" in names
    assert "add" not in names


@pytest.mark.parametrize("path", ["/v2/", "/v2/models/", "/v2/models/add/", "/v2/health/live/"])
def test_a_trailing_slash_changes_nothing(v2: Served, path: str) -> None:
    assert raw(v2, "GET", path)[::2] == raw(v2, "GET", path.rstrip("/"))[::2]


def test_query_parameters_of_clients_are_ignored(client: triton.InferenceServerClient) -> None:
    extra = {"a": ["1", "2"], "b": "%00"}
    assert client.is_server_ready(query_params=extra)
    assert client.get_model_metadata("add", query_params=extra)["name"] == "add"
    assert client.infer("scores", [features()], query_params=extra).as_numpy("scores") is not None


def test_metadata_tells_openvino_model_api_what_it_asks_for(v2: Served) -> None:
    document = json.loads(raw(v2, "GET", "/v2/models/scores")[2])
    assert document["rt_info"] == {"model_info": {"model_type": "Classification"}}
