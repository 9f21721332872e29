import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.errors import InvalidInput, PayloadTooLarge
from appliance.host import open_inference
from appliance.host.network import Network
from appliance.host.raw_inference import network_input, tensor_model
from appliance.library.manifest import Input, read_labels, read_manifest
from appliance.library.versions import VersionDirectory
from appliance.tasks.contract import Limits, Model
from tests.tiny_models import picture, write_colour_model

LIMITS = Limits()
NOISE = np.random.default_rng(6).integers(0, 256, (1, 8, 8, 3), np.uint8)


def built(
    place: VersionDirectory, limits: Limits = LIMITS
) -> tuple[Network, open_inference.TensorModel]:
    manifest = read_manifest(place.directory)
    network = Network(
        place.directory, manifest, cache_directory=place.directory.parents[2], threads=2
    )
    model = Model(
        manifest=manifest,
        labels=read_labels(place.directory, manifest),
        input_shapes=network.input_shapes,
        limits=limits,
    )
    return network, tensor_model(network, model, most_batch=16)


@pytest.mark.parametrize("order", ["RGB", "BGR", "GRAY"])
@pytest.mark.parametrize("numbers", [(), (3.0,)])
def test_a_picture_as_a_tensor_answers_like_the_task(
    tmp_path: Path, order: str, numbers: tuple[float, ...]
) -> None:
    place = write_colour_model(tmp_path / "m", color_order=order, mean=numbers, scale=numbers)
    network, tensors = built(place)
    row = network_input(NOISE[0], network._manifest.inputs[0], kind=np.float32)
    raw = tensors.infer({"image": row[None]})["colour"]
    assert raw == pytest.approx(network.task.infer({"image": NOISE})["colour"], rel=1e-4, abs=0.01)


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.uint8])
def test_the_input_has_the_element_type_and_layout_of_the_model(kind: type[np.generic]) -> None:
    found = network_input(NOISE[0], Input(tensor="x", layout="NCHW"), kind=kind)
    assert (found.dtype, found.shape) == (kind, (3, 8, 8))
    assert found.flags.c_contiguous
    assert np.array_equal(found.astype(np.uint8), NOISE[0].transpose(2, 0, 1))
    assert network_input(NOISE[0], Input(tensor="x", layout="NHWC"), kind=kind).shape == (8, 8, 3)


@pytest.mark.parametrize("dynamic_batch", [False, True])
def test_any_batch_gives_the_rows_one_below_the_other(tmp_path: Path, dynamic_batch: bool) -> None:
    place = write_colour_model(tmp_path / "m", dynamic_batch=dynamic_batch)
    _, tensors = built(place)
    rows = np.random.default_rng(1).random((7, 3, 8, 8), np.float32)
    together = tensors.infer({"image": rows})["colour"]
    assert together.shape == (7, 3)
    for row, found in zip(rows, together, strict=True):
        assert np.array_equal(tensors.infer({"image": row[None]})["colour"][0].copy(), found)


def test_a_relayed_call_carries_an_encoded_picture(tmp_path: Path) -> None:
    _, tensors = built(write_colour_model(tmp_path / "m"))
    encoded = picture("blue")
    head = {
        "inputs": [
            {
                "name": "image",
                "datatype": "BYTES",
                "shape": [1],
                "parameters": {"binary_data_size": len(encoded) + 4},
            }
        ]
    }
    text = json.dumps(head).encode()
    body = text + len(encoded).to_bytes(4, "little") + encoded
    _, answer = open_inference.answer(tensors, {"json_bytes": len(text)}, body)
    scores = json.loads(answer)["outputs"][0]["data"]
    assert scores.index(max(scores)) == 2
    assert tensors.labels == {"colour": ("red", "green", "blue")}


def test_a_batch_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    _, tensors = built(write_colour_model(tmp_path / "m"))
    data = {"name": "image", "datatype": "FP32", "shape": [17, 3, 8, 8], "data": [0] * 17 * 192}
    body = json.dumps({"inputs": [data]}).encode()
    with pytest.raises((InvalidInput, Exception), match="16") as caught:
        open_inference.answer(tensors, {"json_bytes": None}, body)
    assert caught.value.status in (413, 422)


def infer_pixels(tensors: open_inference.TensorModel, pixels: np.ndarray, datatype: str) -> Any:
    one = {
        "name": "image",
        "datatype": datatype,
        "shape": [*pixels.shape],
        "parameters": {"binary_data_size": pixels.nbytes},
    }
    text = json.dumps({"inputs": [one]}).encode()
    _, answer = open_inference.answer(tensors, {"json_bytes": len(text)}, text + pixels.tobytes())
    return json.loads(answer)["outputs"][0]["data"]


@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_a_pictures_pixels_answer_like_the_encoded_picture(tmp_path: Path, datatype: str) -> None:
    """openvino-model-api's adapter sends whole numbers, BGR, of any size, as the input's type."""
    _, tensors = built(write_colour_model(tmp_path / "m"))
    pixels = np.zeros((1, 30, 20, 3), "u1" if datatype == "UINT8" else "<f4")
    pixels[..., 2] = 255
    found = infer_pixels(tensors, pixels, datatype)
    assert tensors.decode_picture is not None
    red = tensors.infer({"image": np.stack([tensors.decode_picture(picture("red"))])})
    np.testing.assert_allclose(found, red["colour"].ravel(), atol=1e-5)


def test_scaled_pixels_of_another_shape_are_no_picture(tmp_path: Path) -> None:
    _, tensors = built(write_colour_model(tmp_path / "m"))
    for value in (0.5, -1.0, 256.0, np.nan):
        with pytest.raises(InvalidInput, match="whole numbers from 0 to 255"):
            infer_pixels(tensors, np.full((1, 30, 20, 3), value, "<f4"), "FP32")


def test_more_pixels_than_a_picture_may_have_are_refused(tmp_path: Path) -> None:
    _, tensors = built(write_colour_model(tmp_path / "m"), Limits(image_pixels=100))
    with pytest.raises(PayloadTooLarge, match=r"limits\.image_pixels"):
        infer_pixels(tensors, np.zeros((1, 30, 20, 3), "u1"), "UINT8")
