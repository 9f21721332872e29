"""What belongs to a model is found beside it and sent as one form, piece by piece."""

from pathlib import Path

import click
import pytest

from appliance.cli.model_package import Package
from tests.tiny_formats import onnx_model


def sent(model: Path, *labels: tuple[str, Path]) -> dict[str, list[str]]:
    with Package(model, labels) as package:
        found: dict[str, list[str]] = {}
        for part in package.parts:
            found.setdefault(part.field, []).append(part.name or part.path.name)
        return found


def test_the_body_is_as_long_as_was_said_and_holds_every_byte(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(onnx_model())
    (tmp_path / "labels.txt").write_bytes(b"a\nb\n")
    counted: list[int] = []
    with Package(model, ()) as package:
        body = b"".join(package.pieces(counted.append))
        assert len(body) == package.content_bytes
        assert sum(counted) == sum(part.path.stat().st_size for part in package.parts)
    assert onnx_model() in body
    assert b'name="file"; filename="labels.txt"' in body


def test_the_other_half_of_a_model_is_found(tmp_path: Path) -> None:
    for name in ("m.xml", "m.bin", "p.pdmodel", "p.pdiparams", "other.bin"):
        (tmp_path / name).write_bytes(b"x")
    assert sent(tmp_path / "m.xml") == {"file": ["m.xml", "m.bin"]}
    assert sent(tmp_path / "p.pdmodel") == {"file": ["p.pdmodel", "p.pdiparams"]}


def test_weights_an_onnx_file_keeps_beside_it_come_along(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    model = tmp_path / "sub" / "m.onnx"
    model.write_bytes(onnx_model(external="w.bin"))
    (tmp_path / "sub" / "w.bin").write_bytes(b"1234")
    assert sent(model) == {"file": ["m.onnx", "w.bin"]}
    (tmp_path / "secret").write_bytes(b"1234")
    model.write_bytes(onnx_model(external="../secret"))
    assert sent(model) == {"file": ["m.onnx"]}
    model.write_bytes(b"cut off")
    assert sent(model) == {"file": ["m.onnx"]}


def test_labels_beside_a_model_come_along_unless_others_are_named(tmp_path: Path) -> None:
    for name in ("m.tflite", "labels.txt", "coco_classes.txt", "notes.txt", "mine.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert sent(tmp_path / "m.tflite")["file"] == ["m.tflite", "coco_classes.txt", "labels.txt"]
    named = sent(tmp_path / "m.tflite", ("", tmp_path / "mine.txt"), ("color", tmp_path / "x"))
    assert named == {"file": ["m.tflite"], "labels": ["mine.txt"], "labels:color": ["x"]}


def test_a_folder_is_packed(tmp_path: Path) -> None:
    (tmp_path / "m" / "variables").mkdir(parents=True)
    (tmp_path / "m" / "saved_model.pb").write_bytes(b"x")
    (tmp_path / "m" / "variables" / "v").write_bytes(b"y")
    assert sent(tmp_path / "m") == {"file": ["model.zip"]}
    (tmp_path / "m" / "link").symlink_to("/etc/passwd")
    with pytest.raises(click.ClickException, match="link"):
        sent(tmp_path / "m")


def test_a_name_cannot_break_the_form(tmp_path: Path) -> None:
    model = tmp_path / 'a"\\é.onnx'
    model.write_bytes(onnx_model())
    with Package(model, ()) as package:
        head = next(package.pieces(lambda _: None))
    assert b'filename="a__?.onnx"' in head
