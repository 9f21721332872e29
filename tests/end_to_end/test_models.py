"""Models that are damaged, hostile or strange: group F of the catalogue, by the whole product."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.library.checksums import write_sums
from tests.end_to_end.conftest import Start
from tests.end_to_end.running import Running, ended, start, wait_for
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


def wrong_manifest(directory: Path) -> None:
    (directory / "manifest.toml").write_text('manifest_version = 1\nname = "x"\n')


DAMAGES: tuple[Damage, ...] = (
    truncated_weights,
    empty_weights,
    cut_graph,
    unknown_operation,
    newer_format,
    no_weights,
    pickle_instead,
    wrong_answer,
)


def name_of(damage: Damage) -> str:
    return damage.__name__.replace("_", "-")


def damaged(damage: Damage, models: Path) -> None:
    """Write a model in which only `damage` is wrong: its sums fit its files."""
    place = write_colour_model(models, name=name_of(damage))
    (place.directory / "SHA256SUMS").unlink()
    damage(place.directory)
    write_sums(place.directory)


def linked(models: Path, outside: Path, how: str) -> None:
    """Write a model whose weights are a link to a file elsewhere."""
    weights = write_colour_model(models, name=f"{how}-link").directory / "model.bin"
    weights.rename(outside)
    if how == "symbolic":
        weights.symlink_to(outside)
    else:
        os.link(outside, weights)


def strange(models: Path, factor: float) -> None:
    """Write a model without samples whose scores are no numbers."""
    place = write_colour_model(models, name=f"answers-{factor}", factor=factor)
    (place.directory / "SHA256SUMS").unlink()
    shutil.rmtree(place.directory / "golden")
    write_sums(place.directory)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An appliance with one sound model among every kind of bad one."""
    state = tmp_path_factory.mktemp("troubled") / "state"
    models = state / "models"
    write_colour_model(models)
    for damage in (*DAMAGES, wrong_manifest):
        damaged(damage, models)
    for how in ("symbolic", "hard"):
        linked(models, state.parent / f"{how}.bin", how)
    for factor in (float("nan"), float("inf")):
        strange(models, factor)
    running = start(state, {}, is_ready_awaited=False)
    with ended(running):
        wait_for(lambda: running.predict(picture()).status == 200, "the sound model")
        yield running
        assert running.process.poll() is None, running.log()


def state_of(appliance: Running, model: str) -> tuple[str, str]:
    for found in appliance.get("/health").json()["models"]:
        if found["model"] == model:
            return found["state"], found["reason"]
    return "absent", ""


@pytest.mark.parametrize("damage", DAMAGES)
def test_c78_a_broken_model_fails_alone_and_says_why(troubled: Running, damage: Damage) -> None:
    name = name_of(damage)
    wait_for(lambda: state_of(troubled, name)[0] == "failed", "a verdict")
    assert state_of(troubled, name)[1]
    refused = troubled.predict(picture(), model=name)
    assert refused.problem == "model-unavailable"
    assert str(troubled.state) not in refused.body.decode()
    assert not troubled.is_ready()
    assert any(f"{name}@1" in reason for reason in troubled.reasons())
    loaded = troubled.call("POST", f"/v2/repository/models/{name}/load")
    assert loaded.status in (400, 422)
    assert troubled.predict(picture()).status == 200


def test_a_model_whose_manifest_is_wrong_hinders_nobody(troubled: Running) -> None:
    for path in ("/api/v1/models", "/health", "/metrics", "/v2/models", "/live"):
        assert troubled.get(path).status == 200
    for path in ("/api/v1/models/wrong-manifest", "/v2/models/wrong-manifest"):
        assert troubled.get(path).status in (200, 404, 422, 503)


@pytest.mark.parametrize("how", ["symbolic", "hard"])
def test_c82_a_linked_file_is_never_loaded(troubled: Running, how: str) -> None:
    wait_for(lambda: state_of(troubled, f"{how}-link")[0] == "failed", "a verdict")
    assert "model.bin" in state_of(troubled, f"{how}-link")[1]


@pytest.mark.parametrize("factor", ["nan", "inf"])
def test_c87_outputs_that_are_no_numbers_are_flagged(troubled: Running, factor: str) -> None:
    name = f"answers-{factor}"
    wait_for(lambda: state_of(troubled, name)[0] == "ready", "a host")
    answer = troubled.predict(picture(), model=name)
    assert answer.status == 200
    assert b"NaN" not in answer.body
    (prediction,) = answer.json()["result"]["predictions"]
    assert prediction["label"] is None
    assert prediction["warning"]
    path = f"/api/v1/predictions/{answer.json()['id']}"
    wait_for(lambda: troubled.get(path).status == 200, "the row")
    assert troubled.get(path).json()["confidence"] is None


def test_c80_a_file_changed_on_disk_is_never_loaded(start_one: Start) -> None:
    appliance = start_one()
    for part in ("model.bin", "model.xml", "manifest.toml", "labels.txt"):
        path = appliance.state / "models" / "colour" / "1" / part
        before = path.read_bytes()
        path.write_bytes(before + b" ")
        refused = appliance.call("POST", "/v2/repository/models/colour/load")
        assert refused.status in (400, 422)
        assert part in refused.json()["error"]
        assert appliance.predict(picture()).status == 200
        assert appliance.is_ready()
        path.write_bytes(before)
    assert appliance.call("POST", "/v2/repository/models/colour/load").status == 200


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
