"""`appliance model evaluate|quantise|tune`: what is sent, and what is shown of the answers.

The whole way, with a model, is in tests/end_to_end/test_measurements.py.
"""

import zipfile
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from appliance.cli.model import model
from appliance.cli.model_measure import _packed, _setting, _show_classes, _split
from appliance.config import Config, State
from appliance.host.jobs.measure_params import EvaluateParams, QuantiseParams, TuneParams
from tests.host.jobs.test_evaluate_report import DETECTION
from tests.measure_parts import a_measurement


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cat/1.png", "cat/2.png", "dog/3.png", ".hidden/4.png"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
    return tmp_path / "data"


def test_a_folder_is_packed_into_zips_that_a_job_takes(tmp_path: Path, folder: Path) -> None:
    target = tmp_path / "packed"
    target.mkdir()
    packed = list(_packed(folder, target, "validation", 250))
    assert [path.name for path in packed] == ["validation-1.zip", "validation-2.zip"]
    names = [name for path in packed for name in zipfile.ZipFile(path).namelist()]
    assert names == ["cat/1.png", "cat/2.png", "dog/3.png"]


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="no files"):
        list(_packed(tmp_path, tmp_path, "data", 100))


def test_data_that_needs_too_many_parts_is_refused(tmp_path: Path, folder: Path) -> None:
    config = Config(state=State(dir=str(tmp_path)))
    tight = msgspec.structs.replace(
        config, jobs=msgspec.structs.replace(config.jobs, files=1, file_bytes=150)
    )
    told = CliRunner().invoke(model, ["evaluate", "cats", str(folder)], obj=tight)
    assert told.exit_code == 1
    assert "jobs.files allows 1" in told.output


@pytest.mark.parametrize("verb", ["evaluate", "quantise", "tune"])
def test_without_a_running_appliance_the_way_out_is_told(
    tmp_path: Path, folder: Path, verb: str
) -> None:
    config = Config(state=State(dir=str(tmp_path / "state")))
    arguments = [verb, "cats@2", *([] if verb == "tune" else [str(folder)])]
    told = CliRunner().invoke(model, arguments, obj=config)
    assert told.exit_code == 69
    assert "not running" in told.output


def test_parameters_need_a_name_and_a_value() -> None:
    assert _split(["top_k=3", "crop=1=2"]) == {"top_k": "3", "crop": "1=2"}
    with pytest.raises(click.UsageError):
        _split(["top_k"])


def shown(measured: Any, capsys: pytest.CaptureFixture[str]) -> str:
    _show_classes(msgspec.to_builtins(measured))
    return capsys.readouterr().out


def test_classes_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert "50.0 %" in shown(a_measurement(notes=("Left out.",)), capsys)
    told = shown(DETECTION, capsys)
    assert "0.500" in told
    assert "cat" in told


def test_settings_are_shown_with_which_was_chosen() -> None:
    row = {
        "streams": 2,
        "threads": 2,
        "in_flight": 3,
        "batch": 1,
        "precision": "f32",
        "can_be_chosen": True,
        "per_second": 1234.5,
        "p50_ms": 1.0,
        "p95_ms": 2.0,
    }
    assert _setting(row, row)[3:] == ("1,234", "1.00 ms", "2.00 ms", "chosen")
    batch = {**row, "batch": 4, "can_be_chosen": False}
    assert _setting(batch, row)[-1] == "batches of 4, for comparison"
    other = {**row, "precision": "bf16", "can_be_chosen": False}
    assert _setting(other, row)[-1] == "in bf16, for comparison"


@pytest.mark.parametrize("arguments", [[], ["--calibration", "recorded", "DATA"]])
def test_calibration_data_comes_from_one_place(
    tmp_path: Path, folder: Path, arguments: list[str]
) -> None:
    given = [str(folder) if each == "DATA" else each for each in arguments]
    told = CliRunner().invoke(model, ["quantise", "cats", *given], obj=Config())
    assert told.exit_code == 2
    assert "--calibration recorded" in told.output


def test_recorded_inputs_need_no_data(tmp_path: Path) -> None:
    config = Config(state=State(dir=str(tmp_path / "state")))
    told = CliRunner().invoke(model, ["quantise", "cats", "--calibration", "recorded"], obj=config)
    assert told.exit_code == 69, told.output


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("evaluate", EvaluateParams), ("quantise", QuantiseParams), ("tune", TuneParams)],
)
def test_what_can_be_told_over_http_is_an_option_of_the_same_name_and_bounds(
    verb: str, kind: type[msgspec.Struct]
) -> None:
    options = {each.name: each for each in model.commands[verb].params}
    told = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]
    for field, schema in told.items():
        if field in ("model", "version"):  # MODEL@VERSION
            continue
        option = options[field]
        if isinstance(option.type, click.IntRange | click.FloatRange):
            bounds = (schema.get("minimum"), schema.get("maximum"))
            assert (option.type.min, option.type.max) == bounds, field
