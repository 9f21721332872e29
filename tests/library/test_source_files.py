"""Of several files the one that is the model is found, and what belongs to it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.errors import InvalidInput, ModelInvalid, Problem, UnsupportedMedia
from appliance.library.import_format import Format
from appliance.library.source_files import Source, find_source, may_hold_labels, read_text
from tests.tiny_formats import onnx_model, paddle_model, saved_model, tensorflow_graph

IR = b'<?xml version="1.0"?>\n<net name="m" version="11"></net>'


def found(directory: Path, files: Mapping[str, bytes]) -> Source:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return find_source(directory)


def test_an_ir_is_found_with_labels_and_samples_beside_it(tmp_path: Path) -> None:
    source = found(
        tmp_path,
        {
            "export/model.xml": IR,
            "export/model.bin": b"",
            "export/labels.txt": b"a\nb\n",
            "export/metadata.yaml": b"names:\n  0: a\n",
            "export/README.txt": b"read me",
            "export/golden/samples.json": b"{}",
            "export/manifest.toml": b"",
            "export/tokenizer.json": b"{}",
            "elsewhere/labels.txt": b"c\n",
        },
    )
    assert (source.format, source.model.name) == (Format.IR, "model.xml")
    assert list(source.labels) == ["labels.txt", "metadata.yaml"]
    assert source.golden == tmp_path / "export" / "golden"
    assert source.manifest == tmp_path / "export" / "manifest.toml"
    assert [path.name for path in source.kept] == ["tokenizer.json"]


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"upload": onnx_model()}, Format.ONNX),
        ({"model": tensorflow_graph()}, Format.GRAPH),
        ({"m.onnx": onnx_model(), "weights.bin": b"1234"}, Format.ONNX),
        ({"s/saved_model.pb": saved_model(), "s/variables/v": b"1"}, Format.SAVED_MODEL),
        ({"m.pdmodel": paddle_model(), "m.pdiparams": b""}, Format.PADDLE),
        ({"model": onnx_model(), "labels.txt": b"a\n"}, Format.ONNX),
    ],
)
def test_each_format_is_found(tmp_path: Path, files: dict[str, bytes], kind: Format) -> None:
    assert found(tmp_path, files).format is kind


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"model.xml": IR}, r"model\.bin"),
        ({"a.onnx": onnx_model(), "b.onnx": onnx_model()}, "several models"),
        ({"m.pdmodel": paddle_model()}, r"m\.pdiparams"),
        ({"saved.pb": saved_model()}, "whole folder"),
        ({"__model__": paddle_model(), "__params__": b""}, r"Paddle 1\.x"),
        (
            {"i.json": b'{"base_code":{"magic":"pir","trainable":true}}', "i.pdiparams": b"1"},
            "FLAGS_enable_pir_api=0",
        ),
        ({"archive/data.pkl": b"\x80\x02}", "archive/version": b"3"}, "PyTorch"),
        ({"best.pt": b"\x80\x02}q\x00", "labels.txt": b"a"}, "PyTorch"),
        ({"model.weights.h5": b"\x89HDF\r\n\x1a\n", "config.json": b"{}"}, "Keras"),
        ({"readme.txt": b"hello", "notes.txt": b"x"}, "no model"),
        ({"labels.txt": b"cat\ndog\n"}, "not a model"),
        ({}, "no model"),
    ],
)
def test_what_is_missing_or_too_much_is_said(
    tmp_path: Path, files: dict[str, bytes], words: str
) -> None:
    with pytest.raises(Problem, match=words) as raised:
        found(tmp_path, files)
    assert isinstance(raised.value, InvalidInput | UnsupportedMedia)


def test_what_tensorflow_writes_beside_a_saved_model_is_no_second_one(tmp_path: Path) -> None:
    files = {"s/saved_model.pb": saved_model(), "s/variables/variables.index": b"1"}
    beside = {"s/fingerprint.pb": b"\x08\x9d\xa4", "s/keras_metadata.pb": b"\x0a\x04root"}
    source = found(tmp_path, {**files, **beside})
    assert (source.format, source.model.name) == (Format.SAVED_MODEL, "saved_model.pb")


def test_labels_sent_beside_an_archive_are_found_too(tmp_path: Path) -> None:
    source = found(tmp_path, {"export/m.onnx": onnx_model(), "labels.txt": b"a\n"})
    assert list(source.labels) == ["labels.txt"]


def test_names_tell_which_texts_may_hold_labels(tmp_path: Path) -> None:
    names = ("labels.txt", "coco_classes.txt", "imagenet_labels.txt", "labelmap.pbtxt")
    for name in (*names, "metadata.yaml", "labels-type.txt", "notes.txt", "labels.bin"):
        (tmp_path / name).write_text("a\n")
    found = {path.name for path in tmp_path.iterdir() if may_hold_labels(path)}
    assert found == {*names, "metadata.yaml", "labels-type.txt"}


def test_a_text_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelInvalid, match="UTF-8"):
        read_text(tmp_path / "labels.txt")
