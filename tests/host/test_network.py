from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.errors import InvalidInput, ModelInvalid
from appliance.host.network import Network, first_words
from appliance.host.openvino_import import ov
from appliance.library.manifest import read_manifest
from appliance.library.versions import VersionDirectory
from tests.tiny_models import change, save, substitute, write_colour_model

RANDOM = np.random.default_rng(5)
NOISE = RANDOM.integers(0, 256, (1, 8, 8, 3), np.uint8)


def network(place: VersionDirectory, cache: Path | None = None, threads: int = 1) -> Network:
    return Network(
        place.directory,
        read_manifest(place.directory),
        cache_directory=cache or place.directory.parents[2] / "cache",
        threads=threads,
    )


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "models"


def softless(pixels: np.ndarray, mean: Any, scale: Any, factor: float = 10.0) -> np.ndarray:
    """The colour model in numpy, on pixels in the order it takes them."""
    values = (pixels.astype(np.float64) - np.array(mean)) / np.array(scale)
    return values.mean(axis=(1, 2)) * factor


@pytest.mark.parametrize(
    ("mean", "scale"),
    [
        ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        ((10.0,), (2.0,)),
        ((), ()),
        ((1.0, 2.0, 3.0), ()),
        ((), (255.0,)),
    ],
)
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_the_graph_orders_shifts_and_scales_like_numpy(
    models: Path, order: str, mean: tuple[float, ...], scale: tuple[float, ...]
) -> None:
    place = write_colour_model(models, color_order=order, mean=mean, scale=scale)
    found = network(place).task.infer({"image": NOISE})["colour"]
    pixels = NOISE if order == "RGB" else NOISE[..., ::-1]
    expected = softless(pixels, mean or 0.0, scale or 1.0)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_a_grey_model_gets_luma(models: Path) -> None:
    place = write_colour_model(models, color_order="GRAY", mean=(), scale=(), factor=1.0)
    found = network(place).task.infer({"image": NOISE})["colour"]
    luma = (NOISE @ np.array([0.299, 0.587, 0.114])).mean(axis=(1, 2))
    assert found.reshape(-1) == pytest.approx(luma, rel=1e-3)


def test_pictures_go_in_as_bytes(models: Path) -> None:
    built = network(write_colour_model(models))
    assert built.input_shapes == {"image": [1, 8, 8, 3]}
    assert built.output_shapes == {"colour": [1, 3]}
    assert built.task.inputs["image"].get_element_type() == ov.Type.u8
    assert built.raw_inputs == ({"name": "image", "datatype": "FP32", "shape": [1, 3, 8, 8]},)
    assert built.raw_outputs == ({"name": "colour", "datatype": "FP32", "shape": [1, 3]},)


def test_the_precision_is_f32_unless_the_manifest_says_otherwise(models: Path) -> None:
    def hint(precision: str) -> Any:
        built = network(write_colour_model(models, name=precision, precision=precision))
        return built.task.property("INFERENCE_PRECISION_HINT")

    assert hint("f32") == ov.Type.f32
    assert hint("bf16") in (ov.Type.bf16, ov.Type.f32)  # f32 where the processor has none
    place = write_colour_model(models, name="plain")
    own = ov.Core().compile_model(str(place.directory / "model.xml"), "CPU")
    assert hint("auto") == own.get_property("INFERENCE_PRECISION_HINT")


def test_the_raw_model_is_computed_in_the_same_precision(models: Path) -> None:
    raw = network(write_colour_model(models)).raw()
    assert raw.property("INFERENCE_PRECISION_HINT") == ov.Type.f32


def test_the_threads_are_those_of_the_budget(models: Path) -> None:
    built = network(write_colour_model(models), threads=2)
    assert built.task.property("INFERENCE_NUM_THREADS") == 2
    assert built.task.property("NUM_STREAMS") == 2


@pytest.mark.parametrize("dynamic_batch", [False, True])
def test_many_at_once_are_the_same_as_one_by_one(models: Path, dynamic_batch: bool) -> None:
    built = network(write_colour_model(models, dynamic_batch=dynamic_batch), threads=2)
    requests = [{"image": RANDOM.integers(0, 256, (1, 8, 8, 3), np.uint8)} for _ in range(17)]
    singly = [built.task.infer(request)["colour"].copy() for request in requests]
    together = built.task.infer_many(requests)
    assert len(together) == 17
    for one, other in zip(singly, together, strict=True):
        assert np.array_equal(one, other["colour"])
    assert built.task.infer_many([]) == []


def test_whatever_goes_wrong_with_one_of_many_the_others_are_waited_for(models: Path) -> None:
    task = network(write_colour_model(models)).task
    good = {"image": NOISE}
    for wrong in ({"image": object()}, {"nothing": NOISE}):
        with pytest.raises(Exception) as caught:
            task.infer_many([good, good, wrong, good])
        assert caught.value
        assert len(task.infer_many([good] * 3)) == 3


def test_a_variable_batch_is_fixed_at_one(models: Path) -> None:
    built = network(write_colour_model(models, dynamic_batch=True))
    assert built.raw_inputs[0]["shape"] == [-1, 3, 8, 8]
    assert built.input_shapes == {"image": [1, 8, 8, 3]}
    raw = built.raw()
    assert raw.infer({"image": np.zeros((1, 3, 8, 8), np.float32)})["colour"].shape == (1, 3)


@pytest.mark.parametrize("many", [False, True])
def test_tensors_that_do_not_fit_are_refused_and_the_next_ones_answered(
    models: Path, many: bool
) -> None:
    task = network(write_colour_model(models)).task
    wrong = {"image": np.zeros((1, 9, 9, 3), np.uint8)}
    with pytest.raises(InvalidInput, match="refused these tensors"):
        task.infer_many([wrong, wrong]) if many else task.infer(wrong)
    assert task.infer({"image": NOISE})["colour"].shape == (1, 3)
    assert len(task.infer_many([{"image": NOISE}] * 3)) == 3


def test_a_tensor_goes_by_the_name_the_manifest_uses(models: Path) -> None:
    place = write_colour_model(models)
    image = ov.opset13.parameter([1, 3, 8, 8], np.float32)
    image.output(0).set_names({"a_first_name", "image"})
    scores = ov.opset13.reduce_mean(image, np.array([2, 3]), keep_dims=False)
    scores.output(0).set_names({"a_first_score", "colour"})
    save([scores], [image], place.directory)
    built = network(place)
    assert built.input_shapes == {"image": [1, 8, 8, 3]}
    assert list(built.task.infer({"image": NOISE})) == ["colour"]
    assert built.raw_inputs[0]["name"] == "image"
    assert list(built.raw().infer({"image": np.zeros((1, 3, 8, 8), np.float32)})) == ["colour"]


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        ('tensor = "image"', 'tensor = "pixels"', "input 'pixels', but the model has only image"),
        ('tensor = "colour"', 'tensor = "hue"', "output 'hue', but the model has only colour"),
        ('"NCHW"', '"NCHWD"', "manifest's layout"),
        ('"NCHW"', '"CHW"', "manifest's layout"),
        ('"NCHW"', '"N?CHWx"', "manifest's layout"),
        ('"NCHW"', '"NHWC"', "manifest's layout|shape|cannot"),
        ('"RGB"', '"GRAY"', "manifest"),
    ],
)
def test_a_manifest_that_does_not_fit_the_model_is_told(
    models: Path, pattern: str, replacement: str, words: str
) -> None:
    place = write_colour_model(models)
    change(place, "manifest.toml", substitute(pattern, replacement))
    with pytest.raises(ModelInvalid, match=words):
        network(place).warm_up()


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        ("model.bin", lambda content: content[:-3], "Incorrect weights in bin file"),
        ("model.bin", lambda content: b"", "Incorrect weights in bin file"),
        ("model.xml", lambda content: content[: len(content) // 2], "tags mismatch|Error parsing"),
        ("model.xml", substitute('type="ReduceMean"', 'type="ReduceX"'), "operation .* ReduceX"),
        ("model.xml", substitute('version="opset1"', 'version="opset99"'), "opset99"),
        ("model.xml", substitute('version="11"', 'version="12"'), "newer OpenVINO"),
        ("model.xml", lambda content: b"PK\3\4" + content, "not an OpenVINO IR"),
    ],
)
def test_a_broken_file_is_told_in_plain_words(
    models: Path, name: str, edit: Any, words: str
) -> None:
    place = write_colour_model(models)
    change(place, name, edit)
    with pytest.raises(ModelInvalid, match=words) as caught:
        network(place)
    assert "/" not in caught.value.detail
    assert caught.value.detail.endswith(".")
    assert "\n" not in caught.value.detail


def test_compiled_models_are_kept_on_disk(models: Path) -> None:
    place = write_colour_model(models)
    cache = models.parent / "cache"
    network(place)
    assert list(cache.iterdir())
    network(place).warm_up()


@pytest.mark.parametrize("junk", [b"", b"junk" * 1000])
def test_a_damaged_cache_is_no_obstacle(models: Path, junk: bytes) -> None:
    place = write_colour_model(models)
    cache = models.parent / "cache"
    network(place)
    for path in cache.iterdir():
        path.write_bytes(junk)
    found = network(place).task.infer({"image": NOISE})["colour"]
    assert found.shape == (1, 3)


@pytest.mark.parametrize("cache", ["/proc/no-such-place", "/dev/null"])
def test_a_cache_that_cannot_be_written_is_no_obstacle(models: Path, cache: str) -> None:
    network(write_colour_model(models), cache=Path(cache)).warm_up()


def test_a_fault_is_told_by_its_last_line_without_paths() -> None:
    fault = RuntimeError(
        "Exception from src/a.cpp:84:\nCheck 'x' failed at src/b.cpp:9:\n"
        'Unable to read the model: "/srv/models/m/1/model.xml" please!\n\n'
    )
    assert first_words(fault) == "Unable to read the model: … please"
    assert first_words(RuntimeError("")) == "RuntimeError"
    assert first_words(RuntimeError("Check 'x' failed")) == "Check 'x' failed"


def test_streams_can_be_fewer_than_threads(models: Path) -> None:
    place = write_colour_model(models)
    built = Network(
        place.directory,
        read_manifest(place.directory),
        cache_directory=models.parent / "cache",
        threads=2,
        streams=1,
    )
    assert built.task.property("NUM_STREAMS") == 1
    assert built.task.property("INFERENCE_NUM_THREADS") == 2


def test_weights_of_small_integers_are_made_numbers_before_streams_are_compiled(
    models: Path,
) -> None:
    place = write_colour_model(models, has_golden=False)
    ops = ov.opset13
    image = ops.parameter([1, 3, 8, 8], np.float32, name="image")
    image.output(0).set_names({"image"})
    whole = ops.convert(ops.constant(np.eye(3, dtype=np.int8).reshape(3, 3, 1, 1)), np.float32)
    weights = ops.multiply(whole, ops.constant(np.full((3, 1, 1, 1), 10, np.float32)))
    mixed = ops.convolution(image, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    means = ops.reduce_mean(mixed, np.array([2, 3]), keep_dims=False)
    means.output(0).set_names({"colour"})
    save([means], [image], place.directory)
    built = network(place, threads=2)
    for compiled in (built.task, built.raw()):
        for one in compiled.compiled.get_runtime_model().get_ops():
            sources = [value.get_node() for value in one.input_values()]
            kinds = [each.get_rt_info()["layerType"].value for each in (one, *sources)]
            assert kinds != ["Convert", "Const"]
    found = built.task.infer({"image": NOISE})["colour"]
    assert found == pytest.approx(softless(NOISE, 127.5, 127.5), rel=1e-4, abs=1e-3)
