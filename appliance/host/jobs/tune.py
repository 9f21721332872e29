"""Tune: measure on this machine how the hosts of a version should use its cores.

Only what leaves every answer as it is gets chosen: streams, threads, and how many inferences run
at once. Precision and batches are measured too and told, for whoever decides about them.
"""

import time
from pathlib import Path
from typing import Any

import msgspec

from appliance.errors import ModelInvalid
from appliance.host.jobs.contract import JobResult, JobRun
from appliance.host.jobs.measure_params import TuneParams
from appliance.host.jobs.speed import Contender, Rate, compiled_for, race
from appliance.host.jobs.tune_report import Row, TuneReport, headline, write_report
from appliance.host.network import first_words, with_preprocessing
from appliance.host.openvino_import import ov
from appliance.host.plain_weights import with_plain_weights
from appliance.library.checksums import check_sums
from appliance.library.manifest import Manifest, read_manifest
from appliance.library.versions import model_file
from appliance.machine import fingerprint

_ROUNDS = 8
#: Of the time allowed; compiling takes the rest.
_MEASURED_SHARE = 0.8
_LONGEST_SLICE_SECONDS = 1.0
_BATCHES = (2, 4)
#: Rates closer than this are equal within the noise of a machine that does other things too.
_ALIKE = 0.05
_CLEARLY = 1.2


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One setting to be measured; only those that keep answers as they are can be chosen."""

    streams: int
    threads: int
    in_flight: int
    batch: int = 1
    precision: str
    can_be_chosen: bool = True


class Tune:
    """The kind `tune`."""

    Params = TuneParams

    def run(self, run: JobRun) -> JobResult:
        """Given a version, return the table of what was measured, and the setting to use."""
        params: TuneParams = run.params
        began = time.monotonic()
        name = f"{params.model}@{params.version}"
        specification = run.specifications[name]
        directory, cores = Path(specification.directory), specification.threads
        run.report(0.0, f"loading {name}")
        check_sums(directory)
        manifest = read_manifest(directory)
        trials = trials_for(cores, manifest.precision, _further_precisions(manifest))
        contenders: dict[Trial, Contender] = {}
        for number, trial in enumerate(trials):
            run.report(0.2 * number / len(trials), f"compiling setting {number + 1}")
            contender = _contender(directory, manifest, trial)
            if contender is not None:
                contenders[trial] = contender
        left = max(1.0, params.most_seconds * _MEASURED_SHARE - (time.monotonic() - began))
        rates = race(
            [*contenders.values()],
            rounds=_ROUNDS,
            seconds=min(_LONGEST_SLICE_SECONDS, left / (_ROUNDS * len(contenders))),
            report=lambda share: run.report(0.2 + 0.8 * share, "measuring"),
        )
        rows = tuple(map(_row, contenders, rates))
        found = TuneReport(
            model=params.model,
            version=params.version or 0,
            fingerprint=fingerprint(cores),
            cores=cores,
            latency_ms=params.latency_ms,
            chosen=chosen(rows, params.latency_ms),
            usual=rows[0],
            rows=rows,
            seconds=round(time.monotonic() - began, 3),
        )
        found = msgspec.structs.replace(found, headline=headline(found))
        return _written(run, found)


def _written(run: JobRun, found: TuneReport) -> JobResult:
    return JobResult(
        document=msgspec.to_builtins(found),
        files=write_report(run.results, found),
        message=f"done: {len(found.rows)} settings measured",
    )


def trials_for(cores: int, precision: str, further: tuple[str, ...] = ()) -> list[Trial]:
    """Given the cores and precisions, return the settings to measure; the usual one is first."""
    found: list[Trial] = []
    for threads in dict.fromkeys((cores, max(1, cores // 2))):
        for streams in dict.fromkeys((threads, max(1, threads // 2), min(2, threads), 1)):
            # One more than run: the host decodes the next input while the others infer.
            in_flight = streams + 1
            found.append(
                Trial(streams=streams, threads=threads, in_flight=in_flight, precision=precision)
            )
    usual = found[0]
    found += [
        msgspec.structs.replace(usual, batch=batch, can_be_chosen=False) for batch in _BATCHES
    ]
    found += [
        msgspec.structs.replace(usual, precision=other, can_be_chosen=False) for other in further
    ]
    return found


def chosen(rows: tuple[Row, ...], latency_ms: float | None) -> Row:
    """Given what was measured, the usual setting first, return that with the highest rate within
    the bound.

    Of rates that are alike the one with the shorter wait wins, but the usual one stays unless
    another is clearly better. Where none is within the bound, the shortest wait of all wins.
    """
    usual = rows[0]
    candidates = [row for row in rows if row.can_be_chosen]
    within = [row for row in candidates if latency_ms is None or row.p95_ms <= latency_ms]
    if not within:
        return min(candidates, key=lambda row: row.p95_ms)
    highest = max(row.per_second for row in within)
    alike = [row for row in within if row.per_second >= highest * (1 - _ALIKE)]
    best = min(alike, key=lambda row: row.p95_ms)
    return usual if usual in alike and usual.p95_ms <= best.p95_ms * _CLEARLY else best


def _contender(directory: Path, manifest: Manifest, trial: Trial) -> Contender | None:
    """Return the version compiled for a setting; None for a batch that it cannot take."""
    try:
        read = with_plain_weights(ov.Core().read_model(model_file(directory)))
        model = with_preprocessing(read, manifest)
        if trial.batch > 1:
            _widen(model, trial.batch)
        compiled = compiled_for(
            model, streams=trial.streams, threads=trial.threads, precision=trial.precision
        )
        return Contender(compiled, in_flight=trial.in_flight, rows=trial.batch)
    except RuntimeError as fault:
        if not trial.can_be_chosen:
            return None
        raise ModelInvalid(f"OpenVINO cannot run this model: {first_words(fault)}.") from None


def _widen(model: "ov.Model", batch: int) -> None:
    shapes: dict[Any, Any] = {}
    for place, port in enumerate(model.inputs):
        shape = port.get_partial_shape()
        shape[0] = batch
        shapes[place] = shape
    model.reshape(shapes)


def _further_precisions(manifest: Manifest) -> tuple[str, ...]:
    """Return the precisions that this CPU computes faster in and the version does not use."""
    able = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(
        name
        for name, capability in (("bf16", "BF16"), ("f16", "FP16"))
        if capability in able and manifest.precision == "f32"
    )


def _row(trial: Trial, rate: Rate) -> Row:
    return Row(
        streams=trial.streams,
        threads=trial.threads,
        in_flight=trial.in_flight,
        batch=trial.batch,
        precision=trial.precision,
        can_be_chosen=trial.can_be_chosen,
        per_second=round(rate.per_second, 1),
        p50_ms=round(rate.p50_ms, 3),
        p95_ms=round(rate.p95_ms, 3),
    )


KIND = Tune()
