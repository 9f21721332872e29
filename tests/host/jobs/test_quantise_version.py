import json
from pathlib import Path

import pytest

from appliance.host.jobs import quantise_version
from appliance.host.openvino_import import ov
from appliance.library.manifest import read_manifest
from appliance.library.versions import VersionDirectory, install_directory
from tests.measure_parts import specification
from tests.tiny_models import change, substitute, write_colour_model

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


@pytest.fixture
def place(tmp_path: Path) -> VersionDirectory:
    source = write_colour_model(tmp_path / "source")
    change(
        source,
        "golden/samples.json",
        substitute(
            '"equals": "red"}',
            '"equals": "red"}, {"pointer": "/predictions/0/confidence", "equals": 0.9,'
            ' "tolerance": 0.2}',
        ),
    )
    return install_directory(source.directory, tmp_path / "models")


def other_weights(place: VersionDirectory, factor: float = 8.0) -> ov.Model:
    tmp = place.directory.parents[2] / f"other-{factor}"
    other = write_colour_model(tmp, factor=factor, has_golden=False)
    return ov.Core().read_model(other.directory / "model.xml")


def test_a_version_gets_other_weights_and_keeps_the_rest(
    tmp_path: Path, place: VersionDirectory
) -> None:
    made = quantise_version.write_version(other_weights(place), place.directory, tmp_path / "w")
    hosted = quantise_version.load_version(made, specification(place))
    assert hosted.manifest == read_manifest(place.directory)
    assert quantise_version.copy_golden(place.directory, made, hosted) == ""
    checks = json.loads((made / "golden" / "samples.json").read_text())["samples"][0]["checks"]
    assert checks[0]["equals"] == "red"
    assert checks[1]["equals"] != 0.9
    assert checks[1]["tolerance"] == 0.2
    target = tmp_path / "results"
    quantise_version.finish_version(made, target, manifest=hosted.manifest, card="## INT8")
    assert not (target / "SHA256SUMS").exists()
    assert (target / "card.md").read_text() == "Made for tests.\n\n## INT8\n"
    assert quantise_version.size_bytes(target) > 0


def test_a_version_that_answers_a_golden_sample_otherwise_has_a_fault(
    tmp_path: Path, place: VersionDirectory
) -> None:
    opposite = other_weights(place, factor=-8.0)
    made = quantise_version.write_version(opposite, place.directory, tmp_path / "w")
    hosted = quantise_version.load_version(made, specification(place))
    fault = quantise_version.copy_golden(place.directory, made, hosted)
    assert "red.png: expected 'red'" in fault
    assert not (made / "golden").exists()


def test_a_source_without_golden_samples_or_card_is_enough(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "models", has_golden=False)
    made = quantise_version.write_version(other_weights(place), place.directory, tmp_path / "w")
    hosted = quantise_version.load_version(made, specification(place))
    assert quantise_version.copy_golden(place.directory, made, hosted) == ""
    (made / "card.md").unlink()
    quantise_version.finish_version(
        made, tmp_path / "results", manifest=hosted.manifest, card="## INT8"
    )
    assert (tmp_path / "results" / "card.md").read_text().startswith("# Strongest colour")
