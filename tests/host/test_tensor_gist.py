"""What a tensor answer says in a few words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from appliance.host.tensor_gist import gist

LABELS = {"type": ("car", "van"), "colour": ("red", "blue", "green")}


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_scores_say_their_best_class() -> None:
    assert gist({"type": row(0.25, 0.75)}, LABELS) == ("van", 0.75)
    assert gist({"other": row(0.25, 0.75)}, LABELS) == ("other:1", 0.75)


def test_each_head_and_each_row_is_told() -> None:
    arrays = {
        "type": np.array([[3, 1], [1, 3]], np.float32),
        "colour": np.array([[0, 0, 1], [1, 0, 0]], np.float32),
    }
    assert gist(arrays, LABELS) == ("green, red, car, van", None)


def test_scores_that_differ_a_little_say_the_same() -> None:
    assert gist({"type": row(1, 2)}, LABELS)[0] == gist({"type": row(0.9, 2.2)}, LABELS)[0]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (row(1.00001), row(1.00002), True),
        (row(1.0), row(1.1), False),
        (row(0.0), row(-0.0), True),
        (np.ones((1, 2, 3), np.float32), np.ones((1, 3, 2), np.float32), False),
        (np.array([1, 2]), np.array([1, 3]), False),
        (np.array([b"a"], object), np.array([b"b"], object), False),
        (np.eye(20, dtype=np.float32), np.eye(20, dtype=np.float32) * 2, True),
    ],
)
def test_other_outputs_are_compared_by_their_first_digits(
    one: np.ndarray, other: np.ndarray, is_same: bool
) -> None:
    assert (gist({"x": one}, {}) == gist({"x": other}, {})) is is_same


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float16, np.int64, np.uint8]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9),
    )
)
def test_any_answer_says_something_short(array: np.ndarray) -> None:
    text, _ = gist({"x": array}, {"x": ("label " * 20,) * 9})
    assert 0 < len(text) <= 200 or array.size == 0


def test_values_that_are_no_numbers_are_told_apart_from_zero() -> None:
    assert gist({"x": row(float("nan"))}, {}) != gist({"x": row(0.0)}, {})
    assert gist({"x": row(float("inf"))}, {}) == gist({"x": row(float("inf"))}, {})
