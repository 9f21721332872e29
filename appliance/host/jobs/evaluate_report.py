"""The report of an evaluation, for whoever has to decide whether a model is good enough."""

from collections.abc import Sequence
from pathlib import Path

from appliance.csv_rows import csv_row
from appliance.host.jobs import charts
from appliance.host.jobs.charts import Bar
from appliance.host.jobs.classification_metrics import Calibration, ClassificationScore
from appliance.host.jobs.measure import Latency, Measurement, Row
from appliance.host.jobs.words import percent, plain, short, table
from appliance.tasks.detection_metrics import DetectionScore

_MOST_MISTAKES = 10
_MOST_ITEMS = 20
#: Of fewer, five likely ones say nothing.
_MANY_CLASSES = 10
#: Below this gap a confidence can be taken at its word in practice.
_SMALL_GAP = 0.05


def write_report(
    results: Path, title: str, measured: Measurement, rows: Sequence[Row]
) -> tuple[str, ...]:
    """Given an empty folder and what was measured, write the report and its charts there.

    Return the names of the files, the report first.
    """
    pictures: dict[str, bytes] = {}
    if measured.classification is not None:
        pictures["confusion.png"] = charts.confusion_chart(measured.classification)
        if measured.classification.calibration is not None:
            pictures["calibration.png"] = charts.reliability_chart(
                measured.classification.calibration
            )
    if measured.detection is not None:
        pictures["classes.png"] = _precision_chart(measured.detection)
    for name, content in pictures.items():
        (results / name).write_bytes(content)
    (results / "report.md").write_text(markdown(title, measured, rows), "utf-8")
    if not rows:
        return ("report.md", *pictures)
    _write_rows(results / "answers.csv", rows)
    return ("report.md", *pictures, "answers.csv")


def markdown(title: str, measured: Measurement, rows: Sequence[Row]) -> str:
    """Given what was measured, return the report in Markdown."""
    lines = [f"# {plain(title)}", "", f"**{headline(measured)}**", ""]
    lines += [f"- {plain(note)}" for note in measured.notes]
    if measured.failed:
        first = measured.failures[0]
        lines.append(
            f"- {measured.failed} items got no answer and are not counted; the first:"
            f" {plain(first.item)}: {plain(first.problem)}"
        )
    lines += [""] if lines[-1] else []
    if measured.classification is not None:
        lines += _classification(measured.classification, rows)
    if measured.detection is not None:
        lines += _detection(measured)
    return "\n".join([*lines, *_speed(measured.latency)])


def headline(measured: Measurement) -> str:
    """Given what was measured, return the one sentence that matters."""
    found = measured.classification
    if found is not None:
        return (
            f"{percent(found.accuracy)} right: {found.right:,} of {found.items:,}. On other such"
            f" data expect between {percent(found.accuracy_low)} and"
            f" {percent(found.accuracy_high)}."
        )
    detection, point = measured.detection, measured.working_point
    assert detection is not None
    assert point is not None
    return (
        f"mAP@.5 is {detection.map50:.3f} and mAP@.5:.95 is {detection.map50_95:.3f} on"
        f" {detection.pictures:,} pictures with {detection.objects:,} objects. At the threshold"
        f" {point.threshold:g}, {percent(point.recall, digits=0)} of the objects are found and"
        f" {percent(point.precision, digits=0)} of the boxes told are right."
    )


def _classification(score: ClassificationScore, rows: Sequence[Row]) -> list[str]:
    lines = ["## Each class", ""]
    lines += [
        "Recall: of the items that are of this class, how many were recognised. Precision: of"
        " the answers that name it, how many were right. F1 joins the two.",
        "",
    ]
    ordered = sorted(score.classes, key=lambda one: one.f1 if one.f1 is not None else 1.0)
    lines += table(
        ("Class, the worst first", "Items", "Recall", "Precision", "F1"),
        (
            (
                short(one.label),
                one.items,
                percent(one.recall),
                percent(one.precision),
                percent(one.f1),
            )
            for one in ordered
        ),
    )
    totals = f"Mean recall {percent(score.balanced_accuracy)}, mean F1 {percent(score.macro_f1)}."
    if score.top5_accuracy is not None and len(score.classes) > _MANY_CLASSES:
        totals += f" Among the five likeliest labels: {percent(score.top5_accuracy)}."
    lines += [totals, "", "![Who is taken for whom](confusion.png)", ""]
    lines += _mistakes(score, rows)
    return lines + (_calibration(score.calibration) if score.calibration is not None else [])


def _mistakes(score: ClassificationScore, rows: Sequence[Row]) -> list[str]:
    answers = (*score.labels, "no answer")
    pairs = [
        (count, score.labels[true], answers[answered])
        for true, line in enumerate(score.confusion)
        for answered, count in enumerate(line)
        if count and true != answered
    ]
    if not pairs:
        return ["No mistakes.", ""]
    pairs.sort(key=lambda pair: (-pair[0], pair[1:]))
    lines = ["## The most frequent mistakes", ""]
    lines += table(
        ("Truth", "Answer", "How often"),
        ((short(truth), short(answer), count) for count, truth, answer in pairs[:_MOST_MISTAKES]),
    )
    wrong = sorted(
        (row for row in rows if not row.is_right), key=lambda row: -(row.confidence or 0.0)
    )
    lines += ["The surest wrong answers; every item is in `answers.csv`:", ""]
    return lines + table(
        ("Item", "Truth", "Answer", "Confidence"),
        (
            (row.item, short(row.truth), short(row.answer or "no answer"), percent(row.confidence))
            for row in wrong[:_MOST_ITEMS]
        ),
    )


def _calibration(found: Calibration) -> list[str]:
    gap = found.confidence - found.accuracy
    if found.ece <= _SMALL_GAP:
        words = "Confidences can be taken at their word here."
    elif gap > 0:
        words = "The model is surer than it should be: choose thresholds by this chart."
    else:
        words = "The model is less sure than it could be: choose thresholds by this chart."
    return [
        "## Confidence",
        "",
        f"Mean confidence {percent(found.confidence)}, really right {percent(found.accuracy)};"
        f" mean gap (ECE, 15 bins) {found.ece * 100:.2f} points. {words}",
        "",
        "![Can the confidence be trusted?](calibration.png)",
        "",
    ]


def _detection(measured: Measurement) -> list[str]:
    score, point = measured.detection, measured.working_point
    assert score is not None
    assert point is not None
    lines = ["## Each class", ""]
    lines += [
        "AP is the area under precision and recall, as COCO counts it (101 points): @.5 asks a"
        " box to overlap by half, @.5:.95 is the mean up to nearly exact. Found: at any"
        " confidence.",
        "",
    ]
    ordered = sorted(score.classes, key=lambda one: (one.ap50, one.label))
    lines += table(
        ("Class, the worst first", "Objects", "AP@.5", "AP@.5:.95", "Found"),
        (
            (one.label, one.objects, f"{one.ap50:.3f}", f"{one.ap:.3f}", percent(one.recall50))
            for one in ordered
        ),
    )
    return [
        *lines,
        f"At the threshold {point.threshold:g}: {point.told:,} boxes told, {point.right:,} of them"
        f" right, of {point.objects:,} objects.",
        "",
        "![Average precision of each class](classes.png)",
        "",
    ]


def _precision_chart(score: DetectionScore) -> bytes:
    ordered = sorted(score.classes, key=lambda one: (-one.objects, one.label))
    bars = [
        Bar(
            one.label,
            one.ap50,
            f"{one.ap50:.2f}  ({one.objects} object{'' if one.objects == 1 else 's'})",
            charts.share_colour(one.ap50),
        )
        for one in ordered
    ]
    subtitle = f"AP@.5, the most frequent classes first. All together: mAP@.5 {score.map50:.3f}."
    return charts.bar_chart("How well each class is found", subtitle, bars, most=1.0)


def _speed(found: Latency) -> list[str]:
    lines = [
        "## Speed",
        "",
        "One item at a time, without the network, in a job of low priority on a machine that may"
        " be busy:",
        "",
    ]
    lines += table(
        ("Of 100 answers", "take at most"),
        (
            ("50", f"{found.p50_ms:.2f} ms"),
            ("90", f"{found.p90_ms:.2f} ms"),
            ("95", f"{found.p95_ms:.2f} ms"),
            ("99", f"{found.p99_ms:.2f} ms"),
        ),
    )
    return [
        *lines,
        f"On average {found.decode_ms:.2f} ms to decode, {found.infer_ms:.2f} ms to infer,"
        f" {found.encode_ms:.2f} ms to make the answer.",
        "",
    ]


def _write_rows(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(csv_row(("item", "truth", "answer", "confidence", "right")))
        for row in rows:
            is_right = "yes" if row.is_right else "no"
            file.write(csv_row((row.item, row.truth, row.answer, row.confidence, is_right)))
