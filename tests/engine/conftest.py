from collections.abc import Iterator

import pytest

from tests.engine.running import Running, running


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One engine for many tests, because a nursery takes a second to start.

    Each test brings a model of its own name and leaves the engine serving.
    """
    with running(tmp_path_factory.mktemp("engine")) as found:
        yield found
