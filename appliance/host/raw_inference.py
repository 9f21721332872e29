"""Tensor requests on the host: the model as its file has it, any batch."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from appliance.errors import PayloadTooLarge
from appliance.host.network import Network, is_picture
from appliance.host.open_inference import TensorModel
from appliance.host.tensor_spec import is_batchable, tensor_specs
from appliance.library.manifest import Input
from appliance.tasks import pictures
from appliance.tasks.contract import Model, Payload

Infer = Callable[[Mapping[str, Any]], Mapping[str, Any]]
_KINDS: dict[str, type[np.generic]] = {"UINT8": np.uint8, "FP16": np.float16}
#: ITU-R BT.601 luma, which OpenVINO's colour conversion to grey uses.
_GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)


def tensor_model(network: Network, model: Model, *, most_batch: int) -> TensorModel:
    """Given a loaded network and its model, return it as tensor requests see it."""
    inputs, outputs = tensor_specs(network.raw_inputs), tensor_specs(network.raw_outputs)
    picture = _picture_input(network, model)
    return TensorModel(
        name=model.manifest.name,
        version=model.manifest.version,
        inputs=inputs,
        outputs=outputs,
        most_batch=most_batch,
        infer=_by_rows(network) if is_batchable(inputs, outputs) else _whole(network),
        labels=_labels_by_tensor(model),
        decode_picture=picture.decode if picture else None,
        place_pixels=picture.place if picture else None,
    )


def _whole(network: Network) -> Infer:
    return lambda arrays: network.raw().infer(arrays)


def _by_rows(network: Network) -> Infer:
    def infer(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        count = next(iter(arrays.values())).shape[0]
        if count == 1:
            return network.raw().infer(arrays)
        rows = [
            {name: array[row : row + 1] for name, array in arrays.items()} for row in range(count)
        ]
        answers = network.raw().infer_many(rows)
        return {name: np.concatenate([one[name] for one in answers]) for name in answers[0]}

    return infer


def _labels_by_tensor(model: Model) -> dict[str, tuple[str, ...]]:
    heads = zip(model.manifest.heads(), model.manifest.outputs, strict=True)
    return {output.tensor: tuple(model.labels.get(head, ())) for head, output in heads}


class PictureInput:
    """A model's only picture input: makes its row of encoded pictures and of pixels.

    Threads: any; immutable.
    """

    def __init__(self, model: Model, described: Input, kind: type[np.generic]) -> None:
        height, width = model.input_shapes[described.tensor][1:3]
        self._size = (width, height)
        self._limits = model.limits
        self._described = described
        self._kind = kind

    def decode(self, encoded: bytes) -> Any:
        """Given an encoded picture, return the row; raise InvalidInput, UnsupportedMedia."""
        return self._row(
            pictures.open_picture(Payload(body=encoded, content_type=""), self._limits)
        )

    def place(self, pixels: Any) -> Any:
        """Given pixels u8[height, width, 3] in OpenCV's order (BGR), return the row.

        Raise PayloadTooLarge for more than limits.image_pixels of them.
        """
        from PIL import Image

        if pixels.shape[0] * pixels.shape[1] > self._limits.image_pixels:
            raise PayloadTooLarge(
                f"The picture has {pixels.shape[1]}×{pixels.shape[0]} pixels; at most"
                f" {self._limits.image_pixels:,} are taken (limits.image_pixels)."
            )
        return self._row(Image.fromarray(np.ascontiguousarray(pixels[..., ::-1])))

    def _row(self, picture: Any) -> Any:
        described = self._described
        pixels = pictures.decode_picture(
            picture,
            self._size,
            resize=described.resize,
            pad_value=described.pad_value,
            pad_position=described.pad_position,
        )
        return network_input(pixels, described, kind=self._kind)


def _picture_input(network: Network, model: Model) -> PictureInput | None:
    """Return what makes the raw model's input row of a picture, where it takes one picture."""
    described = [one for one in model.manifest.inputs if is_picture(one)]
    if len(described) != 1 or min(model.input_shapes[described[0].tensor][1:3]) < 1:
        return None
    kind = next(
        one["datatype"] for one in network.raw_inputs if one["name"] == described[0].tensor
    )
    return PictureInput(model, described[0], _KINDS.get(kind, np.float32))


def network_input(pixels: Any, described: Input, *, kind: type[np.generic]) -> Any:
    """Given RGB pixels u8[height, width, 3], return them as the raw model's input without batch.

    Colour order, mean, scale and layout are the manifest's, as the compiled graph applies them for
    pictures; `kind` is the element type the model takes.
    """
    if described.color_order == "BGR":
        pixels = pixels[..., ::-1]
    if described.color_order == "GRAY":
        pixels = (pixels @ _GREY_WEIGHTS)[..., None]
    if described.mean or described.scale:
        mean = np.asarray(described.mean or 0.0, np.float32)
        scale = np.asarray(described.scale or 1.0, np.float32)
        pixels = (pixels.astype(np.float32) - mean) / scale
    axes = ["HWC".index(letter) for letter in described.layout if letter in "HWC"]
    return np.ascontiguousarray(pixels.transpose(axes), kind)
