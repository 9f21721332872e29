import json
from pathlib import Path

import pytest

from appliance.errors import InvalidInput
from appliance.host.jobs.evaluate import KIND
from appliance.library.versions import STARTER_DIRECTORY, VersionDirectory, install_directory
from tests.measure_parts import DATA, colours, packed, ran, zipped
from tests.tiny_models import write_colour_model, write_two_headed_model

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


def test_a_version_is_measured_on_folders(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "models")
    told: list[tuple[float, str]] = []
    result, results = ran(
        KIND,
        place,
        tmp_path,
        zipped(tmp_path / "d.zip", colours(red=3, green=2, blue=1)),
        report=lambda share, words: told.append((share, words)),
    )
    assert result.new_version is None
    assert result.document["headline"].startswith("100.0 % right: 6 of 6.")
    assert result.document["head"] == "colour"
    assert json.loads((results / "report.json").read_bytes()) == json.loads(
        json.dumps(result.document)
    )
    assert "report.md" in result.files
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1


def test_one_of_several_heads_can_be_meant(tmp_path: Path) -> None:
    place = write_two_headed_model(tmp_path / "models")
    table = "file,label\na.png,light\n"
    members = {"labels.csv": table, "a.png": next(iter(colours(red=1).values()))}
    given = zipped(tmp_path / "d.zip", members)
    result, _ = ran(KIND, place, tmp_path, given, head="brightness")
    assert result.document["head"] == "brightness"
    assert result.document["measured"]["items"] == 1


def test_at_most_so_many_items_are_measured(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "models")
    given = zipped(tmp_path / "d.zip", colours(red=9, blue=9))
    result, _ = ran(KIND, place, tmp_path, given, most_items=4)
    assert result.document["measured"]["items"] == 4


def test_data_without_labels_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    place = VersionDirectory("none", 1, tmp_path / "models" / "none" / "1")
    given = zipped(tmp_path / "d.zip", {"a.png": b"x"})
    with pytest.raises(InvalidInput, match="no labels"):
        ran(KIND, place, tmp_path, given)


@pytest.mark.skipif(not (DATA / "vehicles").is_dir(), reason="../shared/data is not there")
def test_the_vehicle_model_scores_as_its_card_says(tmp_path: Path) -> None:
    place = install_directory(STARTER_DIRECTORY / "vehicle-type" / "1", tmp_path / "models")
    given = packed(tmp_path / "val.zip", DATA / "vehicles" / "val")
    result, _ = ran(KIND, place, tmp_path, given)
    score = result.document["measured"]["classification"]
    assert score["accuracy"] == pytest.approx(0.9833, abs=0.0001)
    assert score["items"] == 480
    assert score["calibration"]["ece"] < 0.03
