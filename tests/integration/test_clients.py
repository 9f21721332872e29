"""Clients of other servers against the whole appliance, and the examples of docs/clients.md.

Clients that are not in the development environment, because they bring gRPC or OpenCV along, are
run where they are installed: ovmsclient, model_api. What they send is sent by the tests anyway.
"""

import base64
import importlib.util
import json
import os
import re
import shutil
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
import requests

from tests.integration.test_open_inference import wait_for
from tests.tiny_detector import LABELS, write_detector
from tests.tiny_models import picture, write_colour_model

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "clients.md"
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL
)
_HANG_SECONDS = 60.0
_STEPS = ROOT / "appliance" / "starter" / "step-detector"


@dataclass(frozen=True)
class Running:
    host: str
    key: str

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": self.key}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An appliance with a detector, a classifier and the step detector."""
    state = tmp_path_factory.mktemp("clients")
    write_detector(state / "models")
    write_colour_model(state / "models")
    shutil.copytree(_STEPS, state / "models" / "step-detector")
    settings = {
        "APPLIANCE_STATE__DIR": str(state),
        "APPLIANCE_HTTP__HOST": "127.0.0.1",
        "APPLIANCE_HTTP__PORT": "0",
        "APPLIANCE_MODELS__STARTER": "false",
        # The adapter of openvino-model-api has no place for a key; loopback needs none then.
        "APPLIANCE_ACCESS__REQUIRED": "false",
    }
    output = state / "output"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "serve"],
            env=os.environ | settings,
            cwd=ROOT,
            stdout=sink,
            stderr=sink,
        )
    try:

        def port() -> str | None:
            assert process.poll() is None, output.read_text()
            found = re.search(r"http://127\.0\.0\.1:(\d+)", output.read_text())
            return found[1] if found else None

        host = f"127.0.0.1:{wait_for(port, 'listening')}"
        wait_for(lambda: requests.get(f"http://{host}/ready", timeout=10).ok, "readiness")
        yield Running(host, (state / "admin-key").read_text().strip())
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(_HANG_SECONDS) == 0


def test_frigates_detector_reads_our_answer_as_deepstacks(running: Running) -> None:
    """Source of how it asks and reads: Frigate, detectors/plugins/deepstack.py."""
    width = height = 320
    reply = requests.post(
        f"{running.url}/v1/vision/detection",
        data={"api_key": running.key},
        files={"image": picture("red", size=width, format="JPEG")},
        timeout=_HANG_SECONDS,
    ).json()
    known = {"person": 0, "fire engine": 1}
    read = np.zeros((20, 6), np.float32)
    for place, found in enumerate(reply["predictions"]):
        if found["confidence"] < 0.4 or found["label"] not in known:
            break
        read[place] = [
            known[found["label"]],
            float(found["confidence"]),
            found["y_min"] / height,
            found["x_min"] / width,
            found["y_max"] / height,
            found["x_max"] / width,
        ]
    assert read[0] == pytest.approx([0, 1, 0.25, 0.25, 0.75, 0.75], abs=0.05)
    assert not read[1:].any()


def test_a_large_picture_with_its_key_in_the_form_is_taken(running: Running) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (300, 300, 3), np.uint8)
    body = b"BM" + _bitmap(noise)
    assert len(body) > 200_000
    for key, status in ((running.key, 200), (running.key[:-1] + "!", 401)):
        answer = requests.post(
            f"{running.url}/v1/vision/detection",
            data={"api_key": key},
            files={"image": body},
            timeout=_HANG_SECONDS,
        )
        assert (answer.status_code, answer.json()["success"]) == (status, status == 200)


def _bitmap(pixels: np.ndarray) -> bytes:
    """Return a Windows bitmap of 24 bits without its first two bytes."""
    height, width, _ = pixels.shape
    size, row = 54 + pixels.size, (1).to_bytes(2, "little") + (24).to_bytes(2, "little")
    head = size.to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    shape = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    return head + (40).to_bytes(4, "little") + shape + row + bytes(24) + pixels.tobytes()


def test_ovmsclients_requests_are_answered_as_it_reads_them(running: Running) -> None:
    """Source of how it asks and reads: ovmsclient 2023.1, tfs_compat/http."""
    model = f"{running.url}/v1/models/colour/versions/0"
    given: dict[str, Any] = {"headers": running.headers, "timeout": _HANG_SECONDS}
    status = requests.get(model, **given).json()["model_version_status"]
    assert [(int(one["version"]), one["status"]["error_code"]) for one in status] == [(1, "OK")]
    metadata = requests.get(f"{model}/metadata", **given).json()
    signature = metadata["metadata"]["signature_def"]["signatureDef"]["serving_default"]
    shape = [int(one["size"]) for one in signature["inputs"]["image"]["tensorShape"]["dim"]]
    assert (shape, int(metadata["modelSpec"]["version"])) == ([-1, 3, 8, 8], 1)
    pixels = np.random.default_rng(1).normal(size=(2, 3, 8, 8))
    body = json.dumps({"inputs": {"image": pixels.tolist()}})
    outputs = requests.post(f"{model}:predict", data=body, **given).json()["outputs"]
    np.testing.assert_allclose(outputs, pixels.mean(axis=(2, 3)) * 10, rtol=1e-3, atol=1e-4)
    encoded = {"b64": base64.b64encode(picture("blue", format="JPEG")).decode()}
    body = json.dumps({"inputs": {"image": [encoded]}})
    outputs = requests.post(f"{model}:predict", data=body, **given).json()["outputs"]
    assert np.argmax(outputs[0]) == 2


def test_classify_tells_every_label_of_a_served_model(running: Running) -> None:
    body = {"examples": [{"image": [1.0] * 192}]}
    answer = requests.post(
        f"{running.url}/v1/models/colour:classify",
        json=body,
        headers=running.headers,
        timeout=_HANG_SECONDS,
    )
    assert [label for label, _ in answer.json()["result"][0]] == ["red", "green", "blue"]


def test_statistics_have_batches_and_the_memory_of_the_models_process(running: Running) -> None:
    requests.post(
        f"{running.url}/v1/models/colour:predict",
        json={"instances": [[[[0.5] * 8] * 8] * 3] * 3},
        headers=running.headers,
        timeout=_HANG_SECONDS,
    )
    (row,) = requests.get(
        f"{running.url}/v2/models/colour/stats", headers=running.headers, timeout=_HANG_SECONDS
    ).json()["model_stats"]
    assert 3 in {one["batch_size"] for one in row["batch_stats"]}
    assert row["memory_usage"][0]["byte_size"] > 10_000_000


def test_metadata_tells_a_model_apis_adapter_how_to_use_the_model(running: Running) -> None:
    document = requests.get(
        f"{running.url}/v2/models/boxes", headers=running.headers, timeout=_HANG_SECONDS
    ).json()
    told = document["rt_info"]["model_info"]
    assert (told["model_type"], told["labels"]) == ("SSD", "person fire_engine")
    assert LABELS == ("person", "fire engine")


def test_a_sequence_counts_what_one_request_counts(running: Running) -> None:
    seconds = np.arange(1000) / 100
    walk = np.zeros((1000, 3), np.float32)
    walk[:, 0] = np.sin(np.pi * 1.8 * seconds)
    walk[:, 2] = 9.81 + 4 * np.maximum(0, np.sin(2 * np.pi * 1.8 * seconds)) ** 3
    whole = requests.post(
        f"{running.url}/api/v1/models/step-detector/predict?rate_hz=100&columns=ax,ay,az",
        data=walk.tobytes(),
        headers={**running.headers, "Content-Type": "application/octet-stream"},
        timeout=_HANG_SECONDS,
    ).json()
    chunks = np.array_split(walk, 7)
    for number, chunk in enumerate(chunks):
        is_first = number == 0
        one = {
            "name": "readings",
            "shape": [*chunk.shape],
            "datatype": "FP32",
            "data": chunk.ravel().tolist(),
        }
        parameters = {
            "sequence_id": 99,
            "sequence_start": is_first,
            "sequence_end": number == len(chunks) - 1,
            **({"rate_hz": 100} if is_first else {}),
        }
        answer = requests.post(
            f"{running.url}/v2/models/step-detector/infer",
            json={"inputs": [one], "parameters": parameters, "outputs": [{"name": "events"}]},
            headers=running.headers,
            timeout=_HANG_SECONDS,
        )
        assert answer.ok, answer.text
    assert answer.json()["outputs"][0]["data"] == [whole["result"]["step_count"]]
    assert whole["result"]["step_count"] > 10


def test_every_dialect_answers_what_is_not_there_in_its_own_shape(running: Running) -> None:
    for path, names in (
        ("/v2/nothing", ["error"]),
        ("/v1/models/a/b/c/d", ["error"]),
        ("/v1/vision/nothing", ["success", "error", "code"]),
        ("/api/classify/nothing", ["detail"]),
    ):
        answer = requests.get(running.url + path, headers=running.headers, timeout=_HANG_SECONDS)
        assert (answer.status_code, list(answer.json())) == (404, names)


def _needs(example: str) -> list[str]:
    found = re.findall(r"^(?:import|from) (\w+)", example, re.MULTILINE)
    return [name for name in found if importlib.util.find_spec(name) is None]


@pytest.mark.parametrize("number", range(1, len(EXAMPLES)))
def test_an_example_of_the_documentation_runs(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    missing = _needs(EXAMPLES[number])
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    (tmp_path / "street.jpg").write_bytes(picture("red", format="JPEG"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APPLIANCE_HOST", running.host)
    monkeypatch.setenv("APPLIANCE_KEY", running.key)
    started = time.monotonic()
    exec(compile(EXAMPLES[0] + EXAMPLES[number], str(DOCUMENT), "exec"), {})
    assert time.monotonic() - started < _HANG_SECONDS
