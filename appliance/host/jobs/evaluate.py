"""Evaluate: how good and how fast a version is on data whose truth is known."""

import time
from typing import Any

import msgspec

from appliance.host.jobs.batch import loaded
from appliance.host.jobs.contract import JobResult, JobRun
from appliance.host.jobs.evaluate_report import headline, write_report
from appliance.host.jobs.labelled_data import read_set, require_labels
from appliance.host.jobs.measure import Measurement, asker, measure, measuring_params
from appliance.host.jobs.measure_params import EvaluateParams

#: Of the whole job: reading the data, then measuring.
_READ_SHARE = 0.05


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What an evaluation found, as JSON; its report says the same in words."""

    model: str
    version: int
    task: str
    head: str
    params: dict[str, Any]
    headline: str
    seconds: float
    measured: Measurement


class Evaluate:
    """The kind `evaluate`."""

    Params = EvaluateParams

    def run(self, run: JobRun) -> JobResult:
        """Given labelled data, return the version's scores, with report and charts."""
        params: EvaluateParams = run.params
        began = time.monotonic()
        name = f"{params.model}@{params.version}"
        run.report(0.0, "reading the data")
        data = read_set(run.inputs, run.workspace, run.limits)
        require_labels(data)
        run.report(_READ_SHARE, f"loading {name}")
        model = loaded(run.specifications[name])
        asked = measuring_params(model.task, params.params)
        measured, rows = measure(
            model.model,
            data.sample(params.most_items),
            asker(model, asked),
            head=params.head,
            labels=params.params.get("labels", ()),
            report=lambda share, words: run.report(_READ_SHARE + share * (1 - _READ_SHARE), words),
            until_monotonic=began + params.most_seconds,
        )
        title = f"{name} on {measured.items:,} items"
        files = write_report(run.results, title, measured, rows)
        document = Evaluation(
            model=params.model,
            version=params.version or 0,
            task=model.task.name,
            head=params.head or model.manifest.heads()[0],
            params=asked,
            headline=headline(measured),
            seconds=round(time.monotonic() - began, 3),
            measured=measured,
        )
        return JobResult(
            document=_written(document, run),
            files=(*files, "report.json"),
            message=f"done: {measured.items:,} items measured",
        )


def _written(document: Any, run: JobRun) -> Any:
    """Write the document beside the report, too; return it as plain values."""
    content = msgspec.json.format(msgspec.json.encode(document), indent=2)
    (run.results / "report.json").write_bytes(content)
    return msgspec.to_builtins(document)


KIND = Evaluate()
