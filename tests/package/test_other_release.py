"""A backup made on Debian 12 is restored on an empty machine of another release."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package.machine import Machine, Unbootable
from tests.package.test_service_life import PREDICT, STATE
from tests.tiny_models import picture, write_colour_model

MADE_ON = "bookworm"
#: With the default of scripts/test-package, the newest Debian; with --all, each of the others.
SUITE = os.environ.get("APPLIANCE_PACKAGE_SUITE", MADE_ON)
RESTORED_ON = "trixie" if SUITE == MADE_ON else SUITE


class Saved:
    """A backup that left its machine, and what that machine knew."""

    def __init__(self, file: Path, key: str, predictions: list[str]) -> None:
        self.file = file
        self.key = key
        self.predictions = predictions


def booted(directory: Path, suite: str, package: Path) -> Machine:
    """Return a machine of a release on which the appliance was installed and is ready."""
    machine = Machine(directory, suite)
    try:
        machine.boot()
        machine.install(package)
        machine.wait_until_active()
    except BaseException:
        machine.stop()
        raise
    return machine


def asked(machine: Machine, path: str, key: str) -> dict[str, object]:
    said = machine.say(f'curl -sS -H "X-API-Key: {key}" "http://localhost:8080{path}"')
    found: dict[str, object] = json.loads(said)
    return found


def ids(machine: Machine, key: str) -> list[str]:
    rows = asked(machine, "/api/v1/predictions?limit=1000", key)["predictions"]
    assert isinstance(rows, list)
    return sorted(row["id"] for row in rows)


@pytest.fixture(scope="module")
def saved(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A backup with models of a Debian 12 that has a key, a history, a model and a setting."""
    place = tmp_path_factory.mktemp("first")
    try:
        machine = booted(place, MADE_ON, package)
    except Unbootable as fault:
        pytest.skip(f"no machine can be booted here: {fault}")
    try:
        model = write_colour_model(machine.root / "root" / "models")
        machine.say(
            f"appliance model install --name colour --activate /root/models/colour/{model.version}"
        )
        machine.run(
            "printf '[limits]\\nwaiting = 61\\n' > /etc/inference-appliance/conf.d/mine.toml"
        )
        machine.run("systemctl restart inference-appliance")
        for _ in range(3):
            machine.say(PREDICT)
        key = machine.say(f"cat {STATE}/admin-key")
        made = machine.say("appliance backup --with-models --json")
        name = Path(json.loads(made)["path"])
        file = place / name.name
        shutil.copy(machine.root / name.relative_to("/"), file)
        return Saved(file, key, ids(machine, key))
    finally:
        machine.stop()


@pytest.fixture(scope="module")
def other(
    saved: Saved, package: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """An empty machine of another release on which that backup was restored."""
    try:
        machine = booted(tmp_path_factory.mktemp("other"), RESTORED_ON, package)
    except Unbootable as fault:
        pytest.skip(f"no machine can be booted here: {fault}")
    try:
        # As scp leaves it: only root may read it.
        brought = machine.root / "root" / saved.file.name
        shutil.copy(saved.file, brought)
        brought.chmod(0o600)
        said = machine.say(f"appliance restore /root/{saved.file.name} 2>&1")
        assert "Restored from" in said
        yield machine
    finally:
        machine.stop()


def test_it_is_another_release(other: Machine) -> None:
    assert f"VERSION_CODENAME={RESTORED_ON}" in (other.root / "etc/os-release").read_text()
    assert RESTORED_ON != MADE_ON


def test_the_keys_and_the_history_are_there(other: Machine, saved: Saved) -> None:
    assert saved.predictions
    assert ids(other, saved.key) == saved.predictions


def test_the_models_are_there_and_answer(other: Machine, saved: Saved) -> None:
    (other.root / "root" / "red.png").write_bytes(picture())
    said = other.say(
        f'curl -sS -H "X-API-Key: {saved.key}" -H "Content-Type: image/png"'
        " --data-binary @/root/red.png http://localhost:8080/api/v1/models/colour/predict"
    )
    answer = json.loads(said)
    assert answer["recorded"] is True
    assert answer["result"]["predictions"][0]["label"] == "red"


def test_the_configuration_is_there_to_be_taken_over(other: Machine) -> None:
    saved = f"{STATE}/config-from-backup.toml"
    assert "waiting = 61" in other.say(f"cat {saved}")
    assert "waiting = 61" not in other.say("appliance config show")
    other.run(f"install -m 0644 {saved} /etc/inference-appliance/conf.d/50-from-backup.toml")
    assert "waiting = 61" in other.say("appliance config show")
    other.run("systemctl restart inference-appliance")
    assert other.unit("ActiveState") == "active"


def test_it_is_sound_on_its_own_from_now_on(other: Machine) -> None:
    assert other.run("appliance audit verify", is_checked=False).returncode == 0
    other.run("systemctl start inference-appliance-backup.service")
    other.run("systemctl start inference-appliance-verify.service")
    drill = json.loads(other.say(f"cat {STATE}/drill.json"))
    assert drill["is_success"] is True, drill
    other.boot_again()
    other.wait_until_active()
