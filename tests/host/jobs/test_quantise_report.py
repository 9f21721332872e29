from pathlib import Path
from typing import Any

import msgspec

from appliance.host.jobs.classification_metrics import score
from appliance.host.jobs.quantise_report import (
    Quantisation,
    Side,
    card,
    headline,
    markdown,
    with_headline,
    write_report,
)
from tests.measure_parts import a_measurement

RIGHT = score([0, 0, 1], [0, 0, 1], labels=["cat", "dog"])
FOUND = Quantisation(
    model="cats",
    version=3,
    is_kept=True,
    reason="",
    max_drop_points=1.0,
    has_truth=True,
    is_mixed=False,
    calibration_items=300,
    original=Side(
        measured=a_measurement(classification=RIGHT), per_second=100.0, bytes=4 * 1024 * 1024
    ),
    int8=Side(measured=a_measurement(), per_second=290.0, bytes=1024 * 1024),
    seconds=9.0,
)


def changed(**changes: Any) -> Quantisation:
    return msgspec.structs.replace(FOUND, **changes)


def test_the_sentence_says_what_it_gains_and_costs() -> None:
    words = headline(FOUND)
    assert "2.9 times as many inferences a second" in words
    assert "accuracy is 66.7 % against 100.0 %: −33.33 points" in words
    assert "not active until you activate it" in words
    assert with_headline(FOUND).headline == words


def test_a_version_that_is_not_kept_says_why() -> None:
    words = headline(changed(is_kept=False, reason="INT8 loses 33.33 points"))
    assert words.startswith("Not kept: INT8 loses 33.33 points.")
    assert "appliance model activate" not in markdown(changed(is_kept=False, reason="x"))


def test_agreement_is_not_called_accuracy() -> None:
    text = markdown(changed(has_truth=False))
    assert "Agreement with the original" in text
    assert "not how often either is right" in text
    assert "ccuracy is" not in text


def test_the_table_compares_both() -> None:
    text = markdown(FOUND)
    assert "| Accuracy | 100.00 % | 66.67 % | −33.33 points |" in text
    assert "| Inferences a second | 100 | 290 | × 2.90 |" in text
    assert "| Size | 4.0 MiB | 1.0 MiB | × 0.25 |" in text
    assert "Only 3 items measured this" in text


def test_data_of_one_kind_only_is_told_to_say_nothing() -> None:
    same = score([0, 0], [0, 0], labels=["cat", "dog"])
    side = msgspec.structs.replace(FOUND.original, measured=a_measurement(classification=same))
    assert "the same answer" in markdown(changed(original=side))
    assert "the same answer" not in markdown(FOUND)


def test_layers_that_stay_as_they_are_are_told() -> None:
    assert "left as they were" in markdown(changed(is_mixed=True))
    assert "Some layers stayed in floating point" in card(changed(is_mixed=True))


def test_the_card_says_where_the_version_comes_from() -> None:
    text = card(FOUND)
    assert text.startswith("## INT8, made from version 3 on the appliance itself")
    assert "calibrated with 300 items" in text
    assert "activate" not in text


def test_files_are_written(tmp_path: Path) -> None:
    names = write_report(tmp_path, FOUND)
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    assert "(comparison.png)" in (tmp_path / "report.md").read_text()


def test_a_report_says_that_recorded_inputs_calibrated() -> None:
    recorded = msgspec.structs.replace(FOUND, calibration="recorded")
    assert "300 recorded inputs showed the range" in markdown(recorded)
    assert "calibrated with 300 recorded inputs" in card(recorded)
