"""Quantise: make an INT8 version of a model, and say what that gains and costs.

The new version is kept only when its accuracy drops by no more than was allowed, and never
activates itself.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from appliance.errors import InvalidInput
from appliance.host import turns
from appliance.host.hosted_model import HostedModel
from appliance.host.jobs import quantise_network, quantise_version
from appliance.host.jobs.batch import loaded
from appliance.host.jobs.box_labels import TrueBox
from appliance.host.jobs.contract import JobInput, JobResult, JobRun, NewVersion
from appliance.host.jobs.label_index import LabelIndex
from appliance.host.jobs.labelled_data import (
    Item,
    LabelledSet,
    inputs_by_part,
    read_set,
    readable_payload,
)
from appliance.host.jobs.measure import Answer, Ask, Measurement, asker, measure, measuring_params
from appliance.host.jobs.measure_params import QuantiseParams
from appliance.host.jobs.quantise_report import (
    Quantisation,
    Side,
    card,
    with_headline,
    write_report,
)
from appliance.host.jobs.speed import Contender, race
from appliance.host.network import port_name
from appliance.host.openvino_import import ov
from appliance.host.plain_weights import with_plain_weights
from appliance.host.specification import HostSpecification
from appliance.library.versions import model_file
from appliance.tasks.contract import Payload

_FOLDER = "version"
_ROUNDS, _ROUND_SECONDS = 6, 0.5
#: Boxes surer than this are what the original is held to have seen, where nobody drew any.
_LIKELY = 0.4


@dataclass(slots=True)
class _Work:
    """One attempt: what it was told, what it loaded and how long it may take. Threads: one."""

    run: JobRun
    params: QuantiseParams
    specification: HostSpecification
    original: HostedModel
    asked: dict[str, Any]
    began_monotonic: float
    begin: float = 0.0
    end: float = 1.0
    reached: float = 0.0

    @property
    def source(self) -> Path:
        """Where the original lies."""
        return Path(self.specification.directory)

    def stage(self, begin: float, end: float, words: str) -> None:
        """Given the part of the whole that comes now, tell of it."""
        self.begin, self.end = begin, end
        self.tell(0.0, words)

    def tell(self, share: float, words: str) -> None:
        """Given how far the stage is, tell of it; raise InvalidInput when the time is up."""
        # Looking for layers measures again and again; a bar that goes back tells nobody anything.
        self.reached = max(self.reached, self.begin + share * (self.end - self.begin))
        self.run.report(self.reached, words)
        if time.monotonic() > self.began_monotonic + self.params.most_seconds:
            raise InvalidInput(
                f"Quantising took longer than {self.params.most_seconds:g} s (most_seconds). Send"
                " less data, allow a larger max_drop, or more time."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """An INT8 version that was loaded and measured; `fault` says why it is not good enough."""

    directory: Path
    model: HostedModel
    measured: Measurement
    is_mixed: bool
    fault: str


class Quantise:
    """The kind `quantise`."""

    Params = QuantiseParams

    def run(self, run: JobRun) -> JobResult:
        """Given calibration data, return the report, and the INT8 version if it is good enough."""
        quantise_network.require_nncf()
        run.report(0.0, "reading the data")
        calibration, validation = _data(run, run.params)
        work = _begun(run)
        has_truth = _fits(work.original, validation)
        if not has_truth:
            work.stage(0.04, 0.1, "asking the original")
            validation = _believed(work, validation)
        work.stage(0.1, 0.2, "measuring the original")
        before = _measured(work, validation, asker(work.original, work.asked))
        candidate = _candidate(work, calibration, validation, before)
        speeds = _speeds(work, work.original, candidate.model)
        found = Quantisation(
            model=work.params.model,
            version=work.params.version or 0,
            is_kept=not candidate.fault,
            reason=candidate.fault,
            max_drop_points=work.params.max_drop,
            has_truth=has_truth,
            is_mixed=candidate.is_mixed,
            calibration=work.params.calibration,
            calibration_items=len(calibration.items),
            original=_side(work.source, before, speeds[0]),
            int8=_side(candidate.directory, candidate.measured, speeds[1]),
            seconds=round(time.monotonic() - work.began_monotonic, 3),
        )
        return _result(work, candidate, with_headline(found))


def _begun(run: JobRun) -> _Work:
    params: QuantiseParams = run.params
    name = f"{params.model}@{params.version}"
    run.report(0.03, f"loading {name}")
    original = loaded(run.specifications[name])
    return _Work(
        run=run,
        params=params,
        specification=run.specifications[name],
        original=original,
        asked=measuring_params(original.task, params.params),
        began_monotonic=time.monotonic(),
    )


def _side(directory: Path, measured: Measurement, per_second: float) -> Side:
    size = quantise_version.size_bytes(directory)
    return Side(measured=measured, per_second=per_second, bytes=size)


def _result(work: _Work, candidate: _Candidate, found: Quantisation) -> JobResult:
    """Write the report, and the new version where it is good enough."""
    run = work.run
    files, document = write_report(run.results, found), msgspec.to_builtins(found)
    if not found.is_kept:
        return JobResult(document=document, files=files, message="done: no version kept")
    manifest = work.original.manifest
    quantise_version.finish_version(
        candidate.directory, run.results / _FOLDER, manifest=manifest, card=card(found)
    )
    made = NewVersion(model=work.params.model, directory=_FOLDER)
    return JobResult(
        document=document, files=files, new_version=made, message="done: kept as a new version"
    )


def _data(run: JobRun, params: QuantiseParams) -> tuple[LabelledSet, LabelledSet]:
    """Return data to calibrate with and data to measure on, without a common item."""
    parts = inputs_by_part(run.inputs)
    if parts["validation"] and parts["calibration"]:
        calibration = _read(run, parts["calibration"], "calibration")
        validation = _read(run, parts["validation"], "validation")
        return calibration.sample(params.calibration_items), validation.sample(params.most_items)
    whole = _read(run, run.inputs, "data")
    if len(whole.items) < 16:
        raise InvalidInput(
            f"The data holds {len(whole.items)} items. Half of them calibrate and half measure:"
            " send at least 16, better 300 or more, as the model meets them in use."
        )
    calibration, validation = whole.split(params.calibration_items)
    return calibration, validation.sample(params.most_items)


def _read(run: JobRun, inputs: Sequence[JobInput], folder: str) -> LabelledSet:
    return read_set(inputs, run.workspace / folder, run.limits)


def _measured(work: _Work, data: LabelledSet, ask: Ask) -> Measurement:
    measured, _ = measure(work.original.model, data, ask, head=work.params.head, report=work.tell)
    return measured


def _candidate(
    work: _Work,
    calibration: LabelledSet,
    validation: LabelledSet,
    before: Measurement,
) -> _Candidate:
    """Return the INT8 version; with some layers left as they are where the drop is too large."""
    model = _network(work)
    transform = _Transform(work, model)
    task = work.original.task.name
    work.stage(0.2, 0.45, "calibrating")
    transform.expect(len(calibration.items), "calibrating")
    made = quantise_network.quantised(model, calibration.items, transform, task=task)
    first = _assembled(work, made, validation, before, is_mixed=False)
    if not first.fault:
        return first
    work.stage(0.55, 0.8, "looking for layers to leave as they are")
    transform.expect(0, "looking for layers to leave as they are")
    judge = _judge(work, transform, validation)
    made = quantise_network.quantised_with_care(
        _network(work),
        calibration.items,
        validation.items[: len(calibration.items)],
        transform,
        judge,
        task=task,
        max_drop=work.params.max_drop / 100,
    )
    return _assembled(work, made, validation, before, is_mixed=True)


def _network(work: _Work) -> "ov.Model":
    """Return the original as it is to be quantised, which NNCF may change."""
    return with_plain_weights(ov.Core().read_model(model_file(work.source)))


def _assembled(
    work: _Work,
    made: "ov.Model",
    validation: LabelledSet,
    before: Measurement,
    *,
    is_mixed: bool,
) -> _Candidate:
    work.stage(*((0.8, 0.9) if is_mixed else (0.45, 0.55)), "measuring INT8")
    folder = work.run.workspace / ("mixed" if is_mixed else "int8")
    directory = quantise_version.write_version(made, work.source, folder)
    model = quantise_version.load_version(directory, work.specification)
    measured = _measured(work, validation, asker(model, work.asked))
    drop = (before.score - measured.score) * 100
    fault = ""
    if drop > work.params.max_drop + 1e-9:
        fault = (
            f"INT8 loses {drop:.2f} points, more than the {work.params.max_drop:g} allowed"
            " (max_drop)"
        )
    fault = fault or quantise_version.copy_golden(work.source, directory, model)
    return _Candidate(
        directory=directory, model=model, measured=measured, is_mixed=is_mixed, fault=fault
    )


class _Transform:
    """Turns an item into the model's inputs, as NNCF asks for it. Threads: one."""

    def __init__(self, work: _Work, model: "ov.Model") -> None:
        self._work = work
        self._prepare = quantise_network.Preparation(model, work.original.manifest)
        self._session = _session(work.original, work.asked)
        self._seen, self._total, self._words = 0, 0, ""

    def expect(self, total: int, words: str) -> None:
        """Given how many items come, count them from here on."""
        self._seen, self._total, self._words = 0, total, words

    def __call__(self, item: Item) -> dict[str, Any]:
        """Return the arrays of the item's first inference."""
        self._seen += 1
        share = min(1.0, self._seen / self._total) if self._total else 0.5
        self._work.tell(share, self._words)
        return self.inputs(readable_payload(item))[0]

    def inputs(self, payload: Payload) -> list[dict[str, Any]]:
        """Given a payload, return the arrays of each of its inferences."""
        turn = self.turn(payload)
        return [self._prepare(tensors) for tensors in turn.inputs]

    def turn(self, payload: Payload) -> Any:
        """Given a payload, return what the task decodes of it."""
        session = self._session
        return session.task.decode(payload, session.params, session.state, session.model)

    def asked_of(self, compiled: "ov.CompiledModel") -> Ask:
        """Given a compiled model with the model's own inputs, return what answers payloads."""
        request = compiled.create_infer_request()
        wanted = {one.tensor for one in self._work.original.manifest.outputs}
        outputs = [port_name(port, wanted) for port in compiled.outputs]
        session = self._session

        def ask(payload: Payload) -> Answer:
            turn = self.turn(payload)
            answers = []
            for tensors in turn.inputs:
                found = request.infer(self._prepare(tensors))
                answers.append({name: found[at].copy() for at, name in enumerate(outputs)})
            result = session.task.encode(
                answers, turn, session.params, session.state, session.model
            )
            return Answer(msgspec.to_builtins(result), (0.0, 0.0, 0.0))

        return ask


def _judge(work: _Work, transform: _Transform, data: LabelledSet) -> quantise_network.Judge:
    def judge(compiled: "ov.CompiledModel") -> float:
        return _measured(work, data, transform.asked_of(compiled)).score

    return judge


def _session(model: HostedModel, params: dict[str, Any]) -> Any:
    return turns.open_session(model.task, model.model, model.network, params)


def _believed(work: _Work, data: LabelledSet) -> LabelledSet:
    """Return the data with the original's answers as truth, where nobody said what is true."""
    ask = asker(work.original, work.asked)
    items = []
    for number, item in enumerate(data.items):
        work.tell(number / len(data.items), f"asking the original: {number} items")
        result = ask(readable_payload(item)).result
        if "objects" in result:
            boxes = tuple(
                TrueBox(
                    str(one["class_id"]),
                    (one["box"]["x1"], one["box"]["y1"], one["box"]["x2"], one["box"]["y2"]),
                    False,
                )
                for one in result["objects"]
                if one["confidence"] >= _LIKELY
            )
            items.append(_with(item, boxes=boxes))
            continue
        heads = {one["head"]: one for one in result["predictions"]}
        said = heads.get(work.params.head) or result["predictions"][0]
        if said["label"] is not None:
            items.append(_with(item, label=said["label"]))
    is_boxes = bool(items) and items[0].boxes is not None
    return LabelledSet(
        form="boxes" if is_boxes else "labels", items=tuple(items), notes=data.notes
    )


def _fits(model: HostedModel, data: LabelledSet) -> bool:
    """Return whether what is known of the data is something that this model could have said."""
    answers_boxes = "objects" in model.task.Result.__struct_fields__
    if data.form == "none" or answers_boxes != (data.form == "boxes"):
        return False
    known = LabelIndex([label for labels in model.model.labels.values() for label in labels])
    return answers_boxes or any(known.find(item.label or "") is not None for item in data.items)


def _with(item: Item, **truth: Any) -> Item:
    return Item(
        name=item.name,
        content_type=item.content_type,
        path=item.path,
        text=item.text,
        **truth,
    )


def _speeds(work: _Work, original: HostedModel, int8: HostedModel) -> list[float]:
    """Return inferences a second of both, compiled as a host would, measured in turns."""
    work.stage(0.9, 1.0, "measuring both speeds")
    contenders = [
        Contender(model.network.task.compiled, in_flight=work.specification.threads + 1)
        for model in (original, int8)
    ]
    rates = race(
        contenders,
        rounds=_ROUNDS,
        seconds=_ROUND_SECONDS,
        report=lambda share: work.tell(share, "measuring both speeds"),
    )
    return [round(rate.per_second, 1) for rate in rates]


KIND = Quantise()
