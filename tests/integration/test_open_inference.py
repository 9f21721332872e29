"""tritonclient against the whole appliance: real server, real hosts, real OpenVINO."""

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.tiny_models import COLOURS, picture, write_colour_model

_HANG_SECONDS = 60.0


@dataclass(frozen=True)
class Appliance:
    address: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """New each time: tritonclient writes its own headers into the mapping it is given."""
        return {"X-API-Key": self.key}


def wait_for(condition: Any, what: str) -> Any:
    deadline = time.monotonic() + _HANG_SECONDS
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {_HANG_SECONDS:g} s")


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    state = tmp_path_factory.mktemp("state")
    write_colour_model(state / "models")
    write_colour_model(state / "models", name="any-batch", dynamic_batch=True)
    output = state / "output"
    settings = {
        "APPLIANCE_STATE__DIR": str(state),
        "APPLIANCE_HTTP__HOST": "127.0.0.1",
        "APPLIANCE_HTTP__PORT": "0",
        "APPLIANCE_MODELS__STARTER": "false",
        "APPLIANCE_LIMITS__TENSOR_BATCH": "16",
    }
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "serve"],
            env=os.environ | settings,
            cwd=Path(__file__).parents[2],
            stdout=sink,
            stderr=sink,
        )
    try:
        yield _started(state, output, process)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(_HANG_SECONDS) == 0


def _started(state: Path, output: Path, process: "subprocess.Popen[bytes]") -> Appliance:
    def port() -> str | None:
        assert process.poll() is None, output.read_text()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", output.read_text())
        return found[1] if found else None

    address = f"127.0.0.1:{wait_for(port, 'listening')}"
    with triton.InferenceServerClient(address) as client:
        wait_for(client.is_server_ready, "readiness")
    return Appliance(address, (state / "admin-key").read_text().strip())


@pytest.fixture
def client(appliance: Appliance) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(appliance.address) as found:
        yield found


def tensor(name: str, array: np.ndarray, datatype: str, *, binary: bool = True) -> Any:
    found = triton.InferInput(name, list(array.shape), datatype)
    found.set_data_from_numpy(array, binary_data=binary)
    return found


def pixels(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).normal(size=(rows, 3, 8, 8)).astype(np.float32)


def expected(image: np.ndarray) -> np.ndarray:
    return image.mean(axis=(2, 3)) * 10


@pytest.mark.parametrize("model", ["colour", "any-batch"])
@pytest.mark.parametrize("rows", [1, 2, 16])
@pytest.mark.parametrize("binary", [True, False])
def test_tensors_go_through_the_model_as_its_file_has_it(
    appliance: Appliance,
    client: triton.InferenceServerClient,
    model: str,
    rows: int,
    binary: bool,
) -> None:
    image = pixels(rows)
    result = client.infer(
        model,
        [tensor("image", image, "FP32", binary=binary)],
        outputs=[triton.InferRequestedOutput("colour", binary_data=binary)],
        request_compression_algorithm="gzip" if rows == 2 else None,
        headers=appliance.headers,
    )
    np.testing.assert_allclose(result.as_numpy("colour"), expected(image), rtol=1e-4, atol=1e-5)


def test_an_encoded_picture_is_classified_with_labels(
    appliance: Appliance, client: triton.InferenceServerClient
) -> None:
    encoded = np.array([picture("red"), picture("blue", format="JPEG")], object)
    found = client.infer(
        "colour",
        [tensor("image", encoded, "BYTES")],
        outputs=[triton.InferRequestedOutput("colour", class_count=1)],
        headers=appliance.headers,
    ).as_numpy("colour")
    labels = [row[0].decode().split(":")[2] for row in found]
    assert labels == [COLOURS[0], COLOURS[2]]


def test_what_is_not_a_picture_is_refused_with_a_reason(
    appliance: Appliance, client: triton.InferenceServerClient
) -> None:
    broken = tensor("image", np.array([b"not a picture"], object), "BYTES")
    with pytest.raises(InferenceServerException, match="not a picture"):
        client.infer("colour", [broken], headers=appliance.headers)


def test_wrong_tensors_are_refused_by_name_and_the_model_goes_on(
    appliance: Appliance, client: triton.InferenceServerClient
) -> None:
    for wrong, words in (
        (
            tensor("image", np.zeros((1, 3, 8, 9), np.float32), "FP32"),
            r"expected shape \[-1,3,8,8\]",
        ),
        (tensor("image", np.zeros((1, 3, 8, 8)), "FP64"), "expected datatype FP32, got FP64"),
        (tensor("picture", pixels(1), "FP32"), "no input 'picture'"),
        (tensor("image", pixels(17), "FP32"), "limits.tensor_batch"),
    ):
        with pytest.raises(InferenceServerException, match=words):
            client.infer("colour", [wrong], headers=appliance.headers)
    assert client.is_model_ready("colour", headers=appliance.headers)


def test_strange_numbers_pass_through_and_json_stays_json(
    appliance: Appliance, client: triton.InferenceServerClient
) -> None:
    image = np.full((1, 3, 8, 8), np.nan, np.float32)
    wanted = [triton.InferRequestedOutput("colour", binary_data=False)]
    result = client.infer(
        "colour", [tensor("image", image, "FP32")], outputs=wanted, headers=appliance.headers
    )
    (output,) = result.get_response()["outputs"]
    assert output["data"] == [None, None, None]
    assert output["parameters"] == {"non_finite": 3}


def test_many_asynchronous_requests_each_get_their_own_answer(appliance: Appliance) -> None:
    images = [pixels(1 + n % 4) for n in range(24)]

    async def talk() -> list[Any]:
        async with triton_aio.InferenceServerClient(appliance.address) as client:
            calls = [
                client.infer(
                    "colour",
                    [tensor("image", image, "FP32")],
                    request_id=str(n),
                    headers=appliance.headers,
                )
                for n, image in enumerate(images)
            ]
            return await asyncio.gather(*calls)

    for n, (image, result) in enumerate(zip(images, asyncio.run(talk()), strict=True)):
        assert result.get_response()["id"] == str(n)
        found = result.as_numpy("colour")
        np.testing.assert_allclose(found, expected(image), rtol=1e-4, atol=1e-5)


def test_statistics_count_what_was_answered(
    appliance: Appliance, client: triton.InferenceServerClient
) -> None:
    def row() -> dict[str, Any]:
        answer = client.get_inference_statistics("any-batch", headers=appliance.headers)
        found: dict[str, Any] = answer["model_stats"][0]
        return found

    before = row()
    client.infer("any-batch", [tensor("image", pixels(8), "FP32")], headers=appliance.headers)
    after = row()
    assert after["inference_count"] - before["inference_count"] == 8
    assert after["execution_count"] - before["execution_count"] == 1
    assert after["inference_stats"]["compute_infer"]["ns"] > 0


def test_a_model_is_described_unloaded_and_loaded_again(
    appliance: Appliance, client: triton.InferenceServerClient
) -> None:
    metadata = client.get_model_metadata("colour", headers=appliance.headers)
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 8, 8]}]
    config = client.get_model_config("colour", headers=appliance.headers)
    assert config["max_batch_size"] == 16
    client.unload_model("colour", headers=appliance.headers)
    assert not client.is_model_ready("colour", headers=appliance.headers)
    with pytest.raises(InferenceServerException, match="not loaded"):
        client.infer("colour", [tensor("image", pixels(1), "FP32")], headers=appliance.headers)
    client.load_model("colour", headers=appliance.headers)
    assert client.is_model_ready("colour", headers=appliance.headers)
    index = client.get_model_repository_index(headers=appliance.headers)
    assert {entry["state"] for entry in index} == {"READY"}


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        ("/v2/models/%0B", "0", 400),
        ("/v2/models/colour/infer", str(1 << 40), 413),
        ("/v2/models/colour/infer", "x", 400),
        ("/v2/nothing", "0", 404),
        ("/v2/models/colour", "0", 405),
    ],
)
def test_what_the_server_itself_refuses_has_the_protocols_error_shape_too(
    appliance: Appliance, path: str, length: str, status: int
) -> None:
    connection = http.client.HTTPConnection(appliance.address, timeout=30)
    try:
        connection.putrequest("POST", path)
        for name, value in (appliance.headers | {"Content-Length": length}).items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        document = json.loads(response.read())
    finally:
        connection.close()
    assert (response.status, response.getheader("Content-Type")) == (status, "application/json")
    assert list(document) == ["error"]


def test_without_a_key_there_is_health_and_nothing_else(
    client: triton.InferenceServerClient,
) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    with pytest.raises(InferenceServerException, match="API key") as caught:
        client.get_model_metadata("colour")
    assert caught.value.status() == "401"
    with pytest.raises(InferenceServerException, match="API key"):
        client.infer("colour", [tensor("image", pixels(1), "FP32")])
