import tomllib
from pathlib import Path

import numpy as np
import pytest

from appliance.errors import InvalidInput, NotImplementedHere
from appliance.host.jobs import quantise_network
from appliance.host.jobs.contract import Cancelled
from appliance.host.jobs.quantise import KIND
from appliance.host.openvino_import import ov
from appliance.library.checksums import write_sums
from appliance.library.versions import STARTER_DIRECTORY, VersionDirectory, install_directory
from scripts.bench.resnet import write_resnet
from tests.measure_parts import DATA, colours, packed, ran, zipped
from tests.tiny_models import save, write_colour_model, write_detector_model

try:
    quantise_network.require_nncf()
except NotImplementedHere as absent:
    pytest.skip(absent.detail, allow_module_level=True)
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


def write_delicate_model(models: Path) -> VersionDirectory:
    """Write a colour model that INT8 ruins: one layer sees small values beside a huge one."""
    place = write_colour_model(models, size=32, has_golden=False)
    ops = ov.opset13
    image = ops.parameter([1, 3, 32, 32], np.float32, name="image")
    image.output(0).set_names({"image"})
    means = ops.reduce_mean(image, np.array([2, 3]), keep_dims=False)
    huge = ops.multiply(ops.reduce_sum(ops.abs(means), np.array([1]), True), np.float32(1e5))
    weights = np.vstack([np.eye(3) * 10, np.full((1, 3), 1e-7)]).astype(np.float32)
    scores = ops.matmul(ops.concat([means, huge], 1), weights, False, False)
    scores.output(0).set_names({"colour"})
    save([scores], [image], place.directory)
    write_sums(place.directory)
    return place


def test_layers_that_matter_most_are_left_as_they_were(tmp_path: Path) -> None:
    place = write_delicate_model(tmp_path / "models")
    given = zipped(tmp_path / "d.zip", colours(red=12, green=12, blue=12))
    result, _ = ran(KIND, place, tmp_path, given, max_drop=1.0)
    assert result.document["is_mixed"]
    assert result.document["is_kept"], result.document["reason"]
    assert result.document["int8"]["measured"]["classification"]["accuracy"] == 1.0


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
def test_a_network_of_resnet_18_s_size_can_be_quantised(tmp_path: Path) -> None:
    directory = write_resnet(tmp_path / "models")
    place = VersionDirectory("resnet18-sized", 1, directory)
    given = packed(tmp_path / "data.zip", DATA / "vehicles" / "val")
    result, _ = ran(KIND, place, tmp_path, given, calibration_items=32, most_items=32)
    assert result.document["is_kept"]
