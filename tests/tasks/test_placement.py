import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InvalidInput
from appliance.tasks.placement import Placement, part_of, place

sides = st.integers(1, 5000)
sizes = st.tuples(sides, sides)
targets = st.tuples(st.integers(32, 1280), st.integers(32, 1280))


@pytest.mark.parametrize(
    ("resize", "position", "expected"),
    [
        ("stretch", "center", Placement((0, 0, 200, 100), (100, 100))),
        ("letterbox", "center", Placement((0, 0, 200, 100), (100, 50), (0, 25))),
        ("letterbox", "top-left", Placement((0, 0, 200, 100), (100, 50))),
        ("crop", "center", Placement((50, 0, 150, 100), (100, 100))),
    ],
)
def test_a_part_lies_as_the_manifest_says(resize: str, position: str, expected: Placement) -> None:
    assert place((0, 0, 200, 100), (100, 100), resize=resize, pad_position=position) == expected


def test_a_box_finds_its_way_back() -> None:
    placement = place((100, 0, 300, 100), (100, 100), resize="letterbox")
    assert placement.scale == (0.5, 0.5)
    back = placement.to_picture(np.array([[0, 25, 100, 75], [50, 30, 60, 35]]))
    assert back.tolist() == [[100, 0, 300, 100], [200, 10, 220, 20]]
    assert placement.to_picture(np.empty((0, 4))).shape == (0, 4)


@given(
    sizes, targets, st.sampled_from(["stretch", "letterbox", "crop"]), st.data()
)  # fmt: skip
def test_there_and_back_is_within_a_pixel_of_the_input(
    size: tuple[int, int], target: tuple[int, int], resize: str, data: st.DataObject
) -> None:
    position = data.draw(st.sampled_from(["center", "top-left"]))
    placement = place((0, 0, *size), target, resize=resize, pad_position=position)
    across, down = placement.scale
    left, top, right, bottom = placement.source
    x = data.draw(st.floats(left, right))
    y = data.draw(st.floats(top, bottom))
    there = ((x - left) * across + placement.offset[0], (y - top) * down + placement.offset[1])
    assert -1e-6 <= there[0] <= target[0] + 1e-6
    assert -1e-6 <= there[1] <= target[1] + 1e-6
    back = placement.to_picture(np.array([[*there, *there]]))[0]
    assert back == pytest.approx([x, y, x, y], abs=1e-6 * max(size) + 1e-6)


@given(sizes, targets)
def test_a_letterbox_keeps_the_shape_and_fills_one_side(
    size: tuple[int, int], target: tuple[int, int]
) -> None:
    placement = place((0, 0, *size), target, resize="letterbox")
    inner = placement.inner
    assert inner[0] == target[0] or inner[1] == target[1]
    assert inner[0] <= target[0]
    assert inner[1] <= target[1]
    scale = min(target[0] / size[0], target[1] / size[1])
    for side in (0, 1):
        assert abs(inner[side] - max(1, size[side] * scale)) <= 0.5 + 1e-9


def test_a_crop_must_lie_inside() -> None:
    assert part_of((10, 20), None) == (0, 0, 10, 20)
    assert part_of((10, 20), (1, 2, 9, 18)) == (1, 2, 10, 20)
    for crop in ((-1, 0, 5, 5), (0, 0, 0, 5), (0, 0, 11, 5), (0, 1, 10, 20)):
        with pytest.raises(InvalidInput, match="crop") as refused:
            part_of((10, 20), crop)
        assert refused.value.errors[0].pointer == "/query/crop"
