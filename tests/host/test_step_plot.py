"""The picture of a walk: size, marks in the right places, and nothing that breaks it."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from appliance.host.step_plot import Job, draw

_STEP = (209, 73, 91)


def job(seconds: float, steps: list[float], *, rate_hz: float = 50.0, **changes: object) -> Job:
    rows = [
        f"{n / rate_hz},0,0,{9.81 + 3 * math.sin(11 * n / rate_hz)}"
        for n in range(round(seconds * rate_hz))
    ]
    fields: dict[str, object] = {
        "title": "walk.csv",
        "subtitle": "many steps",
        "content_type": "text/csv",
        "body": "\n".join(["t,ax,ay,az", *rows]).encode(),
        "steps": steps,
        **changes,
    }
    return Job(**fields)  # type: ignore[arg-type]


def pixels(one: Job) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(draw(one))).convert("RGB")).astype(int)


def places(image: np.ndarray) -> np.ndarray:
    """Return the columns in which there is the colour of a step's dot."""
    close = np.abs(image - np.array(_STEP)).sum(axis=2) < 30
    return np.flatnonzero(close.any(axis=0))


def test_a_dot_is_drawn_where_its_step_is() -> None:
    columns = places(pixels(job(10.0, [2.5])))
    left, right = 62, 1380
    expected = left + (right - left) * 2.5 / 9.98
    assert abs(columns.mean() - expected) < 3
    assert columns.size < 15
    assert places(pixels(job(10.0, []))).size == 0


@pytest.mark.parametrize(("seconds", "panels"), [(10.0, 1), (30.0, 2), (3600.0, 12)])
def test_a_long_recording_takes_several_lines_but_not_endless_ones(
    seconds: float, panels: int
) -> None:
    height = pixels(job(seconds, [1.0], rate_hz=2.0)).shape[0]
    assert height == 62 + panels * 176 - 26 + 36


@pytest.mark.parametrize(
    "body",
    [
        b"t,ax,ay,az\n",
        b"t,ax,ay,az\n0,0,0,9.8",
        b"t,ax,ay,az\n0,0,0,9.8\n0,0,0,9.8",
        b"t,ax,ay,az\n0,nan,0,9.8\n1,,0,9.8\n2,0,0,1e30",
        b"t,ax,ay,az\n0,0,0,9.8\n1e12,0,0,9.8",
    ],
)
def test_a_recording_without_much_in_it_is_drawn_all_the_same(body: bytes) -> None:
    assert draw(job(1.0, [0.0, 0.5], body=body)).startswith(b"\x89PNG")


def test_readings_without_times_are_placed_by_their_rate() -> None:
    one = Job(
        title="walk.csv",
        subtitle="",
        content_type="text/csv",
        body=b"ax,ay,az\n" + b"0,0,9.8\n" * 500,
        rate_hz=100.0,
        steps=[2.5],
    )
    assert abs(places(pixels(one)).mean() - (62 + 1318 * 2.5 / 4.99)) < 3
