"""Predict many files: each runs through the model as one alone would, and fails alone."""

import time
from typing import Any

import msgspec

from appliance.csv_rows import Cell, csv_row
from appliance.errors import Internal, ModelUnavailable, PayloadTooLarge, Problem
from appliance.host.hosted_model import HostedModel, LoadFailed, load
from appliance.host.jobs.batch_items import Item, count_items, items
from appliance.host.jobs.batch_params import BatchParams
from appliance.host.jobs.contract import JobResult, JobRun
from appliance.host.jobs.courtesy import Courtesy
from appliance.host.specification import MACHINE, HostSpecification

#: Outcomes shown in the result's document; all of them are in results.jsonl.
_MOST_SHOWN = 1000
_MOST_SHOWN_BYTES = 8 * 1024 * 1024
_COLUMNS = ("file", "status", "label", "confidence", "duration_ms", "problem")


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one input: the task's result, or a problem."""

    file: str
    status: str
    label: str | None = None
    confidence: float | None = None
    duration_ms: float = 0.0
    result: msgspec.Raw = msgspec.Raw()
    problem: dict[str, Any] | None = None


class Batch:
    """The kind `batch`."""

    Params = BatchParams

    def run(self, run: JobRun) -> JobResult:
        """Given many inputs, return what the model says to each, in order."""
        params: BatchParams = run.params
        run.report(0.0, "counting the inputs")
        total = count_items(run.inputs, run.limits)
        run.report(0.0, f"loading {params.model}@{params.version}")
        model = loaded(run.specifications[f"{params.model}@{params.version}"])
        began = time.monotonic()
        tally, courtesy = _Tally(), Courtesy()
        with (
            (run.results / "results.jsonl").open("wb") as lines,
            (run.results / "results.csv").open("w", newline="", encoding="utf-8") as table,
        ):
            table.write(csv_row(_COLUMNS))
            for number, item in enumerate(items(run.inputs, run.limits)):
                run.report(number / max(total, 1), f"{number} of {total} files")
                courtesy.give_way()
                outcome = predicted(model, params.params, item)
                line = msgspec.json.encode(outcome)
                lines.write(line + b"\n")
                table.write(csv_row(_row(outcome)))
                tally.add(outcome, line)
        document = {
            "model": params.model,
            "version": params.version,
            "task": model.task.name,
            "totals": {"files": tally.ok + tally.failed, "ok": tally.ok, "failed": tally.failed},
            "duration_seconds": round(time.monotonic() - began, 3),
            "files": tally.shown,
            "files_left_out": tally.ok + tally.failed - len(tally.shown),
        }
        return JobResult(
            document=document,
            files=("results.jsonl", "results.csv"),
            message=f"done: {tally.ok} of {tally.ok + tally.failed} files answered",
        )


class _Tally:
    """How many went well, and what of it the document shows."""

    def __init__(self) -> None:
        self.ok = self.failed = 0
        self.shown: list[msgspec.Raw] = []
        self._bytes = 0

    def add(self, outcome: Outcome, line: bytes) -> None:
        self.ok += outcome.status == "ok"
        self.failed += outcome.status != "ok"
        self._bytes += len(line)
        if len(self.shown) < _MOST_SHOWN and self._bytes <= _MOST_SHOWN_BYTES:
            self.shown.append(msgspec.Raw(line))


def loaded(specification: HostSpecification) -> HostedModel:
    """Given what to load, return it; raise ModelUnavailable where the machine fell short."""
    try:
        return load(specification)
    except LoadFailed as problem:
        if problem.cause == MACHINE:
            raise ModelUnavailable(problem.detail) from None
        raise


def predicted(model: HostedModel, params: dict[str, Any], item: Item) -> Outcome:
    """Given a model and one input, return what it says, or the problem of this input alone."""
    if item.problem is not None:
        return _failed(item, item.problem)
    started = time.perf_counter()
    try:
        reply, result = model.predict(
            {"params": params, "content_type": item.content_type}, bytearray(item.body)
        )
    except Internal:
        raise
    except Problem as problem:
        return _failed(item, problem)
    except MemoryError:
        return _failed(
            item,
            PayloadTooLarge("This input needs more memory than a job has (jobs.memory_bytes)."),
        )
    return Outcome(
        file=item.name,
        status="ok",
        label=reply["label"],
        confidence=reply["confidence"],
        duration_ms=round((time.perf_counter() - started) * 1000, 3),
        result=msgspec.Raw(result),
    )


def _failed(item: Item, problem: Problem) -> Outcome:
    document: dict[str, Any] = msgspec.to_builtins(problem.document())
    return Outcome(file=item.name, status="failed", problem=document)


def _row(outcome: Outcome) -> tuple[Cell, ...]:
    return (
        outcome.file,
        outcome.status,
        outcome.label,
        outcome.confidence,
        outcome.duration_ms,
        (outcome.problem or {}).get("detail"),
    )


KIND = Batch()
