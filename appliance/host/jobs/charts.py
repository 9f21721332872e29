"""The charts of reports: who is taken for whom, whether confidences can be trusted, bars."""

from collections.abc import Sequence
from typing import NamedTuple

from appliance.host.jobs.classification_metrics import Calibration, ClassificationScore
from appliance.host.jobs.paper import (
    AMBER,
    BAND,
    BLUE,
    GREY,
    PALE,
    RED,
    Paper,
    fitting,
    mixed,
    text_width,
)
from appliance.tasks.lettering import legible

_MOST_CLASSES = 30
_MOST_BARS = 40
_TOP = 76
_BAR, _PALE_BAR = "#86a6cb", "#dbe5f0"
#: A share of fewer answers than this is mostly chance.
_FEW = 10


class Bar(NamedTuple):
    """One bar: its label, its value, the words behind it and its colour."""

    label: str
    value: float
    words: str
    colour: str = BLUE


def confusion_chart(score: ClassificationScore) -> bytes:
    """Given a score, return its confusion matrix as PNG: rows are the truth, columns answers.

    With many classes those with the most mistakes are shown.
    """
    places = _shown_classes(score)
    has_none = any(row[-1] for row in score.confusion)
    labels = [legible(label, number) for number, label in enumerate(score.labels)]
    names = [labels[place] for place in places] + (["no answer"] if has_none else [])
    columns = [*places, len(score.labels)] if has_none else places
    cell = max(22, min(72, 620 // max(1, len(columns))))
    left = min(220.0, max(text_width(name) for name in names)) + 46
    foot = min(160.0, max(text_width(name) for name in names)) + 44
    paper = Paper(
        round(max(left + cell * len(columns) + 30, 560)), round(_TOP + cell * len(places) + foot)
    )
    shown = (
        "" if len(places) == len(score.labels) else f", the {len(places)} most mistaken classes"
    )
    paper.title("Who is taken for whom", f"Rows: what it is. Columns: the answer{shown}.")
    for row, place in enumerate(places):
        y = _TOP + row * cell
        words = fitting(labels[place], left - 46)
        paper.text(left - 10, y + cell / 2, words, anchor="rm")
        total = max(1, sum(score.confusion[place]))
        for column, other in enumerate(columns):
            count = score.confusion[place][other]
            _draw_cell(
                paper, left + column * cell, y, cell, count, count / total, is_right=place == other
            )
    for column, name in enumerate(names):
        words = fitting(name, foot - 44)
        bottom = _TOP + len(places) * cell + 10 + text_width(words)
        paper.rotated_text(left + (column + 0.5) * cell, bottom, words)
    return paper.png()


def _draw_cell(
    paper: Paper, x: float, y: float, cell: float, count: int, share: float, *, is_right: bool
) -> None:
    colour = mixed("#eef2f7" if is_right else BAND, BLUE if is_right else RED, share**0.6)
    paper.box(x, y, x + cell - 2, y + cell - 2, fill=colour if count else BAND)
    if count and cell >= 20:
        ink = "#ffffff" if share > 0.45 else "#222222"
        points = 14 if cell >= 40 else 10
        paper.text(
            x + cell / 2 - 1, y + cell / 2 - 1, f"{count}", points=points, colour=ink, anchor="mm"
        )


def _shown_classes(score: ClassificationScore) -> list[int]:
    places = list(range(len(score.labels)))
    if len(places) <= _MOST_CLASSES:
        return places

    def mistakes(place: int) -> int:
        right = score.confusion[place][place]
        answered = sum(row[place] for row in score.confusion)
        return sum(score.confusion[place]) + answered - 2 * right

    return sorted(sorted(places, key=mistakes, reverse=True)[:_MOST_CLASSES])


def reliability_chart(calibration: Calibration) -> bytes:
    """Given a calibration, return its reliability diagram as PNG (Niculescu-Mizil 2005)."""
    side, left = 440.0, 76.0
    paper = Paper(620, round(_TOP + side + 150))
    paper.title(
        "Can the confidence be trusted?",
        f"On the diagonal it can. Mean gap (ECE): {calibration.ece * 100:.1f} points.",
    )
    bottom = _TOP + side
    paper.box(left, _TOP, left + side, bottom, fill=BAND)
    for step in range(6):
        at = side * step / 5
        paper.line((left + at, _TOP), (left + at, bottom), colour=PALE)
        paper.line((left, bottom - at), (left + side, bottom - at), colour=PALE)
        paper.text(left - 8, bottom - at, f"{step * 20} %", anchor="rm")
        paper.text(left + at, bottom + 66, f"{step * 20} %", anchor="ma")
    most = max(one.items for one in calibration.bins)
    for one in calibration.bins:
        x1, x2 = left + side * one.low + 1, left + side * one.high - 1
        y = bottom - side * one.accuracy
        paper.box(x1, y, x2, bottom, fill=_BAR if one.items >= _FEW else _PALE_BAR)
        paper.box(x1, bottom + 58 - 46 * one.items / most, x2, bottom + 58, fill="#b7bdc7")
        wanted = bottom - side * one.confidence
        paper.line((x1, wanted), (x2, wanted), colour=RED, width=2)
    paper.dashes((left, bottom), (left + side, _TOP), GREY)
    paper.text(left + side + 10, bottom + 20, "how many", colour=GREY)
    paper.text(left + side + 10, bottom + 38, "answers", colour=GREY)
    paper.text(left, bottom + 92, "Across: confidence of the answer. Up: share that is right.")
    legend = ((_BAR, "share that is right"), (_PALE_BAR, "few answers"), (RED, "confidence"))
    _legend(paper, left, bottom + 118, legend)
    return paper.png()


def bar_chart(title: str, subtitle: str, bars: Sequence[Bar], *, most: float = 0.0) -> bytes:
    """Given bars, return them as PNG, one below the other, from zero to `most` or the largest."""
    shown = list(bars)[:_MOST_BARS]
    left = min(260.0, max((text_width(bar.label) for bar in shown), default=0)) + 40
    right = max((text_width(bar.words) for bar in shown), default=0) + 30
    step = 30
    paper = Paper(860, _TOP + step * max(1, len(shown)) + 24)
    paper.title(title, subtitle)
    room = paper.width - left - right
    largest = most or max((bar.value for bar in shown), default=1.0) or 1.0
    for number, bar in enumerate(shown):
        y = _TOP + number * step
        paper.text(left - 10, y + 11, fitting(bar.label, left - 40), anchor="rm")
        paper.box(left, y, left + room, y + 22, fill=BAND)
        end = left + room * min(1.0, max(0.0, bar.value / largest))
        paper.box(left, y, end, y + 22, fill=bar.colour)
        paper.text(left + room + 10, y + 11, bar.words, anchor="lm")
    return paper.png()


def _legend(paper: Paper, x: float, y: float, entries: Sequence[tuple[str, str]]) -> None:
    for colour, words in entries:
        paper.box(x, y + 2, x + 14, y + 14, fill=colour)
        paper.text(x + 20, y, words)
        x += text_width(words) + 46


def share_colour(share: float) -> str:
    """Given a share from 0 to 1, return the colour of its bar: what is poor stands out."""
    if share < 0.5:
        return RED
    return AMBER if share < 0.8 else BLUE
