"""Models of every format become the same OpenVINO IR, and what cannot is refused in words."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from appliance.errors import ModelInvalid, UnsupportedMedia
from appliance.host import convert
from appliance.host.openvino_import import ov
from appliance.library.source_files import Source, find_source
from tests.import_parts import ir_files
from tests.shared_data import shared_file
from tests.tiny_formats import onnx_model, paddle_model, saved_model, tensorflow_graph
from tests.tiny_models import substitute

RED = np.zeros((8, 8, 3), np.float32) + np.array([9.0, 1.0, 2.0], np.float32)


def a_source(directory: Path, files: Mapping[str, bytes]) -> Source:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return find_source(directory)


def converted(directory: Path, source: Source) -> "ov.Model":
    model = convert.adapt(convert.read_source(source), source, None)
    convert.save(model, directory)
    return ov.Core().read_model(directory / "model.xml")


FORMATS: dict[str, dict[str, bytes]] = {
    "onnx": {"m.onnx": onnx_model(factor=1.0)},
    "onnx without a name": {"upload": onnx_model(factor=1.0)},
    "onnx in two files": {
        "m.onnx": onnx_model(external="w.bin"),
        "w.bin": np.float32(1.0).tobytes(),
    },
    "graph": {"g.pb": tensorflow_graph()},
    "saved model": {"m/saved_model.pb": saved_model(), "m/variables/note": b"1"},
    "paddle": {"p.pdmodel": paddle_model(), "p.pdiparams": b""},
}


@pytest.mark.parametrize("files", FORMATS.values(), ids=FORMATS)
def test_every_format_answers_the_same(tmp_path: Path, files: dict[str, bytes]) -> None:
    source = a_source(tmp_path / "sent", files)
    (tmp_path / "out").mkdir()
    model = converted(tmp_path / "out", source)
    is_nchw = model.inputs[0].shape[1] == 3
    picture = (RED.transpose(2, 0, 1) if is_nchw else RED)[None]
    answer = ov.Core().compile_model(model, "CPU")([picture])[0]
    assert np.allclose(answer, [[9.0, 1.0, 2.0]], atol=1e-4)


def test_an_ir_keeps_its_weights_as_they_are(tmp_path: Path) -> None:
    source = a_source(tmp_path / "sent", ir_files(tmp_path / "made"))
    (tmp_path / "out").mkdir()
    model = converted(tmp_path / "out", source)
    kinds = {
        op.get_element_type().get_type_name()
        for op in model.get_ops()
        if op.get_type_name() == "Constant" and op.get_element_type().is_real()
    }
    assert kinds == {"f32"}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"m.onnx": onnx_model(external="../w.bin")}, "not beside it"),
        ({"m.onnx": onnx_model(external="/etc/passwd")}, "not beside it"),
        ({"m.onnx": onnx_model(external="w.bin")}, "not here"),
        ({"m.onnx": onnx_model(operation="Frobnicate")}, "Frobnicate"),
        ({"p.pdmodel": paddle_model(version=1_007_000), "p.pdiparams": b""}, r"Paddle 1\.x"),
    ],
)
def test_what_openvino_cannot_read_is_refused(
    tmp_path: Path, files: dict[str, bytes], words: str
) -> None:
    with pytest.raises(ModelInvalid, match=words):
        convert.read_source(a_source(tmp_path, files))


def test_weights_behind_a_link_are_refused(tmp_path: Path) -> None:
    source = a_source(tmp_path / "sent", {"m.onnx": onnx_model(external="w.bin")})
    (tmp_path / "secret").write_bytes(b"1234")
    (tmp_path / "sent" / "w.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelInvalid, match="beside"):
        convert.read_source(source)


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        (r'version="1[01]"', 'version="12"', "newer OpenVINO"),
        (r'version="1[01]"', 'version="7"', "too old"),
        (r'version="opset\d+"', 'version="opset99"', "newer"),
        (r"<net ", "<!DOCTYPE x><net ", "entities"),
    ],
)
def test_an_ir_of_another_release_is_refused(
    tmp_path: Path, pattern: str, replacement: str, words: str
) -> None:
    files = ir_files(tmp_path / "made")
    files["model.xml"] = substitute(pattern, replacement)(files["model.xml"])
    with pytest.raises(ModelInvalid, match=words):
        convert.read_source(a_source(tmp_path / "sent", files))


def test_weights_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    files = ir_files(tmp_path / "made")
    files["model.bin"] = files["model.bin"][:2]
    with pytest.raises(ModelInvalid, match=r"The \.bin does not hold the weights.*Send both"):
        convert.read_source(a_source(tmp_path / "sent", files))


@pytest.mark.parametrize(
    "files",
    [
        {"m.onnx": onnx_model(operation="Frobnicate")},
        {"m.pb": tensorflow_graph().replace(b"Mean", b"Frob")},
    ],
)
def test_operations_that_openvino_has_not_are_named(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    with pytest.raises(ModelInvalid, match=r"no counterpart for: Frob[\w-]*\. Export"):
        convert.read_source(a_source(tmp_path, files))


def test_a_network_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    files = ir_files(tmp_path / "made")
    files["model.xml"] = files["model.xml"][:700]
    with pytest.raises(ModelInvalid, match=r"The \.xml is cut off.*Send the whole file"):
        convert.read_source(a_source(tmp_path / "sent", files))


def test_an_input_of_absurd_size_is_refused(tmp_path: Path) -> None:
    """C-84."""
    source = a_source(tmp_path, {"m.onnx": onnx_model(size=60_000)})
    with pytest.raises(ModelInvalid, match="values"):
        convert.adapt(convert.read_source(source), source, None)


def test_an_open_size_is_fixed_as_asked(tmp_path: Path) -> None:
    ops = ov.opset13
    image = ops.parameter([1, 3, -1, -1], np.float32, name="image")
    image.output(0).set_names({"image"})
    mean = ops.reduce_mean(image, np.array([2, 3]), keep_dims=False)
    directory = tmp_path / "made"
    directory.mkdir()
    ov.save_model(ov.Model([mean], [image], "m"), directory / "model.xml")
    source = find_source(directory)
    model = convert.adapt(convert.read_source(source), source, (640, 480))
    assert list(model.inputs[0].shape) == [1, 3, 480, 640]
    assert model.outputs[0].get_any_name()  # it had no name


def test_facts_come_with_one_trial(tmp_path: Path) -> None:
    source = a_source(tmp_path, {"m.onnx": onnx_model(metadata={"author": "tests"})})
    model = convert.read_source(source)
    metadata = convert.metadata_in(model, source)
    facts = convert.facts_of(model, source, weights_bytes=4, metadata=metadata)
    assert facts.metadata == {"author": "tests"}
    assert facts.operations == len(model.get_ops())
    assert (facts.inputs[0].name, facts.inputs[0].shape) == ("image", (1, 3, 8, 8))
    (output,) = facts.outputs
    assert output.low is not None
    assert not output.sums_to_one


def test_the_words_inside_an_ir_are_read(tmp_path: Path) -> None:
    files = ir_files(tmp_path / "made")
    source = a_source(tmp_path / "sent", files)
    model = convert.read_source(source)
    assert convert.metadata_in(model, source) == {}
    model.set_rt_info("a b", ["model_info", "labels"])
    (tmp_path / "out").mkdir()
    convert.save(model, tmp_path / "out")
    model = convert.read_source(find_source(tmp_path / "out"))
    assert convert.metadata_in(model, source) == {"labels": "a b"}


def test_a_quantised_output_becomes_real_numbers(tmp_path: Path) -> None:
    name = "models/coral/mobilenet_v1_0.25_128_quant.tflite"
    source = a_source(tmp_path, {"m.tflite": shared_file(name).read_bytes()})
    model = convert.adapt(convert.read_source(source), source, None)
    facts = convert.facts_of(model, source, weights_bytes=1, metadata={})
    (output,) = facts.outputs
    assert output.type == "f32"
    assert output.high is not None
    assert 0.0 < output.high <= 1.0


def test_suppression_inside_a_tflite_file_is_named(tmp_path: Path) -> None:
    name = "models/coral/mobilenet_v1_0.25_128_quant.tflite"
    content = shared_file(name).read_bytes()
    source = a_source(tmp_path, {"m.tflite": content})
    with pytest.raises(UnsupportedMedia, match="built in"):
        convert.refuse_own_operations(("TFLite_Detection_PostProcess",))
    convert.read_source(source)
