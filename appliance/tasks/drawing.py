"""Boxes and labels drawn on a picture so that people can read them, whatever its size.

Line width and text grow with the picture; a label has a ground of its own in the colour of its
class, with black or white letters by which contrasts more, and labels avoid one another. Which
font has the letters of a label is told by `lettering.py`.
"""

import colorsys
import io
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from appliance.tasks.lettering import Colour, Words, words_of

if TYPE_CHECKING:
    from PIL.Image import Image

Edges = tuple[float, float, float, float]

#: Hues a golden ratio apart stay far from each other however many classes there are.
_GOLDEN = 0.618034
_JPEG_QUALITY = 90
_DARK: Colour = (16, 16, 16)
#: Below, letters cannot be read; in pixels.
_SMALLEST_TEXT = 10
#: How much smaller the words of a small box may be.
_SMALLER = 0.7
#: Width of a letter in parts of its height, on average; letters of East Asia are as wide as high.
_LETTER_WIDTH = 0.52
_WIDE = ("W", "F")


class Mark(NamedTuple):
    """One box (left, top, right, bottom in pixels) with the words for it."""

    edges: Edges
    text: str
    colour: Colour


class _Pen(NamedTuple):
    words: Words
    pad: int
    ascent: int
    height: int


def colour_of(class_id: int) -> Colour:
    """Given a class, return its colour, the same in every picture."""
    hue = (0.36 + class_id * _GOLDEN) % 1.0
    value = (1.0, 0.9, 0.78)[class_id % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def marked(picture: "Image", marks: Sequence[Mark]) -> "Image":
    """Given an upright RGB picture and marks, the most important first, draw them on it."""
    from PIL import ImageDraw

    canvas = ImageDraw.Draw(picture)
    side = (picture.width * picture.height) ** 0.5
    line, text = max(2, round(side / 260)), side / 40
    for mark in reversed(marks):
        _draw_box(canvas, mark, line)
    taken: list[Edges] = []
    for mark in marks:
        pen = _pen(mark.text, round(_text_size(mark, text)))
        place = _label_place(mark, picture.size, pen, taken)
        taken.append(place)
        _draw_label(canvas, mark, place, pen)
    return picture


def encoded(picture: "Image", media_type: str) -> bytes:
    """Given a picture, return it as a file of that media type: image/jpeg or image/png."""
    buffer = io.BytesIO()
    if media_type == "image/png":
        picture.save(buffer, "PNG", compress_level=1)
    else:
        picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def ink_on(colour: Colour) -> Colour:
    """Given a ground, return black or white, whichever contrasts more (WCAG 2.2 luminance)."""
    light = _luminance(colour)
    return (255, 255, 255) if 1.05 / (light + 0.05) > (light + 0.05) / 0.05 else (0, 0, 0)


def _luminance(colour: Colour) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _text_size(mark: Mark, usual: float) -> float:
    """Return the height of a mark's letters in pixels: smaller on a box narrower than its words.

    Crowds have small boxes, whose labels would else hide one another.
    """
    wide = sum(unicodedata.east_asian_width(letter) in _WIDE for letter in mark.text)
    words = max(1, len(mark.text) + wide) * usual * _LETTER_WIDTH
    room = (mark.edges[2] - mark.edges[0]) / words
    return max(_SMALLEST_TEXT, usual * max(_SMALLER, min(1.0, room)))


def _pen(text: str, size: int) -> _Pen:
    words = words_of(text, size)
    ascent, descent = words.heights()
    pad = max(2, round(size / 5))
    return _Pen(words, pad, ascent, ascent + descent + pad)


def _draw_box(canvas: Any, mark: Mark, line: int) -> None:
    left, top, right, bottom = (round(edge) for edge in mark.edges)
    right, bottom = max(left, right - 1), max(top, bottom - 1)
    # A dark hairline outside and inside keeps the box visible on a ground of its own colour.
    hair = max(1, line // 3)
    for inset, width, colour in (
        (-hair, line + 2 * hair, _DARK),
        (0, line, mark.colour),
    ):
        corners = (left + inset, top + inset, right - inset, bottom - inset)
        canvas.rectangle(corners, outline=colour, width=width)


def _draw_label(canvas: Any, mark: Mark, place: Edges, pen: _Pen) -> None:
    left, top, right, bottom = place
    canvas.rectangle((left, top, right - 1, bottom - 1), fill=mark.colour)
    baseline = top + pen.pad // 2 + pen.ascent
    pen.words.draw(canvas, left + pen.pad, baseline, ink_on(mark.colour))


def _label_place(mark: Mark, size: tuple[int, int], pen: _Pen, taken: Sequence[Edges]) -> Edges:
    """Return where the label goes: the first place beside its box that no other label has."""
    width = round(pen.words.width()) + 2 * pen.pad
    left, top, right, bottom = (round(edge) for edge in mark.edges)
    places = [
        (left, top - pen.height),
        (right - width, top - pen.height),
        (left, top),
        (left, bottom),
        (left, bottom - pen.height),
        (right - width, top),
        (right - width, bottom),
        (left, (top + bottom - pen.height) // 2),
    ]
    inside = [_moved_inside(place, (width, pen.height), size) for place in places]
    return min(inside, key=lambda place: sum(_shared(place, other) for other in taken))


def _moved_inside(place: tuple[int, int], label: tuple[int, int], size: tuple[int, int]) -> Edges:
    left = max(0, min(place[0], size[0] - label[0]))
    top = max(0, min(place[1], size[1] - label[1]))
    return (left, top, left + label[0], top + label[1])


def _shared(one: Edges, other: Edges) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)
