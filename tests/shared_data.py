"""Real models and pictures beside the project; tests that need one are skipped without it."""

from pathlib import Path

import pytest

_DIRECTORY = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_file(name: str) -> Path:
    """Return a file of ../shared/data, or skip the test, saying so, where it is absent."""
    path = _DIRECTORY / name
    if not path.is_file():
        pytest.skip(f"../shared/data/{name} is not here")
    return path
