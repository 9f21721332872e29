from pathlib import Path
from typing import Any

import msgspec

from appliance.host.jobs.tune_report import Row, TuneReport, headline, markdown, write_report


def row(**changes: Any) -> Row:
    given: dict[str, Any] = {
        "streams": 2,
        "threads": 2,
        "in_flight": 3,
        "batch": 1,
        "precision": "f32",
        "can_be_chosen": True,
        "per_second": 1000.0,
        "p50_ms": 1.0,
        "p95_ms": 2.0,
    }
    return Row(**(given | changes))


USUAL = row()
ALONE = row(streams=1, in_flight=2, per_second=800.0, p95_ms=1.0)
FOUND = TuneReport(
    model="cats",
    version=3,
    fingerprint="A CPU; 2 cores; OpenVINO 1",
    cores=2,
    latency_ms=None,
    chosen=USUAL,
    usual=USUAL,
    rows=(
        USUAL,
        ALONE,
        row(batch=2, can_be_chosen=False),
        row(precision="bf16", can_be_chosen=False, per_second=1500.0),
    ),
    seconds=3.0,
)


def changed(**changes: Any) -> TuneReport:
    return msgspec.structs.replace(FOUND, **changes)


def test_where_the_usual_setting_is_best_nothing_has_to_be_done() -> None:
    assert "no other is better here" in headline(FOUND)
    text = markdown(FOUND)
    assert "Nothing has to be done" in text
    assert "model load" not in text


def test_it_says_what_another_setting_gains_and_costs() -> None:
    words = headline(changed(chosen=ALONE, latency_ms=1.5))
    assert words.startswith("Chosen: 1 stream on 2 threads, 2 at once: 800 inferences a second")
    assert "rate × 0.80, waiting × 0.50" in words


def test_it_says_when_no_setting_keeps_to_the_bound() -> None:
    assert "No setting keeps to 0.5 ms" in headline(changed(chosen=ALONE, latency_ms=0.5))


def test_the_report_shows_every_setting_and_why_some_are_not_chosen() -> None:
    text = markdown(FOUND)
    assert "| chosen | 2 | 2 | 3 | 1,000/s |" in text
    assert "| batches of 2 |" in text
    assert "| computed in bf16 |" in text
    assert "never chosen here" in text
    assert "appliance model load cats" in markdown(changed(chosen=ALONE))
    assert "95 of 100 inferences within 7 ms" in markdown(changed(latency_ms=7.0))


def test_files_are_written(tmp_path: Path) -> None:
    names = write_report(tmp_path, FOUND)
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
