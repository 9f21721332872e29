"""Fonts for labels of any script: what can be read on a picture, and with which letters.

ASCII is drawn with the font inside Pillow, which has nothing else. Source Sans Pro comes as a
package: Latin with all its accents, Greek, Cyrillic. For other scripts a font of the system is
looked for; where there is none, the label's number is drawn in its place.
"""

import functools
import importlib.resources
import itertools
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from appliance.plain_text import visible

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Colour = tuple[int, int, int]
SHIPPED = Path(
    str(importlib.resources.files("font_source_sans_pro") / "files" / "SourceSansPro-Regular.ttf")
)
SYSTEM_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts")
_SUFFIXES = (".ttf", ".otf", ".ttc")
#: Cuts of a family that are no plain letters; the plain one of the same family is found, too.
_ODD_CUTS = ("bold", "italic", "oblique", "light", "thin", "black", "condensed", "mono", "emoji")
_MOST_FILES = 5000
_MOST_FONTS = 200
#: At which a glyph is compared with that of a character no font has; in pixels.
_PROBE_SIZE = 20
_NO_CHARACTER = "\U0010ffff"
#: Categories of characters that are no glyph of their own: marks, blanks, joiners.
_UNDRAWN = ("M", "Z", "C")
#: Those among them that only change the letter before.
_ATTACHED = ("M", "C")


class _Face(NamedTuple):
    """A font file as it was opened for looking into it, and what no glyph looks like there."""

    probe: "FreeTypeFont"
    absent: bytes


def legible(text: str, number: int) -> str:
    """Given a label and its class, return what can be drawn of it: itself, or `class N`.

    A row of boxes says nothing, and the same for every class; the number is that in the answer.
    """
    is_drawn = text.isascii() or all(map(_file_of, _letters(text)))
    return text if is_drawn else f"class {number}"


def font_for(text: str, size: int) -> "FreeTypeFont":
    """Given a text and the height of its letters in pixels, return a font that has them all.

    That of ASCII when there is none.
    """
    return _sized("" if text.isascii() else _file_of_all(text), size)


class Words(NamedTuple):
    """A line of text in pieces, each with the font that has its letters."""

    pieces: tuple[tuple["FreeTypeFont", str], ...]

    def width(self) -> float:
        """Return how wide the line is in pixels."""
        return float(sum(font.getlength(piece) for font, piece in self.pieces))

    def heights(self) -> tuple[int, int]:
        """Return how far the line reaches above its baseline, and below, in pixels."""
        above, below = zip(*(font.getmetrics() for font, _ in self.pieces), strict=True)
        return max(above), max(below)

    def draw(self, canvas: "ImageDraw", left: float, baseline: float, ink: Colour) -> None:
        """Draw the line from its left end."""
        for font, piece in self.pieces:
            canvas.text((left, baseline), piece, fill=ink, font=font, anchor="ls")
            left += font.getlength(piece)


def words_of(text: str, size: int) -> Words:
    """Given a text and the height of its letters in pixels, return it ready to be drawn.

    One font draws all of it where one has all letters: some are of one script only, without even
    digits, and then the rest comes from others. Line ends and what nobody sees are left out.
    """
    text = visible(text)  # a line end inside a line is an error to the library that lays it out
    if text.isascii() or _file_of_all(text):
        return Words(((font_for(text, size), text),))
    files: list[str] = []
    for letter in text:
        is_attached = files and unicodedata.category(letter)[0] in _ATTACHED
        own = "" if letter.isascii() else _file_of(letter)
        files.append(files[-1] if is_attached else own)
    runs = itertools.groupby(zip(files, text, strict=True), key=lambda pair: pair[0])
    return Words(
        tuple((_sized(path, size), "".join(letter for _, letter in run)) for path, run in runs)
    )


@functools.lru_cache(maxsize=64)
def _sized(path: str, size: int) -> "FreeTypeFont":
    """Given a font file, or nothing for the font inside Pillow, open it in a size."""
    from PIL import ImageFont

    font = ImageFont.truetype(path, size) if path else ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels have FreeType
    return font


def _letters(text: str) -> set[str]:
    return {each for each in text if unicodedata.category(each)[0] not in _UNDRAWN}


def _file_of_all(text: str) -> str:
    """Return the first font file that has every letter of a text, or nothing."""
    letters = _letters(text)
    return next((path for path in _files() if all(_has(path, each) for each in letters)), "")


def _file_of(letter: str) -> str:
    return next((path for path in _files() if _has(path, letter)), "")


def _files() -> Iterator[str]:
    yield str(SHIPPED)
    yield from _system_fonts()


@functools.lru_cache(maxsize=32_768)
def _has(path: str, letter: str) -> bool:
    face = _opened(path)
    return face is not None and bytes(face.probe.getmask(letter)) != face.absent


@functools.lru_cache(maxsize=_MOST_FONTS + 1)
def _opened(path: str) -> _Face | None:
    from PIL import ImageFont

    try:
        probe = ImageFont.truetype(path, _PROBE_SIZE)
        return _Face(probe, bytes(probe.getmask(_NO_CHARACTER)))
    except OSError:  # damaged, or of pictures in one size only
        return None


@functools.lru_cache(maxsize=1)
def _system_fonts() -> tuple[str, ...]:
    """Return the plain fonts of the system, the same ones at each start; looked for once."""
    found: list[str] = []
    looked_at = 0
    for folder in SYSTEM_FOLDERS:
        for directory, folders, names in os.walk(folder):
            folders.sort()
            looked_at += len(names)
            if looked_at > _MOST_FILES:
                return tuple(found[:_MOST_FONTS])
            found += [f"{directory}/{name}" for name in sorted(names) if _is_plain(name)]
    return tuple(found[:_MOST_FONTS])


def _is_plain(name: str) -> bool:
    low = name.lower()
    return low.endswith(_SUFFIXES) and not any(word in low for word in _ODD_CUTS)
