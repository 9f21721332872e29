"""The reload over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import config_file
from appliance.actions.reload import Reload
from appliance.clock import ManualClock
from appliance.config import Config
from appliance.web.openapi import Route
from appliance.web.operation import Access, operation_of
from appliance.web.resources.settings import ReloadResource
from tests.access_parts import opened
from tests.web.routed import Routed

PATH = "/api/v1/settings/reload"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text("")
    return path


@pytest.fixture
def served(tmp_path: Path, file: Path) -> Iterator[Routed]:
    with opened(tmp_path / "state", ManualClock()) as database:
        reload = Reload(
            Config(),
            database,
            ManualClock(),
            read=lambda: config_file.load_with_sources(file, {}),
        )
        yield Routed(Route(PATH, ReloadResource(reload)))


def test_what_changed_and_what_waits_is_answered(served: Routed, file: Path) -> None:
    file.write_text("[access]\nburst = 7\n[http]\nport = 9999\n")
    assert served.post(PATH).json == {"changed": ["access.burst"], "needs_restart": ["http.port"]}


def test_a_faulty_file_is_the_callers_problem_with_every_fault(served: Routed, file: Path) -> None:
    file.write_text("[access]\nbrst = 7\n[http]\nport = 'x'\n")
    answer = served.post(PATH)
    assert answer.status_code == 422
    assert "brst" in answer.json["detail"]
    assert "http.port" in answer.json["detail"]


def test_only_an_admin_may() -> None:
    described = operation_of(ReloadResource, "POST", None)
    assert described is not None
    assert described.access is Access.ADMIN
