"""Models that are damaged, hostile or strange: group F of the catalogue, by the whole product."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.library.checksums import write_sums
from tests.end_to_end.conftest import Start
from tests.end_to_end.running import Running, wait_for
from tests.tiny_models import picture, write_colour_model

Damage = Callable[[Path], None]


def truncated_weights(directory: Path) -> None:
    path = directory / "model.bin"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty_weights(directory: Path) -> None:
    (directory / "model.bin").write_bytes(b"")


def cut_graph(directory: Path) -> None:
    path = directory / "model.xml"
    path.write_text(path.read_text()[:800])


def unknown_operation(directory: Path) -> None:
    path = directory / "model.xml"
    path.write_text(path.read_text().replace('type="ReduceMean"', 'type="NoSuchOperation"'))


def newer_format(directory: Path) -> None:
    path = directory / "model.xml"
    path.write_text(re.sub(r'(<net [^>]*version=)"\d+"', r'\1"999"', path.read_text()))


def no_weights(directory: Path) -> None:
    (directory / "model.bin").unlink()


def pickle_instead(directory: Path) -> None:
    (directory / "model.xml").write_bytes(b"\x80\x04\x95\x10\x00\x00\x00cos\nsystem\n")


def wrong_answer(directory: Path) -> None:
    samples = directory / "golden" / "samples.json"
    samples.write_text(samples.read_text().replace('"red"', '"blue"'))


def many_manifests(directory: Path) -> None:
    (directory / "manifest.toml").write_text('manifest_version = 1\nname = "x"\n')


def damaged(damage: Damage, models: Path) -> None:
    """Write a model in which only `damage` is wrong: its sums fit its files."""
    place = write_colour_model(models, name="broken")
    (place.directory / "SHA256SUMS").unlink()
    damage(place.directory)
    write_sums(place.directory)


def state_of(appliance: Running, model: str) -> tuple[str, str]:
    for found in appliance.get("/health").json()["models"]:
        if found["model"] == model:
            return found["state"], found["reason"]
    return "absent", ""


@pytest.mark.parametrize(
    "damage",
    [
        truncated_weights,
        empty_weights,
        cut_graph,
        unknown_operation,
        newer_format,
        no_weights,
        pickle_instead,
        wrong_answer,
    ],
)
def test_c78_a_broken_model_fails_alone_and_says_why(
    start_one: Start, short_path: Path, colour_models: Path, damage: Damage
) -> None:
    models = short_path / "state" / "models"
    shutil.copytree(colour_models, models)
    damaged(damage, models)
    appliance = start_one(is_ready_awaited=False)
    wait_for(lambda: state_of(appliance, "broken")[0] == "failed", "a verdict")
    wait_for(lambda: appliance.predict(picture()).status == 200, "the sound model")
    reason = state_of(appliance, "broken")[1]
    assert reason
    assert str(short_path) not in appliance.predict(picture(), model="broken").body.decode()
    refused = appliance.predict(picture(), model="broken")
    assert refused.problem == "model-unavailable"
    assert not appliance.is_ready()
    assert any("broken@1" in reason for reason in appliance.reasons())
    loaded = appliance.call("POST", "/v2/repository/models/broken/load")
    assert loaded.status in (400, 422)
    assert appliance.predict(picture()).status == 200


def test_a_model_whose_manifest_is_wrong_hinders_nobody(
    start_one: Start, short_path: Path, colour_models: Path
) -> None:
    models = short_path / "state" / "models"
    shutil.copytree(colour_models, models)
    damaged(many_manifests, models)
    appliance = start_one(is_ready_awaited=False)
    wait_for(lambda: appliance.predict(picture()).status == 200, "the sound model")
    for path in ("/api/v1/models", "/health", "/metrics", "/v2/models", "/live"):
        assert appliance.get(path).status == 200
    for path in ("/api/v1/models/broken", "/v2/models/broken"):
        assert appliance.get(path).status in (200, 404, 422, 503)


@pytest.mark.parametrize("part", ["model.bin", "model.xml", "manifest.toml", "labels.txt"])
def test_c80_a_file_changed_on_disk_is_never_loaded(start_one: Start, part: str) -> None:
    appliance = start_one()
    path = appliance.state / "models" / "colour" / "1" / part
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b" ")
    refused = appliance.call("POST", "/v2/repository/models/colour/load")
    assert refused.status in (400, 422)
    assert part in refused.json()["error"]
    assert appliance.predict(picture()).status == 200
    assert appliance.is_ready()


@pytest.mark.parametrize("how", ["symbolic", "hard"])
def test_c82_a_linked_file_is_never_loaded(
    start_one: Start, short_path: Path, colour_models: Path, how: str
) -> None:
    models = short_path / "state" / "models"
    shutil.copytree(colour_models, models)
    place = write_colour_model(models, name="linked")
    weights = place.directory / "model.bin"
    outside = short_path / "outside.bin"
    weights.rename(outside)
    if how == "symbolic":
        weights.symlink_to(outside)
    else:
        os.link(outside, weights)
    appliance = start_one(is_ready_awaited=False)
    wait_for(lambda: state_of(appliance, "linked")[0] == "failed", "a verdict")
    assert "model.bin" in state_of(appliance, "linked")[1]
    wait_for(lambda: appliance.predict(picture()).status == 200, "the sound model")


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_c87_outputs_that_are_no_numbers_are_flagged(
    start_one: Start, short_path: Path, factor: float
) -> None:
    models = short_path / "state" / "models"
    place = write_colour_model(models, factor=factor)
    (place.directory / "SHA256SUMS").unlink()
    shutil.rmtree(place.directory / "golden")
    write_sums(place.directory)
    appliance = start_one(is_ready_awaited=False)
    wait_for(lambda: appliance.host_process_id() is not None, "a host")
    answer = appliance.predict(picture())
    assert answer.status == 200
    assert b"NaN" not in answer.body
    (prediction,) = answer.json()["result"]["predictions"]
    assert prediction["label"] is None
    assert prediction["warning"]
    path = f"/api/v1/predictions/{answer.json()['id']}"
    wait_for(lambda: appliance.get(path).status == 200, "the row")
    assert appliance.get(path).json()["confidence"] is None


def test_every_version_answers_by_its_number(appliance: Running) -> None:
    for version in (1, 2):
        path = f"/api/v1/models/colour/versions/{version}/predict"
        answer = appliance.call("POST", path, picture(), headers={"Content-Type": "image/png"})
        assert answer.json()["version"] == version
    path = "/api/v1/models/colour/versions/3/predict"
    answer = appliance.call("POST", path, picture(), headers={"Content-Type": "image/png"})
    assert answer.problem == "not-found"


def test_a_model_that_was_unloaded_is_no_fault_of_the_appliance(start_one: Start) -> None:
    appliance = start_one()
    assert appliance.call("POST", "/v2/repository/models/colour/unload").status == 200
    assert appliance.is_ready()
    assert appliance.predict(picture()).problem == "model-unavailable"
    assert appliance.get("/api/v1/models/colour").json()["state"] == "stopped"
    assert appliance.call("POST", "/v2/repository/models/colour/load").status == 200
    assert appliance.predict(picture()).status == 200
