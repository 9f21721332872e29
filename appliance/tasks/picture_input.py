"""The one picture that a model of this product takes: where its description must be right."""

from typing import TYPE_CHECKING

from appliance.errors import ModelInvalid
from appliance.library.manifest import Input
from appliance.tasks import pictures
from appliance.tasks.contract import Model, Payload

if TYPE_CHECKING:
    from appliance.tasks.contract import Tensors


def check_picture_input(model: Model, *, called: str) -> Input:
    """Given a model, return the manifest's description of its only input, a colour picture.

    `called` says in an error what the model is taken for, such as "An image classifier". Raise
    ModelInvalid unless there is one input, of fixed size and with three channels.
    """
    inputs = model.manifest.inputs
    if len(model.input_shapes) != 1 or len(inputs) != 1:
        raise ModelInvalid(
            f"{called} has one input: this model has {len(model.input_shapes)}, its manifest"
            f" describes {len(inputs)} in [[inputs]]."
        )
    if not {"H", "W", "C"} <= set(inputs[0].layout):
        raise ModelInvalid(
            'The manifest must say in [[inputs]] how pixels lie, such as layout = "NCHW".'
        )
    shape = model.input_shapes[inputs[0].tensor]
    if len(shape) != 4 or shape[3] != 3 or min(shape[1:3]) < 1:
        raise ModelInvalid(
            f"The input must be a picture of fixed size, but its shape is {list(shape)} as"
            " N, H, W, C. Fix height and width when converting the model, or say --size"
            " WIDTHxHEIGHT."
        )
    return inputs[0]


def input_size(model: Model) -> tuple[str, tuple[int, int]]:
    """Given a checked model, return the name of its picture's tensor and its width and height."""
    ((tensor, shape),) = model.input_shapes.items()
    return tensor, (shape[2], shape[1])


def decoded_picture(
    payload: Payload, model: Model, *, crop: "tuple[int, int, int, int] | None"
) -> "Tensors":
    """Given a payload and a checked model, return its picture as u8[1, height, width, 3].

    Placed as the manifest says. Raise what `pictures.open_picture` and `decode_picture` raise.
    """
    tensor, target = input_size(model)
    described = model.manifest.inputs[0]
    pixels = pictures.decode_picture(
        pictures.open_picture(payload, model.limits),
        target,
        crop=crop,
        resize=described.resize,
        pad_value=described.pad_value,
        pad_position=described.pad_position,
    )
    return {tensor: pixels[None]}
