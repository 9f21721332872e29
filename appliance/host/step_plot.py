"""A picture of a motion signal and its steps, drawn in a process of its own.

Drawing needs Pillow and numpy, which the command line must not import; so it runs this module with
a job as JSON on standard input, and gets the PNG on standard output.
"""

import functools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from appliance.errors import Problem
from appliance.tasks import readings
from appliance.tasks.contract import Payload

Array = NDArray[np.float64]
_WIDTH, _PANEL, _TOP, _GAP = 1400, 150, 62, 26
_LEFT, _RIGHT = 62, 20
#: Drawn so many times as large and then reduced, as Pillow draws lines without smoothing.
_SCALE = 2
_MOST_PANELS = 12
#: In m/s²; no sensor measures more, so what is beyond is a fault of the file.
_MOST_ACCELERATION = 300.0
_PANEL_SECONDS = 20.0
_TICKS_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_INK, _PALE, _BAND = "#222222", "#d9dde2", "#f7f8fa"
_SIGNAL, _STEP, _STEP_LINE = "#3b6ea8", "#d1495b", "#eeb9c0"


class Job(msgspec.Struct, kw_only=True):
    """What to draw: a payload, the times in seconds of its steps, and the words above."""

    title: str
    subtitle: str
    content_type: str
    body: bytes
    rate_hz: float | None = None
    steps: list[float]


@dataclass(frozen=True, slots=True)
class Panel:
    """A stretch of time on the paper: seconds from `begin` to `end`, top edge in pixels."""

    begin: float
    end: float
    top: float
    low: float
    high: float

    def x(self, seconds: float) -> float:
        """Given a time, return its place in pixels."""
        share = (seconds - self.begin) / (self.end - self.begin)
        return _SCALE * (_LEFT + share * (_WIDTH - _LEFT - _RIGHT))

    def y(self, value: float) -> float:
        """Given an acceleration in m/s², return its place in pixels."""
        share = (value - self.low) / (self.high - self.low)
        return _SCALE * (self.top + (1.0 - share) * _PANEL)


def main() -> None:
    """Read a job from standard input and write its picture to standard output."""
    try:
        picture = draw(msgspec.json.decode(sys.stdin.buffer.read(), type=Job))
    except Problem as problem:
        sys.exit(problem.detail)
    sys.stdout.buffer.write(picture)


def draw(job: Job) -> bytes:
    """Given a job, return its picture as PNG; raise InvalidInput where it holds no readings."""
    times, values = _signal(job)
    panels = _panels(times, values)
    height = int(panels[-1].top + _PANEL + _GAP + 10)
    image = Image.new("RGB", (_WIDTH * _SCALE, height * _SCALE), "white")
    pen = ImageDraw.Draw(image)
    pen.text((_SCALE * _LEFT, _SCALE * 10), job.title, _INK, _font(20))
    pen.text((_SCALE * _LEFT, _SCALE * 36), job.subtitle, _INK, _font(14))
    for panel in panels:
        _draw_axes(pen, panel)
        for step in job.steps:
            if panel.begin <= step < panel.end:
                x = panel.x(step)
                pen.line((x, panel.y(panel.high), x, panel.y(panel.low)), _STEP_LINE, _SCALE)
        _draw_signal(pen, panel, times, values)
        _draw_steps(pen, panel, job.steps, times, values)
    buffer = BytesIO()
    image.resize((_WIDTH, height), Image.Resampling.LANCZOS).save(buffer, "PNG")
    return buffer.getvalue()


def _signal(job: Job) -> tuple[Array, Array]:
    """Return times in seconds and the magnitude of the acceleration in m/s²."""
    payload = Payload(body=job.body, content_type=job.content_type)
    given = readings.read(payload, None, is_timed=job.rate_hz is None)
    values = np.sqrt(np.sum(given.acceleration**2, axis=1))
    times = given.times
    if job.rate_hz is not None or times is None:
        times = np.arange(len(values)) / (job.rate_hz or given.rate_hz or 1.0)
    sound = np.isfinite(times) & np.isfinite(values)
    if not sound.any():
        return np.array([0.0, 1.0]), np.array([0.0, 0.0])
    return times[sound], np.minimum(values[sound], _MOST_ACCELERATION)


def _panels(times: Array, values: Array) -> list[Panel]:
    begin, end = float(times.min()), float(times.max())
    length = max(end - begin, 0.1)
    count = min(_MOST_PANELS, math.ceil(length / _PANEL_SECONDS))
    seconds = length / count if count in (1, _MOST_PANELS) else _PANEL_SECONDS
    # A single blow must not flatten a walk: what is beyond runs out of the panel's edge.
    low, high = (float(value) for value in np.percentile(values, (0.2, 99.8)))
    margin = max(0.1 * (high - low), 0.5)
    return [
        Panel(
            begin + number * seconds,
            begin + (number + 1) * seconds,
            _TOP + number * (_PANEL + _GAP),
            low - margin,
            high + margin,
        )
        for number in range(count)
    ]


def _draw_axes(pen: ImageDraw.ImageDraw, panel: Panel) -> None:
    top, bottom = panel.y(panel.high), panel.y(panel.low)
    pen.rectangle((panel.x(panel.begin), top, panel.x(panel.end), bottom), _BAND)
    for seconds in _ticks(panel.begin, panel.end, most=20):
        x = panel.x(seconds)
        pen.line((x, top, x, bottom), _PALE, _SCALE)
        pen.text((x, bottom + 3 * _SCALE), f"{seconds:g} s", _INK, _font(12), anchor="ma")
    for value in _ticks(panel.low, panel.high, most=4):
        y = panel.y(value)
        pen.line((panel.x(panel.begin), y, panel.x(panel.end), y), _PALE, _SCALE)
        place = (panel.x(panel.begin) - 6 * _SCALE, y)
        pen.text(place, f"{value:g}", _INK, _font(12), anchor="rm")
    pen.text((6 * _SCALE, top), "m/s", _INK, _font(12))
    # The font that comes with Pillow has no superscript two.
    pen.text((29 * _SCALE, top - 3 * _SCALE), "2", _INK, _font(9))


def _draw_signal(pen: ImageDraw.ImageDraw, panel: Panel, times: Array, values: Array) -> None:
    inside = (times >= panel.begin) & (times <= panel.end)
    shown = np.clip(values[inside], panel.low, panel.high)
    points = [(panel.x(t), panel.y(v)) for t, v in zip(times[inside], shown, strict=True)]
    if len(points) > 1:
        pen.line(points, _SIGNAL, round(1.5 * _SCALE), joint="curve")


def _draw_steps(
    pen: ImageDraw.ImageDraw, panel: Panel, steps: Sequence[float], times: Array, values: Array
) -> None:
    radius = 4.0 * _SCALE
    for step in steps:
        if not panel.begin <= step < panel.end:
            continue
        x = panel.x(step)
        value = min(max(float(np.interp(step, times, values)), panel.low), panel.high)
        y = panel.y(value)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), _STEP, "white", _SCALE)


def _ticks(low: float, high: float, *, most: int) -> list[float]:
    """Return round numbers between two limits, at most so many."""
    length = round(high - low, 6)
    step = next((one for one in _TICKS_SECONDS if length / one <= most), length)
    first = math.ceil(low / step)
    return [round(number * step, 6) for number in range(first, math.floor(high / step) + 1)]


@functools.cache
def _font(points: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    return ImageFont.load_default(points * _SCALE)


if __name__ == "__main__":
    main()
