"""The dialect over real sockets: tritonclient's two clients, and HTTP for what they never send."""

import asyncio
import gzip
import http.client
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from appliance import errors
from appliance.actions.callers import Caller, Role, anonymous
from appliance.config import Limits
from appliance.web.dialects import open_inference
from appliance.web.dialects.open_inference_schemas import (
    InferenceResponse,
    ModelConfig,
    ModelMetadata,
    RepositoryEntry,
    ServerMetadata,
    StatisticsList,
)
from appliance.web.operation import Access, operation_of
from tests.tensor_models import ALL, LABELS, InProcessEngine
from tests.web.dialects.open_inference_server import BODY_BYTES, Served, serving


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    with serving() as served:
        yield served


@pytest.fixture
def served(running: Served) -> Served:
    """The server, as if just started."""
    fresh = InProcessEngine(*ALL)
    running.engine.__dict__.update(fresh.__dict__)
    running.caller = Caller(key_name="k", address="127.0.0.1", role=Role.ADMIN)
    running.records.clear()
    running.changes.clear()
    return running


@pytest.fixture
def client(served: Served) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(served.address) as found:
        yield found


def tensor(name: str, array: np.ndarray, datatype: str, *, binary: bool = True) -> Any:
    found = triton.InferInput(name, list(array.shape), datatype)
    found.set_data_from_numpy(array, binary_data=binary)
    return found


def features(rows: int = 1, *, binary: bool = True) -> Any:
    array = np.arange(rows * 5, dtype=np.float32).reshape(rows, 5)
    return tensor("features", array, "FP32", binary=binary)


def raw(
    served: Served,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(served.address, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def error(answer: tuple[int, dict[str, str], bytes], status: int) -> str:
    """Return the text of an answer that must be the protocol's error."""
    got, headers, body = answer
    document = json.loads(body)
    assert (got, headers["content-type"], list(document)) == (
        status,
        "application/json",
        ["error"],
    )
    assert document["error"]
    return str(document["error"])


def json_request(rows: int = 1, **more: Any) -> bytes:
    data = list(range(rows * 5))
    one = {"name": "features", "shape": [rows, 5], "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [one]} | more).encode()


# ---- health, metadata, configuration -------------------------------------------------------


def test_health_satisfies_clients_that_read_the_body_and_those_that_do_not(
    served: Served, client: triton.InferenceServerClient
) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("add")
    assert client.is_model_ready("add", "3")
    assert json.loads(raw(served, "GET", "/v2/health/live")[2]) == {"live": True}
    assert json.loads(raw(served, "GET", "/v2/health/ready")[2]) == {"live": True, "ready": True}
    answer = raw(served, "GET", "/v2/models/add/ready")
    assert json.loads(answer[2]) == {"name": "add", "ready": True}


def test_one_active_model_that_is_not_ready_makes_the_server_not_ready(
    served: Served, client: triton.InferenceServerClient
) -> None:
    served.engine.states["add"] = ("failed", "its weights are cut off.")
    assert client.is_server_live()
    assert not client.is_server_ready()
    assert not client.is_model_ready("add")
    assert client.is_model_ready("upper")
    assert "add" in error(raw(served, "GET", "/v2/health/ready"), 503)
    text = error(raw(served, "GET", "/v2/models/add/ready"), 503)
    assert text == "Model 'add' version 3 is failed, not ready: its weights are cut off."


def test_a_model_that_was_unloaded_does_not_make_the_server_unready(
    served: Served, client: triton.InferenceServerClient
) -> None:
    served.engine.states["add"] = ("stopped", "")
    assert client.is_server_ready()
    assert not client.is_model_ready("add")


def test_the_server_names_itself_and_only_the_extensions_it_has(
    client: triton.InferenceServerClient,
) -> None:
    found = msgspec.convert(client.get_server_metadata(), ServerMetadata)
    assert found.name == "inference-appliance"
    assert {"binary_tensor_data", "statistics", "model_repository"} <= set(found.extensions)
    assert not {"sequence", "trace", "logging"} & set(found.extensions)


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


def test_a_model_that_never_ran_has_no_tensors_to_describe(served: Served) -> None:
    served.engine.states["add"] = ("starting", "")
    served.engine.hides_tensors = True
    assert "starting" in error(raw(served, "GET", "/v2/models/add"), 503)
    assert "starting" in error(raw(served, "GET", "/v2/models/add/config"), 503)


@pytest.mark.parametrize("version", ["", "9", "0", "x", "3.0", "٣"])
@pytest.mark.parametrize("part", ["", "/ready", "/config", "/stats"])
def test_unknown_models_and_versions_are_told_in_the_words_clients_look_for(
    served: Served, version: str, part: str
) -> None:
    name = "add" if version else "nowhere"
    path = f"/v2/models/{name}" + (f"/versions/{version}" if version else "") + part
    text = error(raw(served, "GET", _quoted(path)), 404)
    assert text.startswith(f"Request for unknown model: '{name}'")


def _quoted(path: str) -> str:
    return "".join(c if ord(c) < 128 else "".join(f"%{b:02X}" for b in c.encode()) for c in path)


def test_the_list_of_models_is_there(served: Served) -> None:
    served.engine.states["add"] = ("stopped", "")
    names = json.loads(raw(served, "GET", "/v2/models")[2])["models"]
    assert "upper" in names
    assert "add" not in names


@pytest.mark.parametrize("path", ["/v2/", "/v2/models/", "/v2/models/add/", "/v2/health/live/"])
def test_a_trailing_slash_changes_nothing(served: Served, path: str) -> None:
    assert raw(served, "GET", path)[::2] == raw(served, "GET", path.rstrip("/"))[::2]


def test_query_parameters_of_clients_are_ignored(client: triton.InferenceServerClient) -> None:
    extra = {"a": ["1", "2"], "b": "%00"}
    assert client.is_server_ready(query_params=extra)
    assert client.get_model_metadata("add", query_params=extra)["name"] == "add"
    assert client.infer("scores", [features()], query_params=extra).as_numpy("scores") is not None


# ---- inference with tritonclient -----------------------------------------------------------


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_tensors_go_in_and_out_as_json_or_binary_packed_or_plain(
    client: triton.InferenceServerClient,
    binary_in: bool,
    binary_out: bool | None,
    packed: str | None,
) -> None:
    a, b = np.float32([[1, 2, 3, 4]]), np.float32([[4, 3, 2, 1]])
    outputs = (
        None
        if binary_out is None
        else [triton.InferRequestedOutput("difference", binary_data=binary_out)]
    )
    result = client.infer(
        "add",
        [
            tensor("a", a, "FP32", binary=binary_in),
            tensor("b", b, "FP32", binary=not binary_in),
        ],
        outputs=outputs,
        request_id="42",
        model_version="3",
        request_compression_algorithm=packed,
        response_compression_algorithm=packed,
    )
    np.testing.assert_array_equal(result.as_numpy("difference"), a - b)
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == (
        "42",
        "add",
        "3",
    )
    if binary_out is None:
        np.testing.assert_array_equal(result.as_numpy("sum"), a + b)
    else:
        assert result.get_output("sum") is None


_VALUES = {
    "BOOL": np.array([[True, False, True]]),
    "UINT8": np.array([[0, 1, 255]], np.uint8),
    "UINT16": np.array([[0, 1, 65535]], np.uint16),
    "UINT32": np.array([[0, 1, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 1, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, 0, 127]], np.int8),
    "INT16": np.array([[-(2**15), 0, 2**15 - 1]], np.int16),
    "INT32": np.array([[-(2**31), 0, 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 0, 2**63 - 1]], np.int64),
    "FP16": np.array([[-65504, 0.5, np.inf]], np.float16),
    "BF16": np.array([[-1.5, 0, 3e38]], ml_dtypes.bfloat16),
    "FP32": np.array([[-3.4e38, 0.1, np.nan]], np.float32),
    "FP64": np.array([[-1e308, 0.1, np.inf]], np.float64),
    "BYTES": np.array([[b"", b"\x00\xff", "grün".encode()]], object),
}


@pytest.mark.parametrize("datatype", list(_VALUES))
def test_every_datatype_survives_in_binary(
    client: triton.InferenceServerClient, datatype: str
) -> None:
    values = _VALUES[datatype]
    result = client.infer(f"mirror-{datatype.lower()}", [tensor("x", values, datatype)])
    np.testing.assert_array_equal(result.as_numpy("x_out"), values)


@pytest.mark.parametrize(
    "datatype", [kind for kind in _VALUES if kind not in ("FP16", "BF16", "BYTES")]
)
def test_every_datatype_json_knows_survives_in_json(
    client: triton.InferenceServerClient, datatype: str
) -> None:
    values = _VALUES[datatype][:, :2]
    result = client.infer(
        f"mirror-{datatype.lower()}",
        [tensor("x", values, datatype, binary=False)],
        outputs=[triton.InferRequestedOutput("x_out", binary_data=False)],
    )
    np.testing.assert_array_equal(result.as_numpy("x_out"), values)


def test_text_goes_in_and_out_as_json(client: triton.InferenceServerClient) -> None:
    result = client.infer(
        "upper",
        [tensor("text", np.array([["grün"], ["b"]], object), "BYTES", binary=False)],
        outputs=[triton.InferRequestedOutput("upper", binary_data=False)],
    )
    assert result.as_numpy("upper").tolist() == [["GRüN"], ["B"]]


@pytest.mark.parametrize("binary", [True, False])
def test_classification_returns_the_best_labels(
    client: triton.InferenceServerClient, binary: bool
) -> None:
    wanted = triton.InferRequestedOutput("scores", binary_data=binary, class_count=2)
    found = client.infer("scores", [features(2)], outputs=[wanted]).as_numpy("scores")
    texts = [[t if isinstance(t, str) else t.decode() for t in row] for row in found]
    assert texts[0] == [f"8.000000:4:{LABELS[4]}", f"6.000000:3:{LABELS[3]}"]
    assert texts[1][0] == f"18.000000:4:{LABELS[4]}"


def test_sequence_priority_and_timeout_of_the_client_do_no_harm(
    client: triton.InferenceServerClient,
) -> None:
    result = client.infer(
        "scores",
        [features()],
        sequence_id=7,
        sequence_start=True,
        sequence_end=True,
        priority=1,
        timeout=1000,
        parameters={"mine": "x"},
    )
    assert result.as_numpy("scores").shape == (1, 5)


def test_an_encoded_picture_is_an_input_too(client: triton.InferenceServerClient) -> None:
    one = tensor("image", np.array([b"\x07", b"\x09"], object), "BYTES")
    found = client.infer("picture", [one]).as_numpy("mean")
    assert found.tolist() == [[7, 7, 7], [9, 9, 9]]


def test_a_wrong_request_names_input_expected_and_got(
    client: triton.InferenceServerClient,
) -> None:
    wrong = tensor("features", np.zeros((1, 6), np.float32), "FP32")
    with pytest.raises(InferenceServerException) as caught:
        client.infer("scores", [wrong])
    assert caught.value.status() == "400"
    assert caught.value.message() == "Input 'features': expected shape [-1,5], got [1,6]."


def test_inference_with_an_unknown_model_or_one_not_ready(
    served: Served, client: triton.InferenceServerClient
) -> None:
    with pytest.raises(
        InferenceServerException, match="Request for unknown model: 'no'"
    ) as caught:
        client.infer("no", [features()])
    assert caught.value.status() == "404"
    served.engine.states["scores"] = ("starting", "")
    with pytest.raises(InferenceServerException, match="starting") as caught:
        client.infer("scores", [features()])
    assert caught.value.status() == "503"


def test_the_asynchronous_client_works_with_many_requests_at_once(served: Served) -> None:
    async def talk() -> list[Any]:
        async with triton_aio.InferenceServerClient(served.address) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert (await client.get_server_metadata())["name"] == "inference-appliance"
            assert (await client.get_model_metadata("scores"))["name"] == "scores"
            with pytest.raises(InferenceServerException, match="unknown model"):
                await client.get_model_metadata("nowhere")
            return await asyncio.gather(
                *(
                    client.infer(
                        "scores",
                        [features(1 + n % 3, binary=n % 2 == 0)],
                        request_id=str(n),
                        request_compression_algorithm="gzip" if n % 5 == 0 else None,
                        response_compression_algorithm="deflate" if n % 7 == 0 else None,
                    )
                    for n in range(40)
                )
            )

    for n, result in enumerate(asyncio.run(talk())):
        assert result.get_response()["id"] == str(n)
        rows = 1 + n % 3
        expected = np.arange(rows * 5).reshape(rows, 5) * 2
        np.testing.assert_array_equal(result.as_numpy("scores"), expected)


# ---- inference over plain HTTP ---------------------------------------------------------------


def infer(
    served: Served, body: bytes, model: str = "scores", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return raw(served, "POST", f"/v2/models/{model}/infer", body, named)


@pytest.mark.parametrize("content_type", [None, "text/plain", "x", "application/json; charset=a"])
def test_the_content_type_of_a_request_does_not_matter(
    served: Served, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content_Type": content_type}
    status, answered, body = infer(served, json_request(), **headers)
    assert (status, answered["content-type"]) == (200, "application/json")
    found = msgspec.json.decode(body, type=InferenceResponse)
    assert found.outputs[0].data == (0, 2, 4, 6, 8)
    assert "infer;dur=" in answered["server-timing"]


def test_an_answer_to_a_request_without_id_has_the_id_of_the_http_request(served: Served) -> None:
    _, headers, body = infer(served, json_request(), X_Request_ID="abc-1")
    assert headers["x-request-id"] == "abc-1"
    assert json.loads(body)["id"] == "abc-1"


def test_a_raw_request_is_only_bytes_both_ways(served: Served) -> None:
    body = np.arange(5, dtype="<f4").tobytes()
    status, headers, answered = infer(served, body, Inference_Header_Content_Length="0")
    assert status == 200
    assert headers["content-type"] == "application/octet-stream"
    cut = int(headers["inference-header-content-length"])
    assert np.frombuffer(answered[cut:], "<f4").tolist() == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("length", ["-1", "x", "", "1.0", "9" * 30, "0x10", "1e3", "٣", "10000"])
def test_a_header_length_that_is_not_one_is_refused(served: Served, length: str) -> None:
    given = {"Inference-Header-Content-Length": length.encode().decode("latin-1")}
    answer = raw(served, "POST", "/v2/models/scores/infer", json_request(), given)
    if length == "":  # waitress leaves empty headers in: an empty one is no number either
        assert answer[0] == 400
        return
    assert "Inference-Header-Content-Length" in error(answer, 400)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"inputs":"\\ud800"}', bytes(100)],
)
@pytest.mark.parametrize("length", [None, "1", "0"])
def test_garbage_is_a_400_in_the_protocols_shape(
    served: Served, body: bytes, length: str | None
) -> None:
    headers = {} if length is None else {"Inference_Header_Content_Length": length}
    error(infer(served, body, **headers), 400)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "GZIP", "x-gzip"])
def test_packed_requests_are_unpacked(served: Served, coding: str) -> None:
    pack = zlib.compress if coding == "deflate" else gzip.compress
    status, _, body = infer(served, pack(json_request()), Content_Encoding=coding)
    assert status == 200
    assert json.loads(body)["outputs"][0]["data"] == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (b"not packed", "gzip", 400),
        (b"", "gzip", 400),
        (gzip.compress(json_request())[:-9], "gzip", 400),
        (gzip.compress(json_request()) + b"x", "gzip", 400),
        (gzip.compress(json_request()), "deflate", 400),
        (zlib.compress(json_request()), "gzip", 400),
        (gzip.compress(bytes(50 * BODY_BYTES)), "gzip", 413),
        (zlib.compress(bytes(50 * BODY_BYTES)), "deflate", 413),
        (json_request(), "br", 415),
        (gzip.compress(json_request()), "gzip, gzip", 415),
    ],
)
def test_packed_requests_that_are_broken_or_bombs_are_refused(
    served: Served, body: bytes, coding: str, status: int
) -> None:
    error(infer(served, body, Content_Encoding=coding), status)


def test_a_body_beyond_the_limit_is_refused(served: Served) -> None:
    assert "limits.input_bytes" in error(infer(served, bytes(BODY_BYTES + 1)), 413)


def test_too_large_a_batch_is_refused(served: Served) -> None:
    assert "limits.tensor_batch" in error(infer(served, json_request(9)), 413)


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        (None, None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=1.0", "gzip"),
        ("gzip;q=0", None),
        ("identity", None),
        ("gzip, deflate, br", None),
        ("*", None),
        ("br", None),
    ],
)
def test_answers_are_packed_only_for_clients_that_ask_for_just_that(
    served: Served, accepted: str | None, packed: str | None
) -> None:
    body = json.dumps(
        {"inputs": [{"name": "x", "shape": [1, 3000], "datatype": "INT8", "data": [7] * 3000}]}
    ).encode()
    headers = {} if accepted is None else {"Accept_Encoding": accepted}
    status, answered, content = infer(served, body, "mirror-int8", **headers)
    assert (status, answered.get("content-encoding")) == (200, packed)
    assert answered["vary"] == "Accept-Encoding"
    unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[packed]
    assert json.loads(unpack(content))["outputs"][0]["shape"] == [1, 3000]


def test_small_answers_are_not_packed(served: Served) -> None:
    answered = infer(served, json_request(), Accept_Encoding="gzip")[1]
    assert "content-encoding" not in answered


def test_every_answered_inference_is_told_to_the_history(served: Served) -> None:
    body = json_request(2, id="mine")
    infer(served, body, X_Request_ID="r-1")
    infer(served, b"{}")
    (record,) = served.records
    assert (record.model, record.version, record.task) == ("scores", 3, "tensors")
    assert (record.request_id, record.inference_id) == ("r-1", "mine")
    assert (record.input_bytes, record.content_type) == (len(body), "application/json")
    assert record.caller.key_name == "k"
    assert record.timing.total_ms >= record.timing.infer_ms >= 0


# ---- statistics ------------------------------------------------------------------------------


def test_statistics_count_rows_as_inferences_and_requests_as_executions(
    served: Served, client: triton.InferenceServerClient
) -> None:
    for rows in (1, 8):
        client.infer("scores", [features(rows)])
    infer(served, b"{}")
    for found in (
        client.get_inference_statistics("scores"),
        client.get_inference_statistics("scores", "3"),
    ):
        (row,) = msgspec.convert(found, StatisticsList).model_stats
        assert (row.name, row.version) == ("scores", "3")
        assert (row.inference_count, row.execution_count) == (9, 2)
        stats = row.inference_stats
        assert (stats.success.count, stats.fail.count, stats.queue.count) == (2, 1, 2)
        assert stats.success.ns >= stats.compute_infer.ns > 0
        assert stats.cache_hit.count == 0
        assert row.last_inference > 1_600_000_000_000


def test_statistics_of_all_models_leave_out_those_that_are_not_served(
    served: Served, client: triton.InferenceServerClient
) -> None:
    served.engine.states["add"] = ("stopped", "")
    rows = client.get_inference_statistics()["model_stats"]
    names = [row["name"] for row in rows]
    assert "scores" in names
    assert "add" not in names


# ---- repository ------------------------------------------------------------------------------


def test_the_index_lists_every_version_with_its_state(
    served: Served, client: triton.InferenceServerClient
) -> None:
    served.engine.states |= {
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
    ready = json.loads(raw(served, "POST", "/v2/repository/index", b'{"ready":true}')[2])
    assert {entry["state"] for entry in ready} == {"READY"}


@pytest.mark.parametrize("body", [b"[]", b"1", b'{"ready":1}', b"{", b"\xff", b"null"])
def test_an_index_request_of_another_shape_is_refused(served: Served, body: bytes) -> None:
    error(raw(served, "POST", "/v2/repository/index", body), 400)


def test_a_model_is_unloaded_and_loaded_again(
    served: Served, client: triton.InferenceServerClient
) -> None:
    client.unload_model("scores")
    assert not client.is_model_ready("scores")
    client.load_model("scores")
    assert client.is_model_ready("scores")
    client.unload_model("scores", unload_dependents=True)
    assert served.changes == [("k", "unload scores"), ("k", "load scores"), ("k", "unload scores")]


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_an_answer_without_content_is_still_a_200(served: Served, verb: str) -> None:
    status, headers, body = raw(served, "POST", f"/v2/repository/models/add/{verb}")
    assert (status, headers["content-length"], body) == (200, "0", b"")


def test_a_failed_load_says_so_in_the_words_clients_look_for(
    served: Served, client: triton.InferenceServerClient
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
    served: Served, client: triton.InferenceServerClient
) -> None:
    with pytest.raises(InferenceServerException, match=r"failed to load 'add'.*Import"):
        client.load_model("add", config="{}", files={"file:1/model.xml": b"<net/>"})
    assert served.changes == []


# ---- who may do what ---------------------------------------------------------------------------


def test_health_is_public_inference_is_for_devices_and_loading_for_operators() -> None:
    engine, found = InProcessEngine(*ALL), {}
    for route in open_inference.routes(
        engine, limits=Limits(), record=print, load=print, unload=print
    ):
        for method in ("GET", "POST"):
            described = operation_of(route.resource, method, route.suffix)
            if described is not None:
                assert described.dialect == "open-inference"
                assert described.any_query
                found[route.path] = described.access
    assert {path for path, access in found.items() if access is Access.PUBLIC} == {
        "/v2/health/live",
        "/v2/health/ready",
    }
    assert {path for path, access in found.items() if access is Access.OPERATOR} == {
        "/v2/repository/models/{model}/load",
        "/v2/repository/models/{model}/unload",
    }
    assert set(found.values()) == {Access.PUBLIC, Access.DEVICE, Access.OPERATOR}


def test_a_key_sees_and_uses_only_the_models_of_its_scope(served: Served) -> None:
    served.caller = Caller(
        key_name="one", address="127.0.0.1", role=Role.OPERATOR, models=("upper",)
    )
    assert json.loads(raw(served, "GET", "/v2/models")[2]) == {"models": ["upper"]}
    index = json.loads(raw(served, "POST", "/v2/repository/index")[2])
    assert [entry["name"] for entry in index] == ["upper"]
    rows = json.loads(raw(served, "GET", "/v2/models/stats")[2])["model_stats"]
    assert [row["name"] for row in rows] == ["upper"]
    for part in ("", "/ready", "/config", "/stats"):
        error(raw(served, "GET", f"/v2/models/scores{part}"), 403)
    error(infer(served, json_request()), 403)
    for verb in ("load", "unload"):
        error(raw(served, "POST", f"/v2/repository/models/scores/{verb}"), 403)
    assert served.changes == []


def test_anonymous_callers_get_health(served: Served) -> None:
    served.caller = anonymous("127.0.0.1")
    assert raw(served, "GET", "/v2/health/live")[0] == 200
    assert raw(served, "GET", "/v2/health/ready")[0] == 200


# ---- errors ---------------------------------------------------------------------------------


def test_paths_and_methods_that_are_not_there_have_the_protocols_error_shape(
    served: Served,
) -> None:
    error(raw(served, "GET", "/v2/nothing"), 404)
    error(raw(served, "GET", "/v2/logging"), 404)
    error(raw(served, "POST", "/v2/models/add"), 405)
    error(raw(served, "DELETE", "/v2"), 405)
    error(raw(served, "GET", "/v2/models/add/infer"), 405)


def test_a_bug_has_the_protocols_error_shape_and_no_trace(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(served.engine, "status", fails)
    assert "secret" not in error(raw(served, "GET", "/v2/models/add"), 500)


@pytest.mark.parametrize("kind", list(errors.all_problems().values()))
def test_every_problem_has_a_body_that_clients_can_read(kind: type[errors.Problem]) -> None:
    status, media_type, body = open_inference.error_body(kind("What happened."))
    assert status == (400 if kind.status == 422 else kind.status)
    assert media_type == "application/json"
    assert json.loads(body) == {"error": "What happened."}


def test_an_empty_detail_still_makes_a_text() -> None:
    assert json.loads(open_inference.error_body(errors.NotFound(""))[2])["error"]


def test_the_dialect_imports_neither_numpy_nor_pillow_nor_openvino() -> None:
    code = (
        "import sys, appliance.web.dialects.open_inference;"
        "assert not {'numpy', 'PIL', 'openvino'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
