"""Real appliances: one that most tests share, and as many more as a test wants to hurt."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.running import Running, start
from tests.tiny_models import write_colour_model

Start = Callable[..., Running]


@pytest.fixture(scope="session")
def colour_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models directory with `colour` in one version, to be copied."""
    directory = tmp_path_factory.mktemp("library") / "models"
    write_colour_model(directory)
    return directory


@pytest.fixture(scope="session")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The appliance for every test that leaves it as it was; with the models that ship."""
    state = tmp_path_factory.mktemp("shared") / "state"
    write_colour_model(state / "models")
    write_colour_model(state / "models", version=2, factor=1.0)
    running = start(state, {"APPLIANCE_MODELS__STARTER": "true"})
    yield running
    process_id = running.process.pid
    alive = running.process.poll() is None
    running.kill()
    assert alive, f"process {process_id} ended during the tests:\n{running.log()[-4000:]}"


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A new directory whose path is short enough for Unix sockets in it."""
    directory = Path(tempfile.mkdtemp(prefix="ia-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def start_one(short_path: Path, colour_models: Path) -> Iterator[Start]:
    """Start appliances of this test's own, by default with the colour model; all are killed."""
    started: list[Running] = []

    def begin(
        state: Path | None = None, *, has_models: bool = True, **settings: object
    ) -> Running:
        place = state or short_path / "state"
        if has_models and not (place / "models").exists():
            shutil.copytree(colour_models, place / "models")
            os.chmod(place, 0o700)
        options = {k: settings.pop(k) for k in list(settings) if not k.isupper()}
        shaped = {f"APPLIANCE_{name}": str(value) for name, value in settings.items()}
        running = start(place, shaped, **options)  # type: ignore[arg-type]
        started.append(running)
        return running

    yield begin
    for running in started:
        if running.process.poll() is None:
            running.kill()
