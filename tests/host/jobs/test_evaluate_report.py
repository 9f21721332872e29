import csv
from pathlib import Path

from appliance.host.jobs.box_scores import WorkingPoint
from appliance.host.jobs.evaluate_report import headline, markdown, write_report
from appliance.host.jobs.measure import Failure, Row
from appliance.tasks.detection_metrics import ClassPrecision, DetectionScore
from tests.measure_parts import a_measurement

ROWS = [
    Row(item="a.png", truth="cat", answer="cat", confidence=0.9, is_right=True),
    Row(item="=b|c.png", truth="cat", answer="dog", confidence=0.6, is_right=False),
    Row(item="c.png", truth="dog", answer=None, confidence=None, is_right=False),
]
DETECTION = a_measurement(
    form="boxes",
    classification=None,
    detection=DetectionScore(
        map50=0.5,
        map50_95=0.25,
        pictures=2,
        objects=3,
        detections=9,
        classes=(
            ClassPrecision(class_id=0, label="cat", objects=3, ap50=0.5, ap=0.25, recall50=2 / 3),
        ),
    ),
    working_point=WorkingPoint(
        threshold=0.25, told=4, right=2, objects=3, precision=0.5, recall=2 / 3
    ),
)


def test_a_report_says_what_matters_first() -> None:
    text = markdown("cats@1 on 3 items", a_measurement(), ROWS)
    assert text.startswith("# cats@1 on 3 items\n\n**66.7 % right: 2 of 3.")
    assert "| cat | 2 | 50.0 % | 100.0 % | 66.7 % |" in text
    assert "| =b\\|c.png | cat | dog | 60.0 % |" in text
    assert "| 99 | 4.00 ms |" in text
    assert "gap (ECE" in text


def test_notes_and_failures_come_before_the_numbers() -> None:
    measured = a_measurement(
        notes=("Something was left out.",),
        failed=2,
        failures=(Failure(item="x.png", problem="No picture."),),
    )
    text = markdown("t", measured, ROWS)
    assert "- Something was left out." in text
    assert "- 2 items got no answer and are not counted; the first: x.png: No picture." in text
    assert text.index("left out") < text.index("## Each class")


def test_a_report_of_a_detector_tells_both_means_and_what_callers_meet() -> None:
    assert "mAP@.5 is 0.500 and mAP@.5:.95 is 0.250 on 2 pictures" in headline(DETECTION)
    assert "67 % of the objects are found and 50 % of the boxes told" in headline(DETECTION)
    assert "| cat | 3 | 0.500 | 0.250 | 66.7 % |" in markdown("t", DETECTION, [])


def test_files_are_written_and_every_picture_named_is_there(tmp_path: Path) -> None:
    for name, measured, rows in (("a", a_measurement(), ROWS), ("b", DETECTION, [])):
        folder = tmp_path / name
        folder.mkdir()
        names = write_report(folder, "t", measured, rows)
        assert sorted(names) == sorted(path.name for path in folder.iterdir())
        text = (folder / "report.md").read_text()
        for image in (part.split(")")[0] for part in text.split("](")[1:]):
            assert image in names


def test_the_table_of_answers_holds_no_formula(tmp_path: Path) -> None:
    write_report(tmp_path, "t", a_measurement(), ROWS)
    with (tmp_path / "answers.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["item", "truth", "answer", "confidence", "right"]
    assert rows[2] == ["'=b|c.png", "cat", "dog", "0.6", "no"]
    assert rows[3] == ["c.png", "dog", "", "", "no"]
