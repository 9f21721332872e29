"""Shapes tell what is a picture and what a row of scores."""

import pytest

from appliance.library.model_facts import channels_of, classes_of, picture_size


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((1, 3, 224, 224), "NCHW"),
        ((-1, 3, -1, -1), "NCHW"),
        ((1, 224, 224, 3), "NHWC"),
        ((1, 28, 28, 1), "NHWC"),
        ((1, 3, 224, 3), ""),
        ((2, 3, 224, 224), ""),
        ((1, 2048), ""),
        ((1, 4, 8, 8), ""),
    ],
)
def test_the_side_of_one_or_three_is_the_colours(shape: tuple[int, ...], layout: str) -> None:
    assert channels_of(shape) == layout


def test_a_pictures_size_is_width_and_height() -> None:
    assert picture_size((1, 3, 480, 640), "NCHW") == (640, 480)
    assert picture_size((1, 480, 640, 3), "NHWC") == (640, 480)


@pytest.mark.parametrize(
    ("shape", "classes"),
    [
        ((1, 1000), 1000),
        ((-1, 5), 5),
        ((1, 4, 1, 1), 4),
        ((1, 1, 1, 1024), 1024),
        ((1, 1), 0),
        ((1, 84, 8400), 0),
        ((3, 4), 0),
        ((), 0),
    ],
)
def test_one_row_of_scores_is_counted(shape: tuple[int, ...], classes: int) -> None:
    assert classes_of(shape) == classes
