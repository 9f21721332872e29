"""Ask a model about items whose truth is known, one after the other, and score its answers."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from appliance.errors import Internal, InvalidInput, Problem
from appliance.host import turns
from appliance.host.hosted_model import HostedModel
from appliance.host.jobs import classification_metrics
from appliance.host.jobs.box_scores import BoxScores, WorkingPoint
from appliance.host.jobs.classification_metrics import ClassificationScore
from appliance.host.jobs.courtesy import Courtesy
from appliance.host.jobs.label_index import LabelIndex, some
from appliance.host.jobs.labelled_data import Item, LabelledSet, readable_payload
from appliance.tasks.contract import Model, Payload, Task
from appliance.tasks.detection_metrics import DetectionScore

_MOST_FAILURES_SHOWN = 20
#: How COCO's own evaluation asks: every box counts, however unsure, and few are merged.
_DETECTION_PARAMS = {"threshold": "0.01", "iou": "0.65", "max_objects": "300"}
#: What object detection works with where the manifest says nothing.
_WORKING_THRESHOLD = 0.25
_TOP = 5
#: What is left out when the time is up is always the same.
_SEED = 20_260

Report = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """One result as plain values, and the seconds that decoding, inferring and encoding took."""

    result: dict[str, Any]
    seconds: tuple[float, float, float]


#: Given a payload, answer it; raises the task's own problems.
Ask = Callable[[Payload], Answer]


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of one answer without the network, one at a time; the parts are means."""

    items: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    longest_ms: float
    decode_ms: float
    infer_ms: float
    encode_ms: float


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An item that got no answer, and why."""

    item: str
    problem: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one item that has a label."""

    item: str
    truth: str
    answer: str | None
    confidence: float | None
    is_right: bool


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """How good and how fast a version is on some data: one of the two scores is there."""

    form: str
    items: int
    failed: int
    failures: tuple[Failure, ...]
    latency: Latency
    notes: tuple[str, ...] = ()
    classification: ClassificationScore | None = None
    detection: DetectionScore | None = None
    working_point: WorkingPoint | None = None

    @property
    def score(self) -> float:
        """The one number from 0 to 1 that stands for all: accuracy, or mAP at 0.5 to 0.95."""
        if self.classification is not None:
            return self.classification.accuracy
        return self.detection.map50_95 if self.detection is not None else 0.0


def asker(model: HostedModel, params: dict[str, Any]) -> Ask:
    """Given a loaded model and its task's parameters, return what answers one payload."""

    def ask(payload: Payload) -> Answer:
        session = turns.open_session(model.task, model.model, model.network, params)
        result = turns.run_once(session, payload)
        timing = session.timing
        seconds = (timing.decode, timing.infer, timing.encode)
        return Answer(msgspec.to_builtins(result), seconds)

    return ask


def measuring_params(task: Task, given: dict[str, Any]) -> dict[str, Any]:
    """Given a task and the parameters somebody chose, return those that measuring asks with.

    Raise InvalidInput when the task gives neither labels nor boxes.
    """
    fields = set(task.Result.__struct_fields__)
    if "predictions" in fields:
        defaults = {"top_k": str(_TOP)} if "top_k" in task.Params.__struct_fields__ else {}
    elif "objects" in fields:
        defaults = _DETECTION_PARAMS
    else:
        raise InvalidInput(
            f"Models of the task {task.name} answer neither with labels nor with boxes, so there"
            " is nothing to compare with. Classifiers and detectors can be measured."
        )
    return {**defaults, **given}


def measure(
    model: Model,
    data: LabelledSet,
    ask: Ask,
    *,
    head: str = "",
    labels: Sequence[str] = (),
    report: Report,
    until_monotonic: float = float("inf"),
) -> tuple[Measurement, list[Row]]:
    """Given a model, labelled items and what answers, return the score and a row for each item.

    `labels` are those that the parameters ask for, where they are not the model's own. Items after
    `until_monotonic` are left out, with a note: they are drawn evenly, always the same way. Raise
    InvalidInput when the labels are not the model's, or no item could be answered.
    """
    if data.form == "boxes":
        return _measure_boxes(model, data, _Walk(data, ask, report, until_monotonic)), []
    if not model.manifest.outputs or not _names_labels(data):
        raise InvalidInput("The data has no labels for a model that answers with labels.")
    place = _head_place(model, head)
    index = LabelIndex(labels or model.labels.get(model.manifest.heads()[place], ()))
    return _measure_labels(place, index, data, _Walk(data, ask, report, until_monotonic))


class _Walk:
    """Asks item by item and keeps what is common to all measurements. Threads: one."""

    def __init__(
        self, data: LabelledSet, ask: Ask, report: Report, until_monotonic: float
    ) -> None:
        self._data, self._ask, self._report = data, ask, report
        self._until = until_monotonic
        self._courtesy = Courtesy()
        self._seconds: list[tuple[float, float, float]] = []
        self.failures: list[Failure] = []
        self.failed = 0
        self.notes = list(data.notes)

    def answers(self) -> Iterator[tuple[Item, dict[str, Any]]]:
        """Yield each item that got an answer, with the answer."""
        items = list(self._data.items)
        total = len(items)
        if self._until < float("inf"):
            # Data lies label by label: the first part of it would be of a few labels only.
            random.Random(_SEED).shuffle(items)
        for number, item in enumerate(items):
            self._report(number / total, f"{number} of {total} items")
            if number and time.monotonic() > self._until:
                self.notes.append(
                    f"The time was up: {total - number:,} of {total:,} items, drawn evenly from"
                    " all, were left out."
                )
                return
            self._courtesy.give_way()
            try:
                answer = self._ask(readable_payload(item))
            except Internal:
                raise
            except Problem as problem:
                self.failed += 1
                if len(self.failures) < _MOST_FAILURES_SHOWN:
                    self.failures.append(Failure(item=item.name, problem=problem.detail))
                continue
            self._seconds.append(answer.seconds)
            yield item, answer.result

    def measurement(self, **scores: Any) -> Measurement:
        """Return what was measured, with these scores; raise InvalidInput when nothing was."""
        if not self._seconds:
            reason = self.failures[0].problem if self.failures else "there were none"
            raise InvalidInput(f"No item could be answered. The first: {reason}")
        return Measurement(
            form=self._data.form,
            items=len(self._seconds),
            failed=self.failed,
            failures=tuple(self.failures),
            latency=latency(self._seconds),
            notes=tuple(self.notes),
            **scores,
        )


def latency(seconds: Sequence[tuple[float, float, float]]) -> Latency:
    """Given the parts of each answer's time in seconds, return their spread in milliseconds."""
    parts = np.asarray(seconds) * 1000
    if len(parts) > 10:
        parts = parts[1:]  # the first pays for set-up that no later one needs
    whole = parts.sum(axis=1)
    p50, p90, p95, p99 = (float(value) for value in np.percentile(whole, (50, 90, 95, 99)))
    decode, infer, encode = (float(value) for value in parts.mean(axis=0))
    return Latency(
        items=len(whole),
        p50_ms=round(p50, 3),
        p90_ms=round(p90, 3),
        p95_ms=round(p95, 3),
        p99_ms=round(p99, 3),
        longest_ms=round(float(whole.max()), 3),
        decode_ms=round(decode, 3),
        infer_ms=round(infer, 3),
        encode_ms=round(encode, 3),
    )


def _names_labels(data: LabelledSet) -> bool:
    return data.form == "labels" and all(item.label is not None for item in data.items)


def _measure_labels(
    place: int, index: LabelIndex, data: LabelledSet, walk: _Walk
) -> tuple[Measurement, list[Row]]:
    strangers = index.unknown(item.label or "" for item in data.items)
    if strangers:
        walk.notes.append(
            f"The model does not know {some(strangers)}: items with these labels count as wrong."
        )
    names = [*index.labels, *strangers]
    number_of = {name: len(index.labels) + number for number, name in enumerate(strangers)}
    truths, answers, sure, rows, top_hits = [], [], [], [], 0
    for item, result in walk.answers():
        said = result["predictions"][place]
        label = item.label or ""
        truth = number_of.get(label, index.find(label))
        answer = said["top"][0]["index"] if said["top"] else -1
        truths.append(_numbered(names, truth))
        answers.append(_numbered(names, answer))
        sure.append(said["confidence"])
        top_hits += any(one["index"] == truth for one in said["top"][:_TOP])
        rows.append(_row(item, names[truths[-1]], said, is_right=truth == answer))
    order = {item.name: number for number, item in enumerate(data.items)}
    rows.sort(key=lambda row: order[row.item])
    is_large = len(names) > _TOP
    measured = walk.measurement()
    scored = classification_metrics.score(
        truths,
        answers,
        labels=names,
        top5_hits=top_hits if is_large else None,
    )
    answered = [(c, t == a) for c, t, a in zip(sure, truths, answers, strict=True) if a >= 0]
    calibrated = classification_metrics.calibration(
        [one for one, _ in answered], [hit for _, hit in answered]
    )
    scored = msgspec.structs.replace(scored, calibration=calibrated)
    return msgspec.structs.replace(measured, classification=scored), rows


def _numbered(names: list[str], number: int | None) -> int:
    """Return a class as it is, after naming it where the model has no labels."""
    while number is not None and number >= len(names):
        names.append(f"class {len(names)}")
    return -1 if number is None else number


def _row(item: Item, truth: str, said: dict[str, Any], *, is_right: bool) -> Row:
    return Row(
        item=item.name,
        truth=truth,
        answer=said["label"],
        confidence=said["confidence"],
        is_right=is_right,
    )


def _head_place(model: Model, head: str) -> int:
    heads = model.manifest.heads()
    if not head:
        return 0
    if head not in heads:
        raise InvalidInput(
            f"The model has no head {head!r}. Its heads are {', '.join(heads)}.", pointer="/head"
        )
    return heads.index(head)


def _measure_boxes(model: Model, data: LabelledSet, walk: _Walk) -> Measurement:
    labels: Sequence[str] = next(
        (found for found in map(model.labels.get, model.manifest.heads()) if found), ()
    )
    threshold = float(model.manifest.settings.get("threshold", _WORKING_THRESHOLD))
    scores = BoxScores(labels, working_threshold=threshold)
    walk.notes += scores.check(box.label for item in data.items for box in item.boxes or ())
    for item, result in walk.answers():
        if "objects" not in result:
            raise InvalidInput("The data has boxes, but the model answers with labels.")
        scores.add(item.boxes or (), result)
    measured = walk.measurement()
    return msgspec.structs.replace(
        measured, detection=scores.score(), working_point=scores.working_point()
    )
