"""Hostile and broken models sent to a running appliance (group F of the catalogue of tests).

Each is refused with a sentence, in bounded time and memory, and what is served never notices.
"""

import io
import json
import os
import pickle
import random
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from appliance.host.openvino_import import ov
from tests.end_to_end.running import HANG_SECONDS, Running, start
from tests.end_to_end.test_model_imports import GOOD, incoming, install, versions
from tests.tiny_formats import onnx_model, paddle_model, zipped
from tests.tiny_models import picture, write_colour_model

IMPORT_BYTES = 64 * 1024 * 1024
MEMORY_BYTES = 3 * 1024**3
Zip = Callable[[], bytes]


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An appliance that serves `colour`, and still does at the end, by the same processes."""
    state = tmp_path_factory.mktemp("hostile") / "state"
    write_colour_model(state / "models")
    settings = {
        "APPLIANCE_MODELS__IMPORT_BYTES": str(IMPORT_BYTES),
        "APPLIANCE_MODELS__IMPORT_MEMORY_BYTES": str(MEMORY_BYTES),
        "APPLIANCE_MODELS__IMPORT_SECONDS": "60",
    }
    running = start(state, settings)
    host = running.host_process_id()
    yield running
    assert running.process.poll() is None, running.log()
    assert running.host_process_id() == host
    assert "error" not in {one["state"] for one in running.get("/health").json()["models"]}
    assert running.stop() == 0


def refused(appliance: Running, body: bytes, *, name: str = "bad", **said: str) -> dict[str, Any]:
    """Send a model that is none; return the problem after looking at what must hold for each."""
    status, problem = install(appliance, body, name=name, **said)
    assert status in (413, 415, 422), problem
    detail = problem["detail"]
    assert detail.endswith("."), detail
    assert str(appliance.state) not in detail
    assert "Traceback" not in detail
    assert incoming(appliance.state) == []
    assert not list((appliance.state / "models").glob(f"{name}/*"))
    answer = appliance.predict(picture("red")).json()
    assert answer["result"]["predictions"][0]["label"] == "red"
    return problem


def ir_of(directory: Path, model: "ov.Model") -> bytes:
    directory.mkdir(exist_ok=True)
    ov.save_model(model, directory / "m.xml", compress_to_fp16=False)
    return zipped({name: (directory / name).read_bytes() for name in ("m.xml", "m.bin")})


def mean_of(shape: Any, directory: Path) -> bytes:
    """An IR whose input has this shape, and whose output is the mean of each channel."""
    ops = ov.opset13
    image = ops.parameter(shape, np.float32, name="image")
    image.output(0).set_names({"image"})
    mean = ops.reduce_mean(image, np.array([2, 3]), keep_dims=False)
    mean.output(0).set_names({"mean"})
    return ir_of(directory, ov.Model([mean], [image], "m"))


def files_of_ir() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(_good_ir())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _good_ir() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        return mean_of([1, 3, 8, 8], Path(directory))


# --- C-78


def swapped() -> dict[str, bytes]:
    files = files_of_ir()
    return {"m.xml": files["m.bin"] or b"x", "m.bin": files["m.xml"]}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda files: {**files, "m.bin": files["m.bin"][:2]}, "does not hold the weights"),
        (lambda files: {**files, "m.bin": b""}, "does not hold the weights"),
        (lambda files: swapped(), ""),
        (lambda files: {**files, "m.xml": files["m.xml"][:700]}, "cut off or damaged"),
        (
            lambda files: {
                **files,
                "m.xml": files["m.xml"].replace(b'type="ReduceMean"', b'type="NoSuch"'),
            },
            "NoSuch",
        ),
        (lambda files: {"m.xml": files["m.xml"]}, "weights are missing"),
    ],
    ids=["cut bin", "empty bin", "swapped", "cut xml", "unknown operation", "no bin"],
)
def test_c78_a_broken_ir_that_is_sent_is_refused_with_the_reason(
    appliance: Running, spoil: Callable[[dict[str, bytes]], dict[str, bytes]], words: str
) -> None:
    assert words in refused(appliance, zipped(spoil(files_of_ir())))["detail"]


# --- C-79


@pytest.mark.parametrize("seed", range(4))
def test_c79_only_the_child_may_die_of_wrong_bytes(appliance: Running, seed: int) -> None:
    chance = random.Random(seed)
    files = files_of_ir() if seed % 2 else {"m.onnx": onnx_model()}
    for name, content in files.items():
        spoilt = bytearray(content)
        for _ in range(4):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        files[name] = bytes(spoilt)
    status, told = install(appliance, zipped(files), name=f"mutant-{seed}")
    assert status in (201, 415, 422)
    assert status == 201 or told["detail"]
    assert appliance.predict(picture("red")).status == 200


# --- C-81, C-82, C-83


@pytest.mark.parametrize("place", ["../w.bin", "/dev/zero", "missing.bin"])
def test_c81_weights_of_an_onnx_model_lie_beside_it_or_nowhere(
    appliance: Running, place: str
) -> None:
    body = zipped({"m.onnx": onnx_model(external=place), "w.bin": bytes(4)})
    detail = refused(appliance, body)["detail"]
    assert "beside it" in detail or "not here" in detail


def a_zip(*entries: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return buffer.getvalue()


def a_link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o120777 << 16
    return entry


@pytest.mark.parametrize("name", ["w.bin", "m.bin"])
def test_c81_c82_a_link_in_a_zip_is_not_followed(appliance: Running, name: str) -> None:
    model = ("m.onnx", onnx_model(external="w.bin"))
    graph = ("m.xml", files_of_ir()["m.xml"])
    body = a_zip(model if name == "w.bin" else graph, (a_link(name), b"/etc/hostname"))
    assert "link" in refused(appliance, body)["detail"]


def lying() -> bytes:
    """A zip whose directory says that a member of 20 MB has ten bytes."""
    body = bytearray(a_zip(("m.onnx", bytes(20_000_000))))
    at = body.rindex(b"PK\x01\x02") + 24
    body[at : at + 4] = struct.pack("<I", 10)
    return bytes(body)


def doubled() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return a_zip(("m.onnx", onnx_model()), ("m.onnx", onnx_model(factor=2.0)))


ZIPS: dict[str, Zip] = {
    "leads above": lambda: a_zip(("../m.onnx", onnx_model())),
    "absolute": lambda: a_zip(("/m.onnx", onnx_model())),
    "backslash": lambda: a_zip(("a\\m.onnx", onnx_model())),
    "link": lambda: a_zip((a_link("m.onnx"), b"/etc/passwd")),
    "twice": doubled,
    "10,000 entries": lambda: a_zip(*((f"{n}.txt", b"") for n in range(10_000))),
    "50 MB of zeros": lambda: a_zip(("m.onnx", bytes(50_000_000))),
    "a size that lies": lying,
    "a zip inside": lambda: a_zip(("m.zip", GOOD)),
    "more than models.import_bytes": lambda: zipped(
        {f"{n}.bin": os.urandom(1 << 20) * 17 for n in range(5)}, method=zipfile.ZIP_STORED
    ),
}


@pytest.mark.parametrize("kind", ZIPS)
def test_c83_a_hostile_zip_is_refused_and_fills_nothing(appliance: Running, kind: str) -> None:
    detail = refused(appliance, ZIPS[kind]())["detail"]
    assert "zip" in detail or kind in ("a size that lies", "more than models.import_bytes")


# --- C-84


class MostMemory:
    """The most memory that imports had while it watched."""

    def __init__(self, appliance: Running) -> None:
        self._process = psutil.Process(appliance.process.pid)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.bytes = 0

    def __enter__(self) -> "MostMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.05):
            for child in self._process.children(recursive=True):
                try:
                    if child.name() == "ia-import":
                        self.bytes = max(self.bytes, child.memory_info().rss)
                except psutil.Error:
                    continue


def test_c84_an_onnx_input_of_two_million_by_two_million_is_refused(appliance: Running) -> None:
    with MostMemory(appliance) as most:
        detail = refused(appliance, zipped({"m.onnx": onnx_model(size=2_000_000)}))["detail"]
    assert "values" in detail
    assert most.bytes < 1024**3


def test_c84_an_ir_input_of_two_million_by_two_million_is_refused(
    appliance: Running, tmp_path: Path
) -> None:
    body = mean_of([1, 3, 2_000_000, 2_000_000], tmp_path)
    with MostMemory(appliance) as most:
        detail = refused(appliance, body)["detail"]
    assert "values" in detail
    assert most.bytes < 1024**3


def test_c84_a_huge_value_inside_the_network_is_refused(
    appliance: Running, tmp_path: Path
) -> None:
    """The input is small; what is made of it would be sixteen terabytes."""
    ops = ov.opset13
    image = ops.parameter([1, 3, 8, 8], np.float32, name="image")
    image.output(0).set_names({"image"})
    flat = ops.reshape(ops.reduce_mean(image, np.array([1, 2, 3])), np.array([1, 1]), False)
    wide = ops.broadcast(flat, np.array([2_000_000, 2_000_000]))
    scores = ops.reduce_max(ops.multiply(wide, ops.sqrt(wide)), np.array([1]), keep_dims=True)
    scores.output(0).set_names({"scores"})
    body = ir_of(tmp_path, ov.Model([scores], [image], "m"))
    with MostMemory(appliance) as most:
        refused(appliance, body, task="image-classification")
    assert most.bytes < MEMORY_BYTES


@pytest.mark.parametrize(
    "shape", [[-1, -1, -1, -1], "dynamic", [1, 3, -1, -1]], ids=["all", "even the rank", "sides"]
)
def test_c84_dynamic_dimensions_everywhere_are_refused_or_asked_for(
    appliance: Running, tmp_path: Path, shape: Any
) -> None:
    wanted = ov.PartialShape.dynamic() if shape == "dynamic" else ov.PartialShape(shape)
    body = mean_of(wanted, tmp_path)
    detail = refused(appliance, body)["detail"]
    assert "--size" in detail or "--task" in detail or "fixed shape" in detail
    refused(appliance, body, task="image-classification")


def test_c84_a_size_that_was_asked_for_has_the_same_bound(
    appliance: Running, tmp_path: Path
) -> None:
    body = mean_of([1, 3, -1, -1], tmp_path)
    assert "values" in refused(appliance, body, size="99999x99999")["detail"]


# --- C-85, C-86


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("m.onnx"))
    return buffer.getvalue()


def tensors_alone() -> bytes:
    head = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(head)) + head + bytes(4)


NOT_READ: dict[str, tuple[bytes, str]] = {
    "pickle": (pickle.dumps({"weights": [1.0]}), "ONNX"),
    "pickle, protocol 0": (pickle.dumps({"weights": [1.0]}, 0), ""),
    "torch zip": (a_zip(("archive/data.pkl", b"\x80\x02."), ("archive/version", b"3")), "ONNX"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "SavedModel"),
    "Keras": (a_zip(("config.json", b"{}"), ("model.weights.h5", b"\x89HDF")), "SavedModel"),
    "safetensors": (tensors_alone(), "ONNX"),
    "Python": (b"import os\nos.system('true')\n", "never run"),
    "a script": (b"#!/bin/sh\ntrue\n", "never run"),
    "a library": (b"\x7fELF\x02\x01\x01" + bytes(100), "never run"),
    "tar": (tarred(), ".zip"),
    "gzip": (b"\x1f\x8b\x08" + bytes(50), ".zip"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(50), ".zip"),
    "RAR": (b"Rar!\x1a\x07\x00" + bytes(50), ".zip"),
    "GGUF": (b"GGUF" + bytes(50), "GGUF"),
    "TensorRT": (b"ftrt" + bytes(200), "ONNX"),
    "Paddle 1": (a_zip(("__model__", b"\x0a\x04abcd"), ("__params__", b"x")), "Paddle 2"),
    "half of Paddle": (a_zip(("m.pdmodel", paddle_model())), ".pdiparams"),
    "a Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:%b\nsize 12\n" % (b"a" * 64),
        "git lfs pull",
    ),
    "a picture": (picture("red"), "picture"),
    "JSON": (b'{"a": 1}', "not a model"),
    "nothing at all": (b"", "empty"),
}


@pytest.mark.parametrize("kind", NOT_READ)
def test_c85_what_is_not_read_is_refused_with_what_to_do(appliance: Running, kind: str) -> None:
    body, words = NOT_READ[kind]
    detail = refused(appliance, body)["detail"].replace(
        "Nothing in a model is ever run", "never run"
    )
    assert words in detail


@pytest.mark.parametrize("suffix", ["xml", "onnx"])
def test_c85_a_library_under_the_name_of_a_model_is_refused(
    appliance: Running, suffix: str
) -> None:
    library = b"\x7fELF\x02\x01\x01" + bytes(4000)
    refused(appliance, library, file_name=f"m.{suffix}")
    refused(appliance, zipped({f"m.{suffix}": library, "m.bin": b"x"}))


def test_c86_an_ir_of_a_newer_openvino_is_refused_with_what_to_do(appliance: Running) -> None:
    files = files_of_ir()
    files["m.xml"] = files["m.xml"].replace(b'version="11"', b'version="12"', 1)
    assert "Convert the model with this release" in refused(appliance, zipped(files))["detail"]


# --- C-88


def test_c88_the_same_version_twice_at_once_is_there_once(appliance: Running) -> None:
    def send(_: int) -> tuple[int, dict[str, Any]]:
        return install(appliance, GOOD, name="twice", version="7", scale="1")

    with ThreadPoolExecutor(2) as pool:
        told = [*pool.map(send, range(2), timeout=HANG_SECONDS)]
    assert sorted(status for status, _ in told) == [201, 409]
    assert versions(appliance, "twice") == {7: "stopped"}
    directories = [path.name for path in (appliance.state / "models" / "twice").iterdir()]
    assert directories == ["7"]
