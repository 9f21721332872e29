"""The report of a quantisation: what INT8 gains on this machine, and what it costs."""

from pathlib import Path

import msgspec

from appliance.host.jobs import charts
from appliance.host.jobs.charts import Bar
from appliance.host.jobs.measure import Measurement
from appliance.host.jobs.paper import GREEN
from appliance.host.jobs.words import percent, plain, points, table

_MIB = 1024 * 1024
_ORIGINAL = "#b7bdc7"


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two versions: how good, inferences a second on all cores, bytes on disk."""

    measured: Measurement
    per_second: float
    bytes: int


class Quantisation(msgspec.Struct, frozen=True, kw_only=True):
    """What quantising found, as JSON; its report says the same in words.

    Without truth (`has_truth`), scores are the agreement with the original's own answers.
    """

    model: str
    version: int
    is_kept: bool
    reason: str
    headline: str = ""
    max_drop_points: float
    has_truth: bool
    is_mixed: bool
    calibration: str = "given"
    calibration_items: int
    original: Side
    int8: Side
    seconds: float

    @property
    def speedup(self) -> float:
        """How many times as many inferences a second INT8 makes."""
        return self.int8.per_second / self.original.per_second

    @property
    def difference(self) -> float:
        """INT8's score less the original's, in shares of one."""
        return self.int8.measured.score - self.original.measured.score


def headline(found: Quantisation) -> str:
    """Given what was found, return the one sentence that matters."""
    fast = f"INT8 makes {found.speedup:.1f} times as many inferences a second here"
    what = _score_words(found)
    if found.is_kept:
        return (
            f"{fast}; {what}: {points(found.difference)}. It was kept as a new version, which is"
            " not active until you activate it."
        )
    return f"Not kept: {found.reason}. {fast}; {what}: {points(found.difference)}."


def with_headline(found: Quantisation) -> Quantisation:
    """Given what was found, return it with its sentence."""
    return msgspec.structs.replace(found, headline=headline(found))


def markdown(found: Quantisation) -> str:
    """Given what was found, return the report in Markdown."""
    lines = [f"# {plain(f'{found.model}@{found.version}')} in INT8", "", f"**{headline(found)}**"]
    lines += ["", *(f"- {plain(note)}" for note in _notes(found)), ""]
    lines += table(("", "Original", "INT8", "Change"), _rows(found))
    lines += ["![Speed and quality of both](comparison.png)", "", "## How this was measured", ""]
    lines += [
        f"{_calibrating(found)} showed the range of each layer's values;"
        f" {found.original.measured.items:,} others measured both versions. Inferences a second"
        " are those of the network alone with all cores this model may use, both in turns."
        " Milliseconds are one answer at a time, decoding included, in a job of low priority.",
        "",
    ]
    if found.is_kept:
        lines += [
            "## What now",
            "",
            "Look at the new version, then activate it; the old one stays and can be rolled back"
            " to:",
            "",
            f"    appliance model activate {found.model} VERSION",
            f"    appliance model rollback {found.model}",
            "",
        ]
    return "\n".join(lines)


def card(found: Quantisation) -> str:
    """Given what was found, return the section that the new version's card gets."""
    lines = [f"## INT8, made from version {found.version} on the appliance itself", ""]
    lines += [f"{headline(found).partition(' It was kept')[0]}", ""]
    lines += table(("", "Original", "INT8", "Change"), _rows(found))
    lines += [
        f"NNCF post-training quantisation, calibrated with {_calibrating(found)}, measured on"
        f" {found.original.measured.items:,} others."
        + (" Some layers stayed in floating point." if found.is_mixed else ""),
    ]
    return "\n".join(lines)


def write_report(results: Path, found: Quantisation) -> tuple[str, ...]:
    """Given an empty folder and what was found, write the report there; return its files."""
    (results / "comparison.png").write_bytes(_chart(found))
    (results / "report.md").write_text(markdown(found), "utf-8")
    content = msgspec.json.format(msgspec.json.encode(found), indent=2)
    (results / "report.json").write_bytes(content)
    return ("report.md", "comparison.png", "report.json")


def _calibrating(found: Quantisation) -> str:
    words = "recorded inputs" if found.calibration == "recorded" else "items"
    return f"{found.calibration_items:,} {words}"


def _score_name(found: Quantisation) -> str:
    is_detector = found.original.measured.detection is not None
    if not found.has_truth:
        return "agreement with the original" + (" (mAP@.5:.95)" if is_detector else "")
    return "mAP@.5:.95" if is_detector else "accuracy"


def _score_words(found: Quantisation) -> str:
    return (
        f"{_score_name(found)} is {percent(found.int8.measured.score)} against"
        f" {percent(found.original.measured.score)}"
    )


def _notes(found: Quantisation) -> list[str]:
    notes = [*found.original.measured.notes]
    if not found.has_truth:
        notes.append(
            "The data has no labels that this model knows, so this says how often INT8 answers as"
            " the original does, not how often either is right. Send labelled data to know that."
        )
    score = found.original.measured.classification
    if score is not None and len(score.labels) == 1:
        notes.append(
            "The original gave every item the same answer, so this says nothing about quality."
            " Send data with all that the model tells apart."
        )
    if found.is_mixed:
        notes.append(
            "All layers in INT8 lost too much, so those that matter most were left as they were."
        )
    if found.original.measured.items < 100:
        notes.append(
            f"Only {found.original.measured.items} items measured this: a few answers more or less"
            " are chance. 300 or more say something."
        )
    return notes


def _rows(found: Quantisation) -> list[tuple[str, str, str, str]]:
    before, after = found.original, found.int8
    name = _score_name(found)
    rows = [
        (
            name[0].upper() + name[1:] if name[0] == "a" else name,
            percent(before.measured.score, digits=2),
            percent(after.measured.score, digits=2),
            points(found.difference),
        ),
        (
            "Inferences a second",
            f"{before.per_second:,.0f}",
            f"{after.per_second:,.0f}",
            f"× {found.speedup:.2f}",
        ),
    ]
    for words, share in (
        ("One answer, half of them", "p50_ms"),
        ("One answer, 95 of 100", "p95_ms"),
    ):
        old, new = (getattr(side.measured.latency, share) for side in (before, after))
        rows.append((words, f"{old:.2f} ms", f"{new:.2f} ms", f"× {new / old:.2f}"))
    rows.append(
        (
            "Size",
            f"{before.bytes / _MIB:.1f} MiB",
            f"{after.bytes / _MIB:.1f} MiB",
            f"× {after.bytes / before.bytes:.2f}",
        )
    )
    return rows


def _chart(found: Quantisation) -> bytes:
    before, after = found.original, found.int8
    name = "agreement" if not found.has_truth else _score_name(found)
    most = max(before.per_second, after.per_second)
    largest = max(before.bytes, after.bytes)
    bars = []
    for title, side, colour in (("original", before, _ORIGINAL), ("INT8", after, GREEN)):
        score = side.measured.score
        bars += [
            Bar(f"speed, {title}", side.per_second / most, f"{side.per_second:,.0f}/s", colour),
            Bar(f"{name}, {title}", score, percent(score, digits=2), colour),
            Bar(f"size, {title}", side.bytes / largest, f"{side.bytes / _MIB:.1f} MiB", colour),
        ]
    bars = [bars[place] for place in (0, 3, 1, 4, 2, 5)]
    return charts.bar_chart(
        f"{found.model}@{found.version} and its INT8 version",
        "Inferences a second on this machine, how good the answers are, bytes on disk.",
        bars,
        most=1.0,
    )
