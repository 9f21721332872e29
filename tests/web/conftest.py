"""Fixtures of the tests that speak HTTP over real sockets."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.web.serving import Serving


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """Start servers that are stopped at the end; check that they left nothing in the spool."""
    started: list[Serving] = []

    def start(**settings: object) -> Serving:
        serving = Serving(tmp_path / f"spool-{len(started)}", **settings)  # type: ignore[arg-type]
        started.append(serving)
        return serving

    yield start
    for serving in started:
        if serving.thread.is_alive():
            serving.stop()
        assert list(serving.spool_dir.iterdir()) == []
        assert serving.server.connections().spooled_bytes == 0


@pytest.fixture
def serving(serve: Callable[..., Serving]) -> Serving:
    """A server with the default settings."""
    return serve()
