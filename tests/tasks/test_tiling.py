import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InvalidInput
from appliance.tasks import tiling
from appliance.tasks.detection_decoders import Found

WHOLE = (0, 0, 1000, 600)


@pytest.mark.parametrize(
    ("tiles", "size", "expected"),
    [
        ("3x2", (100, 100), (3, 2)),
        ("1x1", (9999, 9999), (1, 1)),
        ("auto", (640, 480), (1, 1)),
        ("auto", (832, 832), (1, 1)),
        ("auto", (1920, 1080), (4, 2)),
        ("auto", (4000, 3000), (7, 5)),
        ("auto", (400, 3000), (1, 5)),
        ("auto", (65500, 381), (8, 1)),
    ],
)
def test_the_grid_is_as_asked_or_as_the_size_asks_for(
    tiles: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert tiling.grid(tiles, *size, (416, 416)) == expected


def test_a_slow_model_may_look_at_fewer_tiles() -> None:
    with pytest.raises(InvalidInput, match="looks at 5 tiles of one picture at most, not 6"):
        tiling.grid("3x2", 100, 100, (416, 416), most=5)
    assert tiling.grid("auto", 4000, 3000, (416, 416), most=20) == (5, 4)
    assert tiling.grid("auto", 4000, 400, (416, 416), most=1) == (1, 1)


@given(
    st.integers(0, 500), st.integers(0, 500), st.integers(1, 9000), st.integers(1, 9000),
    st.integers(1, 8), st.integers(1, 8), st.floats(0, 0.5),
)  # fmt: skip
def test_tiles_cover_everything_and_nothing_else(
    left: int, top: int, width: int, height: int, columns: int, rows: int, overlap: float
) -> None:
    part = (left, top, left + width, top + height)
    tiles = tiling.tiles_of(part, columns, rows, overlap)
    assert len(tiles) == columns * rows
    for axis in (0, 1):
        spans = sorted({(tile[axis], tile[axis + 2]) for tile in tiles})
        assert spans[0][0] == part[axis]
        assert max(end for _, end in spans) == part[axis + 2]
        reached = part[axis]
        for start, end in spans:
            assert part[axis] <= start < end <= part[axis + 2]
            assert start <= reached
            reached = max(reached, end)


def test_neighbours_share_what_was_asked_for() -> None:
    tiles = tiling.tiles_of((0, 0, 900, 100), 2, 1, 0.2)
    assert tiles == [(0, 0, 500, 100), (400, 0, 900, 100)]


def test_a_fragment_ends_at_an_inner_edge_of_its_tile() -> None:
    tile = (400, 0, 800, 300)
    boxes = np.array(
        [
            [401, 50, 500, 100],  # cut at the left
            [500, 50, 797, 100],  # cut at the right
            [500, 200, 600, 300],  # cut below
            [500, 0, 600, 100],  # at the picture's own edge
            [500, 50, 600, 100],
        ],
        float,
    )
    assert tiling.fragments(boxes, tile, WHOLE).tolist() == [True, True, True, False, False]
    assert not tiling.fragments(boxes, WHOLE, WHOLE).any()


def merged(*rows: tuple[list[float], float, int, bool], most: int = 100) -> list[object]:
    found = Found(
        np.array([row[0] for row in rows], float).reshape(-1, 4),
        np.array([row[1] for row in rows], float),
        np.array([row[2] for row in rows], int),
    )
    is_fragment = np.array([row[3] for row in rows], bool)
    boxes, scores, classes = tiling.merged(found, is_fragment, iou=0.5, most=most)
    return [*zip(boxes.tolist(), scores.tolist(), classes.tolist(), strict=True)]


def test_a_fragment_gives_way_to_the_box_seen_whole_however_sure_it_is() -> None:
    whole: list[float] = [100, 100, 300, 200]
    half: list[float] = [100, 100, 190, 200]
    assert merged((half, 0.9, 0, True), (whole, 0.5, 0, False)) == [(whole, 0.5, 0)]
    both = merged((half, 0.9, 1, True), (whole, 0.5, 0, False))
    assert both == [(half, 0.9, 1), (whole, 0.5, 0)], "another class is another object"


def test_two_halves_of_one_object_are_joined() -> None:
    left: list[float] = [100, 100, 220, 200]
    right: list[float] = [180, 102, 330, 200]
    assert merged((left, 0.6, 0, True), (right, 0.7, 0, True)) == [([100, 100, 330, 200], 0.7, 0)]
    beside: list[float] = [180, 190, 330, 300]  # only corners touch
    assert len(merged((left, 0.6, 0, True), (beside, 0.7, 0, True))) == 2


def test_what_several_tiles_saw_whole_is_told_once_and_small_things_inside_stay() -> None:
    found = merged(
        ([10, 10, 50, 50], 0.8, 0, False),
        ([11, 10, 51, 50], 0.9, 0, False),
        ([20, 20, 30, 30], 0.4, 0, False),
    )
    assert found == [([11, 10, 51, 50], 0.9, 0), ([20, 20, 30, 30], 0.4, 0)]


def test_nothing_merges_to_nothing_and_at_most_so_many_are_told() -> None:
    assert merged() == []
    rows = [([20.0 * n, 0, 20.0 * n + 9, 9], 0.1 * n, 0, n % 2 == 0) for n in range(1, 9)]
    found = merged(*rows, most=3)
    assert len(found) == 3
