import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from appliance.tasks import drawing
from appliance.tasks.drawing import Mark


def drawn(size: tuple[int, int], *marks: Mark, ground: int = 128) -> np.ndarray:
    picture = Image.new("RGB", size, (ground, ground, ground))
    return np.asarray(drawing.marked(picture, marks)).astype(int)


def is_colour(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.abs(pixels - np.array(colour)).max(axis=-1) < 8


RED = (220, 30, 30)


def test_a_box_is_drawn_where_it_is_in_the_colour_of_its_class() -> None:
    pixels = drawn((640, 480), Mark((100, 100, 300, 400), "cat 90%", RED))
    found = is_colour(pixels, RED)
    assert found[250, 100:103].any(), "left"
    assert found[250, 296:300].any(), "right"
    assert found[396:400, 250].any(), "below"
    assert not found[250, 110:290].any(), "what is in the box can still be seen"
    assert found[70:100, 100:160].mean() > 0.4, "a label on a ground of its own above"


def test_lines_and_letters_grow_with_the_picture() -> None:
    def height(width: int) -> int:
        size = (width, width * 3 // 4)
        box = (width * 0.2, width * 0.3, width * 0.8, width * 0.6)
        pixels = drawn(size, Mark(box, "cat", RED))
        return int(is_colour(pixels, RED).any(axis=1).argmax())

    # How far above the box the label begins, as a part of the picture's width.
    offsets = [0.3 - height(width) / width for width in (400, 800, 1600)]
    assert all(0.02 < offset < 0.06 for offset in offsets), offsets


@pytest.mark.parametrize("class_id", range(0, 90, 7))
def test_letters_contrast_with_their_ground(class_id: int) -> None:
    colour = drawing.colour_of(class_id)
    light, dark = sorted(
        (drawing._luminance(colour), drawing._luminance(drawing.ink_on(colour))), reverse=True
    )
    assert (light + 0.05) / (dark + 0.05) >= 4.5, "WCAG AA"


def test_classes_have_different_colours_and_always_the_same() -> None:
    colours = [drawing.colour_of(number) for number in range(80)]
    assert len(set(colours)) == 80
    assert colours == [drawing.colour_of(number) for number in range(80)]


def test_labels_avoid_each_other_while_there_is_room() -> None:
    box = (200.0, 200.0, 400.0, 400.0)
    pen = drawing._pen("cat", 16)
    taken: list[tuple[float, float, float, float]] = []
    for number in range(4):
        place = drawing._label_place(Mark(box, f"cat {number}", RED), (640, 480), pen, taken)
        assert all(drawing._shared(place, other) == 0 for other in taken)
        taken.append(place)


edge = st.floats(-50, 450)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.lists(st.tuples(edge, edge, edge, edge, st.text(max_size=40)), max_size=6),
)
def test_any_box_and_words_can_be_drawn(size: tuple[int, int], rows: list[object]) -> None:
    marks = [
        Mark((min(a, c), min(b, d), max(a, c), max(b, d)), text.replace("\n", " "), RED)  # type: ignore[misc]
        for a, b, c, d, text in rows  # type: ignore[misc]
    ]
    assert drawn(size, *marks).shape == (size[1], size[0], 3)


@pytest.mark.parametrize(("media", "form"), [("image/jpeg", "JPEG"), ("image/png", "PNG")])
def test_the_picture_is_encoded_as_asked(media: str, form: str) -> None:
    body = drawing.encoded(Image.new("RGB", (20, 10), RED), media)
    opened = Image.open(io.BytesIO(body))
    assert (opened.format, opened.size) == (form, (20, 10))
