"""A TFLite file's own words: how numbers are stored, own operations, labels attached."""

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import ModelInvalid
from appliance.library.tflite_file import read_tflite
from tests.shared_data import shared_file

CLASSIFIER = "models/coral/mobilenet_v1_0.25_128_quant.tflite"
DETECTOR = "models/yolox/yolox_nano_dynamic_range_quantize.tflite"


def test_the_scale_of_a_quantised_output_is_read() -> None:
    found = read_tflite(shared_file(CLASSIFIER))
    assert found.own_operations == ()
    (output,) = found.outputs
    assert output.scale == pytest.approx(1 / 256, rel=0.01)
    assert output.zero == 0


def test_a_model_of_plain_numbers_has_no_scales() -> None:
    found = read_tflite(shared_file(DETECTOR))
    assert found.outputs == ()


def test_labels_attached_behind_the_model_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    buffer = io.BytesIO(shared_file(DETECTOR).read_bytes())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    path.write_bytes(buffer.getvalue())
    assert read_tflite(path).labels == ("cat", "dog")


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    for content in (b"", b"\x1c\x00\x00\x00TFL3", shared_file(CLASSIFIER).read_bytes()[:5000]):
        path.write_bytes(content)
        with pytest.raises(ModelInvalid):
            read_tflite(path)


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\x10\x00\x00\x00TFL3" + content)
        file.flush()
        try:
            read_tflite(Path(file.name))
        except ModelInvalid:
            return
