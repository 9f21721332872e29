"""A sheet to draw charts on: coordinates in pixels of the finished picture, smooth lines, text."""

from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from appliance.tasks.lettering import font_for

INK, PALE, GREY = "#222222", "#d9dde2", "#6b7280"
BLUE, RED, GREEN, AMBER = "#3b6ea8", "#d1495b", "#3c8d5a", "#d99a2b"
BAND = "#f7f8fa"
#: Drawn so many times as large and then reduced, as Pillow draws lines without smoothing.
_SCALE = 2


class Paper:
    """One chart being drawn. Threads: one."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._image = Image.new("RGB", (width * _SCALE, height * _SCALE), "white")
        self._pen = ImageDraw.Draw(self._image)

    def title(self, title: str, subtitle: str = "") -> None:
        """Write the chart's title, and smaller words below it, into the top left corner."""
        self.text(20, 12, title, points=20)
        self.text(20, 40, subtitle, points=13, colour=GREY)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        points: int = 13,
        colour: str = INK,
        anchor: str = "la",
    ) -> None:
        """Write words with their anchor (Pillow's two letters) at a place."""
        self._pen.text(_scaled(x, y), words, colour, _font(words, points), anchor=anchor)

    def rotated_text(self, x: float, y: float, words: str, *, points: int = 13) -> None:
        """Write words upwards, beginning at a place and centred across it."""
        font = _font(words, points)
        left, top, right, bottom = font.getbbox(words)
        size = (max(1, round(right - left)) + 4, max(1, round(bottom - top)) + 4)
        label = Image.new("RGB", size, "white")
        ImageDraw.Draw(label).text((2 - left, 2 - top), words, INK, font)
        turned = label.rotate(90, expand=True)
        place = (round(x * _SCALE - turned.width / 2), round(y * _SCALE - turned.height))
        self._image.paste(turned, place)

    def line(self, *points: tuple[float, float], colour: str = INK, width: float = 1.0) -> None:
        """Draw a line through places."""
        scaled = [_scaled(x, y) for x, y in points]
        self._pen.line(scaled, colour, max(1, round(width * _SCALE)), joint="curve")

    def dashes(self, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
        """Draw a broken line between two places."""
        length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
        count = max(1, round(length / 10))
        for number in range(count):
            ends = [
                tuple(
                    begin + (stop - begin) * (number + part) / count
                    for begin, stop in zip(start, end, strict=True)
                )
                for part in (0.0, 0.6)
            ]
            self.line((ends[0][0], ends[0][1]), (ends[1][0], ends[1][1]), colour=colour)

    def box(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        *,
        fill: str | None = None,
        outline: str | None = None,
    ) -> None:
        """Draw a rectangle."""
        corners = [*_scaled(left, top), *_scaled(max(left, right), max(top, bottom))]
        self._pen.rectangle(corners, fill, outline, _SCALE if outline else 0)

    def dot(self, x: float, y: float, radius: float, colour: str) -> None:
        """Draw a filled circle."""
        corners = [*_scaled(x - radius, y - radius), *_scaled(x + radius, y + radius)]
        self._pen.ellipse(corners, colour, "white", _SCALE)

    def png(self) -> bytes:
        """Return the chart as PNG."""
        buffer = BytesIO()
        size = (self.width, self.height)
        self._image.resize(size, Image.Resampling.LANCZOS).save(buffer, "PNG", optimize=True)
        return buffer.getvalue()


def text_width(words: str, points: int = 13) -> float:
    """Given words, return how wide they are in pixels of the finished picture."""
    return float(_font(words, points).getlength(words)) / _SCALE


def fitting(words: str, width: float, points: int = 13) -> str:
    """Given words and a width, return them, cut short with an ellipsis where they do not fit."""
    if text_width(words, points) <= width:
        return words
    while words and text_width(words + "…", points) > width:
        words = words[:-1]
    return words.rstrip() + "…"


def mixed(low: str, high: str, share: float) -> str:
    """Given two colours as #rrggbb, return the one that lies so far between them."""
    share = min(max(share, 0.0), 1.0)
    pairs = [(int(low[at : at + 2], 16), int(high[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _scaled(x: float, y: float) -> tuple[float, float]:
    return x * _SCALE, y * _SCALE


def _font(words: str, points: int) -> "ImageFont.FreeTypeFont":
    return font_for(words, points * _SCALE)
