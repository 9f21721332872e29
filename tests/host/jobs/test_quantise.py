import tomllib
from pathlib import Path

import pytest

from appliance.errors import InvalidInput
from appliance.host.jobs.contract import Cancelled
from appliance.host.jobs.quantise import KIND
from appliance.library.versions import STARTER_DIRECTORY, VersionDirectory, install_directory
from scripts.bench.resnet import write_resnet
from tests.measure_parts import DATA, colours, packed, ran, zipped
from tests.tiny_models import write_colour_model, write_detector_model

# NNCF is an optional extra; requirements/quantise.txt lists it.
pytest.importorskip("nncf", reason="NNCF is not installed (requirements/quantise.txt)")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_an_int8_version_comes_with_both_scores_and_stays_a_suggestion(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "models", size=32)
    given = zipped(tmp_path / "d.zip", colours(red=12, green=12, blue=12))
    result, results = ran(KIND, place, tmp_path, given)
    assert result.document["is_kept"]
    assert result.document["has_truth"]
    assert result.document["original"]["measured"]["classification"]["accuracy"] == 1.0
    assert result.document["int8"]["measured"]["classification"]["accuracy"] == 1.0
    assert result.document["calibration_items"] == 18
    assert result.new_version is not None
    version = results / result.new_version.directory
    manifest = tomllib.loads((version / "manifest.toml").read_text())
    assert manifest["name"] == place.model
    assert "INT8, made from version 1" in (version / "card.md").read_text()
    assert (version / "golden" / "samples.json").is_file()
    assert not (version / "SHA256SUMS").exists()


def test_without_labels_the_answers_of_both_are_compared(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "models", size=32)
    pictures = colours(red=10, blue=10)
    given = zipped(
        tmp_path / "d.zip", {name.replace("/", "-"): body for name, body in pictures.items()}
    )
    result, _ = ran(KIND, place, tmp_path, given)
    assert not result.document["has_truth"]
    assert result.document["original"]["measured"]["classification"]["accuracy"] == 1.0


def test_a_detector_is_measured_by_what_it_found_before(tmp_path: Path) -> None:
    place = write_detector_model(tmp_path / "models")
    given = zipped(
        tmp_path / "d.zip",
        {name.replace("/", "-"): body for name, body in colours(red=10, blue=10).items()},
    )
    result, _ = ran(KIND, place, tmp_path, given, max_drop=50.0)
    assert not result.document["has_truth"]
    assert result.document["original"]["measured"]["detection"]["map50"] == 1.0


def test_too_little_data_is_refused(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "models")
    given = zipped(tmp_path / "d.zip", colours(red=2, blue=2))
    with pytest.raises(InvalidInput, match="at least 16"):
        ran(KIND, place, tmp_path, given)


def test_it_ends_when_its_time_is_up(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "models")
    given = zipped(tmp_path / "d.zip", colours(red=12, blue=12))
    with pytest.raises(InvalidInput, match="took longer than 1e-09 s"):
        ran(KIND, place, tmp_path, given, most_seconds=1e-9)


def test_it_ends_while_it_calibrates_when_somebody_cancels(tmp_path: Path) -> None:
    def report(share: float, words: str) -> None:
        if words == "calibrating" and share > 0.2:
            raise Cancelled

    place = write_colour_model(tmp_path / "models", size=32)
    given = zipped(tmp_path / "d.zip", colours(red=12, blue=12))
    with pytest.raises(Cancelled):
        ran(KIND, place, tmp_path, given, report=report)


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "vehicles").is_dir(), reason="../shared/data is not there")
@pytest.mark.timeout(600)
def test_the_vehicle_model_keeps_its_accuracy(tmp_path: Path) -> None:
    place = install_directory(STARTER_DIRECTORY / "vehicle-type" / "1", tmp_path / "models")
    calibration = packed(tmp_path / "calibration.zip", DATA / "vehicles" / "train")
    validation = packed(tmp_path / "validation.zip", DATA / "vehicles" / "val")
    result, _ = ran(KIND, place, tmp_path, calibration, validation, max_drop=0.5)
    assert result.document["is_kept"]
    assert not result.document["is_mixed"]
    assert result.document["int8"]["measured"]["classification"]["accuracy"] >= 0.9783


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "vehicles").is_dir(), reason="../shared/data is not there")
@pytest.mark.timeout(600)
def test_a_network_of_resnet_18_s_size_answers_as_before(tmp_path: Path) -> None:
    directory = write_resnet(tmp_path / "models")
    place = VersionDirectory("resnet18-sized", 1, directory)
    given = packed(tmp_path / "data.zip", DATA / "vehicles" / "val")
    result, _ = ran(KIND, place, tmp_path, given, calibration_items=32, most_items=32)
    assert result.document["is_kept"]
