"""A file is judged by its content, and what is refused is refused with what to do instead."""

import io
import pickle
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InvalidInput, Problem, UnsupportedMedia
from appliance.library.import_format import Format, recognise
from tests.shared_data import shared_file
from tests.tiny_formats import onnx_model, paddle_model, saved_model, tensorflow_graph, zipped


def kind_of(directory: Path, content: bytes, *, name: str = "upload") -> Format:
    path = directory / name
    path.write_bytes(content)
    return recognise(path)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (zipped({"a": b"b"}), Format.ZIP),
        (b'<?xml version="1.0"?><net name="m" version="11">', Format.IR),
        (b"\xef\xbb\xbf  <net>", Format.IR),
        (onnx_model(), Format.ONNX),
        (tensorflow_graph(), Format.GRAPH),
        (saved_model(), Format.SAVED_MODEL),
        (paddle_model(), Format.PADDLE),
        (b"\x1c\x00\x00\x00TFL3\x00", Format.TFLITE),
    ],
)
def test_every_format_is_known_by_its_content(
    tmp_path: Path, content: bytes, kind: Format
) -> None:
    assert kind_of(tmp_path, content) is kind
    assert kind.spelling


def a_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.xml"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "git lfs pull"),
        (pickle.dumps({"weights": [1]}), "ONNX"),
        (pickle.dumps([1, 2], protocol=2), "PyTorch"),
        (pickle.dumps("x", protocol=5), "pickle"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{}" + b" " * 9, "no model"),
        (b'\x10\x00\x00\x00\x00\x00\x00\x00{"a":{"dtype":1}}', "safetensors"),
        (b"\x89HDF\r\n\x1a\n" + b"\x00" * 20, "SavedModel"),
        (a_tar(), ".zip"),
        (b"\x1f\x8b\x08" + b"\x00" * 20, ".zip"),
        (b"BZh91AY", ".zip"),
        (b"\xfd7zXZ\x00", ".zip"),
        (b"7z\xbc\xaf\x27\x1c", ".zip"),
        (b"Rar!\x1a\x07", ".zip"),
        (b"ftrt" + b"\x00" * 30, "TensorRT"),
        (b"GGUF\x03", "GGUF"),
        (b"\x7fELF\x02", "ever run"),
        (b"MZ\x90\x00", "ever run"),
        (b"#!/bin/sh\nrm -rf /\n", "ever run"),
        (b"import os\nos.system('x')\n", "ever run"),
        (b'{"modelTopology": 1}', "JSON"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"\x93NUMPY\x01", "NumPy"),
        (bytes(range(256)), "ONNX"),
    ],
)
def test_what_is_never_read_is_refused_in_plain_words(
    tmp_path: Path, content: bytes, words: str
) -> None:
    with pytest.raises(UnsupportedMedia, match=words):
        kind_of(tmp_path, content)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.bin", "weights half"),
        ("model.pdiparams", r"\.pdmodel"),
        ("model.engine", "TensorRT"),
        ("model.onnx", "cut off"),
    ],
)
def test_the_name_helps_to_say_what_is_missing(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(UnsupportedMedia, match=words):
        kind_of(tmp_path, b"\x00\x01\x02\x03" * 30, name=name)


@pytest.mark.parametrize("name", ["model.xml", "model.onnx", "model.tflite"])
def test_a_library_is_none_under_any_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsupportedMedia, match="program"):
        kind_of(tmp_path, b"\x7fELF\x02" + b"\x00" * 100, name=name)


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="empty"):
        kind_of(tmp_path, b"")


@pytest.mark.parametrize("cut", [10, 50, 100, 200])
def test_an_onnx_file_that_is_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    with pytest.raises(UnsupportedMedia):
        kind_of(tmp_path, onnx_model()[:cut], name="model.onnx")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("models/coral/mobilenet_v1_0.25_128_quant.tflite", Format.TFLITE),
        ("models/yolox/yolox_nano.onnx", Format.ONNX),
        ("models/magika/model.onnx", Format.ONNX),
        ("models/omz/vehicle-attributes-recognition-barrier-0039.xml", Format.IR),
    ],
)
def test_real_models_are_known(name: str, kind: Format) -> None:
    assert recognise(shared_file(name)) is kind


@given(st.binary(min_size=1, max_size=400))
def test_any_bytes_are_known_or_refused(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        status = 0
        try:
            kind_of(Path(directory), content)
        except Problem as problem:
            status = problem.status
        assert status in (0, 415, 422)
