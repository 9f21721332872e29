import pytest

from appliance.errors import ModelInvalid
from appliance.library.manifest import Input, Manifest
from appliance.tasks.contract import Model
from appliance.tasks.picture_input import check_picture_input, input_size


def model(shape: list[int], *inputs: Input, shapes: int = 1) -> Model:
    manifest = Manifest(manifest_version=1, name="m", version=1, task="t", inputs=inputs)
    return Model(
        manifest=manifest,
        labels={},
        input_shapes={f"image{number or ''}": shape for number in range(shapes)},
    )


IMAGE = Input(tensor="image", layout="NCHW")


def test_one_colour_picture_of_fixed_size_is_right() -> None:
    good = model([1, 20, 30, 3], IMAGE)
    assert check_picture_input(good, called="A detector") is IMAGE
    assert input_size(good) == ("image", (30, 20))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (model([1, 20, 30, 3]), r"A detector has one input: this model has 1, its manifest.* 0"),
        (model([1, 20, 30, 3], IMAGE, shapes=2), "this model has 2"),
        (model([1, 20, 30, 3], Input(tensor="image")), 'such as layout = "NCHW"'),
        (model([1, -1, -1, 3], IMAGE), "picture of fixed size"),
        (model([1, 20, 30, 1], IMAGE), "picture of fixed size"),
        (model([20, 30, 3], IMAGE), "picture of fixed size"),
    ],
)
def test_anything_else_is_refused_with_what_to_do(wrong: Model, words: str) -> None:
    with pytest.raises(ModelInvalid, match=words):
        check_picture_input(wrong, called="A detector")
