from pathlib import Path

import pytest

from appliance.errors import ModelInvalid
from appliance.host.jobs.contract import Cancelled
from appliance.host.jobs.tune import KIND, chosen, trials_for
from appliance.machine import fingerprint
from tests.host.jobs.test_tune_report import row
from tests.measure_parts import ran
from tests.tiny_models import change, write_colour_model


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 16, 96])
def test_no_setting_is_measured_twice_and_the_usual_one_comes_first(cores: int) -> None:
    trials = trials_for(cores, "f32", ("bf16",))
    assert len(set(trials)) == len(trials) <= 12
    first = trials[0]
    assert (first.streams, first.threads, first.in_flight) == (cores, cores, cores + 1)
    assert first.can_be_chosen
    for trial in trials:
        assert 1 <= trial.streams <= trial.threads <= cores
        assert trial.can_be_chosen == (trial.batch == 1 and trial.precision == "f32")


def test_the_highest_rate_wins_and_what_changes_answers_never_does() -> None:
    usual, fast = row(), row(streams=1, per_second=1200.0)
    tempting = row(precision="bf16", can_be_chosen=False, per_second=9000.0)
    assert chosen((usual, fast, tempting), None) == fast


def test_the_bound_comes_before_the_rate() -> None:
    usual, quick = row(p95_ms=9.0), row(streams=1, per_second=600.0, p95_ms=3.0)
    assert chosen((usual, quick), 5.0) == quick
    assert chosen((usual, quick), 10.0) == usual
    assert chosen((usual, quick), 1.0) == quick


def test_noise_does_not_change_a_setting() -> None:
    usual, alike = row(), row(streams=1, per_second=1030.0, p95_ms=1.9)
    assert chosen((usual, alike), None) == usual
    calmer = row(streams=1, per_second=990.0, p95_ms=1.0)
    assert chosen((usual, calmer), None) == calmer


def test_a_version_is_tuned(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "models", size=32)
    told: list[float] = []
    result, _ = ran(
        KIND, place, tmp_path, report=lambda share, words: told.append(share), most_seconds=5.0
    )
    document = result.document
    assert document["fingerprint"] == fingerprint(1)
    assert document["chosen"] in document["rows"]
    assert document["headline"]
    assert told == sorted(told)
    assert 0 <= told[0] <= told[-1] <= 1
    assert {one["batch"] for one in document["rows"]} >= {1, 2, 4}


def test_it_ends_when_somebody_cancels(tmp_path: Path) -> None:
    def report(share: float, words: str) -> None:
        if words == "measuring":
            raise Cancelled

    with pytest.raises(Cancelled):
        ran(KIND, write_colour_model(tmp_path / "models"), tmp_path, report=report)


def test_a_version_whose_files_changed_is_not_measured(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "models")
    (place.directory / "labels.txt").write_text("other\n")
    with pytest.raises(ModelInvalid, match="changed on disk"):
        ran(KIND, place, tmp_path)
    change(place, "labels.txt", lambda text: text)
