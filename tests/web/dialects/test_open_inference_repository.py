"""The repository: index, load and unload."""

import json

import msgspec
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from appliance.web.dialects.open_inference_schemas import (
    RepositoryEntry,
)
from tests.web.dialects.open_inference_server import (
    Served,
    error,
    raw,
)


def test_the_index_lists_every_version_with_its_state(
    v2: Served, client: triton.InferenceServerClient
) -> None:
    v2.engine.states |= {
        "add": ("stopped", ""),
        "upper": ("starting", ""),
        "scores": ("failed", "no memory"),
    }
    index = msgspec.convert(client.get_model_repository_index(), list[RepositoryEntry])
    found = {entry.name: (entry.version, entry.state, entry.reason) for entry in index}
    assert found["add"] == ("3", "UNAVAILABLE", "unloaded")
    assert found["upper"] == ("3", "LOADING", "")
    assert found["scores"] == ("3", "UNAVAILABLE", "no memory")
    assert found["picture"] == ("3", "READY", "")
    ready = json.loads(raw(v2, "POST", "/v2/repository/index", b'{"ready":true}')[2])
    assert {entry["state"] for entry in ready} == {"READY"}


@pytest.mark.parametrize("body", [b"[]", b"1", b'{"ready":1}', b"{", b"\xff", b"null"])
def test_an_index_request_of_another_shape_is_refused(v2: Served, body: bytes) -> None:
    error(raw(v2, "POST", "/v2/repository/index", body), 400)


def test_a_model_is_unloaded_and_loaded_again(
    v2: Served, client: triton.InferenceServerClient
) -> None:
    client.unload_model("scores")
    assert not client.is_model_ready("scores")
    client.load_model("scores")
    assert client.is_model_ready("scores")
    client.unload_model("scores", unload_dependents=True)
    assert v2.changes == [("k", "unload scores"), ("k", "load scores"), ("k", "unload scores")]


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_an_answer_without_content_is_still_a_200(v2: Served, verb: str) -> None:
    status, headers, body = raw(v2, "POST", f"/v2/repository/models/add/{verb}")
    assert (status, headers["content-length"], body) == (200, "0", b"")


def test_a_failed_load_says_so_in_the_words_clients_look_for(
    v2: Served, client: triton.InferenceServerClient
) -> None:
    with pytest.raises(
        InferenceServerException, match=r"failed to load 'picture'.*cut off"
    ) as caught:
        client.load_model("picture")
    assert caught.value.status() == "400"
    with pytest.raises(
        InferenceServerException, match="failed to load 'no': Request for unknown model"
    ) as caught:
        client.load_model("no")
    assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException, match="failed to unload 'no'"):
        client.unload_model("no")


def test_a_model_cannot_be_sent_along_with_a_load(
    v2: Served, client: triton.InferenceServerClient
) -> None:
    with pytest.raises(InferenceServerException, match=r"failed to load 'add'.*Import"):
        client.load_model("add", config="{}", files={"file:1/model.xml": b"<net/>"})
    assert v2.changes == []
