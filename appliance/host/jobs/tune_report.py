"""The report of tuning: every setting that was measured, and which one is used from now on."""

from pathlib import Path

import msgspec

from appliance.host.jobs import charts
from appliance.host.jobs.charts import Bar
from appliance.host.jobs.paper import BLUE, GREEN
from appliance.host.jobs.words import plain, table

_OTHER = "#b7bdc7"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One setting and what it gave: inferences a second, and milliseconds of one."""

    streams: int
    threads: int
    in_flight: int
    batch: int
    precision: str
    can_be_chosen: bool
    per_second: float
    p50_ms: float
    p95_ms: float


class TuneReport(msgspec.Struct, frozen=True, kw_only=True):
    """What tuning found, as JSON; `usual` is what a host does without it."""

    model: str
    version: int
    fingerprint: str
    cores: int
    latency_ms: float | None
    chosen: Row
    usual: Row
    rows: tuple[Row, ...]
    seconds: float
    headline: str = ""


def headline(found: TuneReport) -> str:
    """Given what was found, return the sentence that matters."""
    best, usual = found.chosen, found.usual
    setting = f"{_counted(best.streams, 'stream')} on {_counted(best.threads, 'thread')}"
    words = (
        f"Chosen: {setting}, {best.in_flight} at once: {best.per_second:,.0f} inferences a second,"
        f" 95 of 100 within {best.p95_ms:.2f} ms"
    )
    if found.latency_ms is not None and best.p95_ms > found.latency_ms:
        words += f". No setting keeps to {found.latency_ms:g} ms; this one comes closest"
    if best == usual:
        return f"{words}. That is the usual setting: no other is better here."
    rate, wait = best.per_second / usual.per_second, best.p95_ms / usual.p95_ms
    return f"{words}. Against the usual setting: rate × {rate:.2f}, waiting × {wait:.2f}."


def markdown(found: TuneReport) -> str:
    """Given what was found, return the report in Markdown."""
    bound = "none: the highest rate wins"
    if found.latency_ms is not None:
        bound = f"95 of 100 inferences within {found.latency_ms:g} ms"
    lines = [f"# {plain(f'{found.model}@{found.version}')} on this machine", ""]
    lines += [f"**{headline(found)}**", "", f"- Machine: {plain(found.fingerprint)}"]
    lines += [f"- Bound: {bound}", "", "![Rate of each setting](settings.png)", ""]
    ordered = sorted(found.rows, key=lambda row: (not row.can_be_chosen, -row.per_second))
    lines += table(
        ("Setting", "Streams", "Threads", "At once", "Rate", "Half within", "95 of 100 within"),
        (
            (
                _name(row, found),
                row.streams,
                row.threads,
                row.in_flight,
                f"{row.per_second:,.0f}/s",
                f"{row.p50_ms:.2f} ms",
                f"{row.p95_ms:.2f} ms",
            )
            for row in ordered
        ),
    )
    return "\n".join([*lines, *_explanation(found)])


def _explanation(found: TuneReport) -> list[str]:
    lines = [
        "All settings ran in turns, several times; the slower half of the runs, which other work"
        " on the machine disturbed, was left out. Only the network was measured, without decoding"
        " and HTTP. A stream runs one inference at a time on its share"
        " of the threads: more streams answer more a second, fewer answer each one sooner.",
        "",
    ]
    if any(row.batch > 1 for row in found.rows):
        lines += [
            "Batches are shown for comparison only: requests would have to wait for each other to"
            " share an inference, which costs more than it gains on a CPU.",
            "",
        ]
    if any(row.precision != found.usual.precision for row in found.rows):
        lines += [
            "Other precisions are shown for comparison: they change answers, so they are never"
            " chosen here. Evaluate a version whose manifest names one before you use it.",
            "",
        ]
    if found.chosen == found.usual:
        return [
            *lines,
            "Nothing has to be done. Where an earlier tuning had chosen another setting, the usual"
            " one comes back with the version's next start.",
            "",
        ]
    return [
        *lines,
        "The setting is stored for this machine and used whenever the version starts. To use it"
        " at once, without a gap:",
        "",
        f"    appliance model load {found.model}",
        "",
    ]


def write_report(results: Path, found: TuneReport) -> tuple[str, ...]:
    """Given an empty folder and what was found, write the report there; return its files."""
    (results / "settings.png").write_bytes(_chart(found))
    (results / "report.md").write_text(markdown(found), "utf-8")
    content = msgspec.json.format(msgspec.json.encode(found), indent=2)
    (results / "report.json").write_bytes(content)
    return ("report.md", "settings.png", "report.json")


def _chart(found: TuneReport) -> bytes:
    ordered = sorted(found.rows, key=lambda row: -row.per_second)
    bars = [
        Bar(
            _short(row),
            row.per_second,
            f"{row.per_second:,.0f}/s, {row.p95_ms:.1f} ms",
            GREEN if row == found.chosen else BLUE if row.can_be_chosen else _OTHER,
        )
        for row in ordered
    ]
    return charts.bar_chart(
        f"{found.model}@{found.version}: inferences a second",
        "Behind: within how long 95 of 100 end. Green: chosen. Grey: for comparison only.",
        bars,
    )


def _name(row: Row, found: TuneReport) -> str:
    if row == found.chosen:
        return "chosen"
    if row == found.usual:
        return "usual"
    return "" if row.can_be_chosen else _special(row)


def _short(row: Row) -> str:
    words = f"{_counted(row.streams, 'stream')}, {row.threads} thr., {row.in_flight} at once"
    return words if row.can_be_chosen else _special(row)


def _special(row: Row) -> str:
    return f"batches of {row.batch}" if row.batch > 1 else f"computed in {row.precision}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
