"""Models come and go over HTTP: sent, watched, refused with the reason, removed."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import msgspec
import pytest

from appliance.actions.remove_model import ModelRemoval
from appliance.actions.version_views import VersionViews
from appliance.clock import ManualClock
from appliance.store.database import Database
from appliance.web.openapi import Route
from appliance.web.resources.model_imports import ModelImports
from tests.access_parts import opened
from tests.actions.examples import StubEngine, a_device, a_status
from tests.actions.import_examples import Library
from tests.tiny_formats import onnx_model
from tests.web.routed import Routed, a_file, form

PATH = "/api/v1/models"
WAIT = {"wait": "100"}
LABELS = ('Content-Disposition: form-data; name="labels"; filename="l.txt"', b"red\ngreen\nblue\n")


class Served:
    """The routes over a real library, and what calls them."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.library = Library(database, directory)
        self.library.library.start()
        engine: Any = StubEngine(a_status("step-detector", task="step-detection"))
        removal = ModelRemoval(
            engine, ManualClock(), database=database, models_directory=self.library.models
        )
        views = VersionViews(database, self.library.models)
        resource = ModelImports(engine, self.library.library, removal, views)
        self.routed = Routed(
            Route(PATH, resource),
            Route(PATH + "/inspect", resource, "inspect"),
            Route(PATH + "/{model}", resource, "model"),
            Route(PATH + "/{model}/versions/{version}", resource, "version"),
        )

    def post(
        self, body: bytes, path: str = "", headers: dict[str, str] | None = None, **query: str
    ) -> falcon.testing.Result:
        return self.routed.post(PATH + path, body, params=query, headers=headers or {})

    def delete(self, path: str) -> falcon.testing.Result:
        return self.routed.client.simulate_delete(PATH + path)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with opened(tmp_path / "state", ManualClock()) as database:
        served = Served(database, tmp_path)
        yield served
        served.library.library.stop()


def test_a_model_that_is_sent_becomes_ready(served: Served) -> None:
    begun = served.post(onnx_model(), name="m")
    assert begun.status_code == 202
    assert begun.json["state"] in ("importing", "validating")
    place = begun.headers["location"]
    assert place == f"{PATH}/m/versions/1"
    done = served.routed.get(place, params=WAIT).json
    assert (done["state"], done["is_active"]) == ("ready", False)
    assert done["manifest"]["task"] == "image-classification"


def test_who_waits_gets_the_end(served: Served) -> None:
    body, headers = form(a_file(onnx_model(), media="application/octet-stream"), LABELS)
    done = served.post(body, headers=headers, name="m", activate="true", scale="255", **WAIT)
    assert done.status_code == 201
    assert done.json["state"] == "ready"
    assert served.library.activated == [("m", 1)]
    assert done.json["manifest"]["inputs"][0]["scale"] == [255.0]


def test_a_failed_import_is_told_with_its_reason_and_stays_visible(served: Served) -> None:
    answer = served.post(onnx_model(operation="Frobnicate"), name="m", **WAIT)
    assert answer.status_code == 422
    assert "Frobnicate" in answer.json["detail"]
    told = served.routed.get(f"{PATH}/m/versions/1").json
    assert (told["state"], told["manifest"]) == ("failed", None)
    assert "Frobnicate" in told["reason"]
    described = served.routed.get(f"{PATH}/m").json
    assert (described["state"], described["versions"][0]["state"]) == ("failed", "failed")
    listed = served.routed.get(PATH).json["models"]
    assert [(one["name"], one["state"]) for one in listed] == [
        ("m", "failed"),
        ("step-detector", "ready"),
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"\x80\x02}q\x00.", 415),
        (b"version https://git-lfs.github.com/spec/v1\n", 415),
        (b"import os", 415),
    ],
)
def test_what_is_no_model_is_refused_at_once(served: Served, body: bytes, status: int) -> None:
    answer = served.post(body, name="m")
    assert answer.status_code == status
    assert served.routed.get(f"{PATH}/m").status_code == 404
    assert served.library.left_behind() == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 422),
        ({"name": "../m"}, 422),
        ({"name": "inspect"}, 422),
        ({"name": "m", "color": "rgb"}, 422),
        ({"name": "m", "sha256": "0" * 64}, 422),
        ({"name": "m", "weight": "1"}, 422),
    ],
)
def test_what_cannot_be_meant_is_refused(
    served: Served, query: dict[str, str], status: int
) -> None:
    assert served.post(onnx_model(), **query).status_code == status
    assert served.library.left_behind() == []


def test_the_announced_sum_is_checked(served: Served) -> None:
    digest = hashlib.sha256(onnx_model()).hexdigest()
    assert served.post(onnx_model(), name="m", sha256=digest, **WAIT).status_code == 201


def test_a_url_needs_a_listed_host(served: Served) -> None:
    body = msgspec.json.encode({"url": "https://h/m.onnx", "sha256": "0" * 64})
    headers = {"Content-Type": "application/json"}
    answer = served.post(body, headers=headers, name="m")
    assert answer.status_code == 403
    assert "models.url_hosts" in answer.json["detail"]
    answer = served.post(b'{"url": "file:///etc/passwd"}', headers=headers, name="m")
    assert answer.status_code == 422


def test_inspecting_shows_what_would_be_written(served: Served) -> None:
    answer = served.post(onnx_model(), "/inspect", title="Mine")
    assert answer.status_code == 200
    assert 'title = "Mine"' in answer.json["manifest"]
    assert served.routed.get(PATH).json["models"][0]["name"] == "step-detector"


def test_versions_are_removed(served: Served) -> None:
    served.post(onnx_model(operation="Frobnicate"), name="m", **WAIT)
    assert served.delete("/m/versions/1").status_code == 204
    assert served.delete("/m/versions/1").status_code == 404
    assert served.delete("/m/versions/x").status_code in (404, 422)


def test_scopes_hold(served: Served) -> None:
    served.routed.caller = a_device(models=("other",))
    assert served.post(onnx_model(), name="m").status_code == 403
    assert served.routed.get(f"{PATH}/m/versions/1").status_code == 403
    assert served.delete("/m/versions/1").status_code == 403


def test_a_version_that_is_not_there_is_not_found(served: Served) -> None:
    assert served.routed.get(f"{PATH}/m/versions/7", params=WAIT).status_code == 404
