"""Inference over real sockets: tritonclient's two clients, and HTTP for what they never send."""

import asyncio
import json
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from appliance.web.dialects.open_inference_schemas import (
    InferenceResponse,
)
from tests.tensor_models import LABELS
from tests.web.dialects.open_inference_server import (
    Served,
    error,
    features,
    infer,
    json_request,
    raw,
    tensor,
)


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


def test_priority_and_timeout_of_the_client_do_no_harm(
    client: triton.InferenceServerClient,
) -> None:
    result = client.infer(
        "scores", [features()], priority=1, timeout=1000, parameters={"mine": "x"}
    )
    assert result.as_numpy("scores").shape == (1, 5)


def test_a_sequence_is_refused_in_words_that_name_streams(
    client: triton.InferenceServerClient,
) -> None:
    with pytest.raises(InferenceServerException, match="/api/v1/streams"):
        client.infer("scores", [features()], sequence_id=7, sequence_start=True)


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
    v2: Served, client: triton.InferenceServerClient
) -> None:
    with pytest.raises(
        InferenceServerException, match="Request for unknown model: 'no'"
    ) as caught:
        client.infer("no", [features()])
    assert caught.value.status() == "404"
    v2.engine.states["scores"] = ("starting", "")
    with pytest.raises(InferenceServerException, match="starting") as caught:
        client.infer("scores", [features()])
    assert caught.value.status() == "503"


def test_the_asynchronous_client_works_with_many_requests_at_once(v2: Served) -> None:
    async def talk() -> list[Any]:
        async with triton_aio.InferenceServerClient(v2.address) as client:
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


@pytest.mark.parametrize("content_type", [None, "text/plain", "x", "application/json; charset=a"])
def test_the_content_type_of_a_request_does_not_matter(
    v2: Served, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content_Type": content_type}
    status, answered, body = infer(v2, json_request(), **headers)
    assert (status, answered["content-type"]) == (200, "application/json")
    found = msgspec.json.decode(body, type=InferenceResponse)
    assert found.outputs[0].data == (0, 2, 4, 6, 8)
    assert "infer;dur=" in answered["server-timing"]


def test_an_answer_to_a_request_without_id_has_the_id_of_the_http_request(v2: Served) -> None:
    _, headers, body = infer(v2, json_request(), X_Request_ID="abc-1")
    assert headers["x-request-id"] == "abc-1"
    assert json.loads(body)["id"] == "abc-1"


def test_a_raw_request_is_only_bytes_both_ways(v2: Served) -> None:
    body = np.arange(5, dtype="<f4").tobytes()
    status, headers, answered = infer(v2, body, Inference_Header_Content_Length="0")
    assert status == 200
    assert headers["content-type"] == "application/octet-stream"
    cut = int(headers["inference-header-content-length"])
    assert np.frombuffer(answered[cut:], "<f4").tolist() == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("length", ["-1", "x", "", "1.0", "9" * 30, "0x10", "1e3", "٣", "10000"])
def test_a_header_length_that_is_not_one_is_refused(v2: Served, length: str) -> None:
    given = {"Inference-Header-Content-Length": length.encode().decode("latin-1")}
    answer = raw(v2, "POST", "/v2/models/scores/infer", json_request(), given)
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
    v2: Served, body: bytes, length: str | None
) -> None:
    headers = {} if length is None else {"Inference_Header_Content_Length": length}
    error(infer(v2, body, **headers), 400)


def test_too_large_a_batch_is_refused(v2: Served) -> None:
    assert "limits.tensor_batch" in error(infer(v2, json_request(9)), 413)


def test_every_answered_inference_is_told_to_the_history(v2: Served) -> None:
    body = json_request(2, id="mine")
    infer(v2, body, X_Request_ID="r-1")
    infer(v2, b"{}")
    (record,) = v2.records
    assert (record.model, record.version, record.task) == ("scores", 3, "tensors")
    assert (record.request_id, record.inference_id) == ("r-1", "mine")
    assert (record.input_bytes, record.content_type) == (len(body), "application/json")
    assert record.caller.key_name == "k"
    assert record.timing.total_ms >= record.timing.infer_ms >= 0


@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_pixels_of_any_size_are_placed_as_a_picture_would_be(
    v2: Served, client: triton.InferenceServerClient, datatype: str
) -> None:
    """As openvino-model-api's adapter sends them: not prepared, in OpenCV's order."""
    kind = np.uint8 if datatype == "UINT8" else np.float32
    pixels = np.zeros((1, 5, 7, 3), kind)
    pixels[0, 2, 3] = (10, 20, 30)
    if datatype == "FP32":
        with pytest.raises(InferenceServerException, match="datatype UINT8"):
            client.infer("picture", [tensor("image", pixels, datatype)])
        return
    found = client.infer("picture", [tensor("image", pixels, datatype)]).as_numpy("mean")
    assert found.tolist() == [[30.0, 20.0, 10.0]]


def test_a_picture_of_the_models_own_size_is_taken_as_it_is(
    client: triton.InferenceServerClient,
) -> None:
    pixels = np.full((1, 2, 2, 3), (10, 20, 30), np.uint8)
    found = client.infer("picture", [tensor("image", pixels, "UINT8")]).as_numpy("mean")
    assert found.tolist() == [[10.0, 20.0, 30.0]]
