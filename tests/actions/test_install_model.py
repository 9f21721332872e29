"""An import is taken in durably, ends as ready or failed, and leaves nothing else behind."""

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.actions.import_work import FAILED, IMPORTING, READY
from appliance.clock import ManualClock
from appliance.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    ModelInvalid,
    NotFound,
    Overloaded,
    ShuttingDown,
    UnsupportedMedia,
)
from appliance.library.import_request import ImportRequest
from appliance.library.versions import installed_versions
from appliance.store import audit, models
from appliance.store.database import Database
from tests.access_parts import opened
from tests.actions.examples import ADMIN, a_device
from tests.actions.import_examples import Library
from tests.tiny_formats import onnx_model
from tests.tiny_models import write_colour_model

LABELS = b"red\ngreen\nblue\n"
GOOD = {"m.onnx": onnx_model(), "labels.txt": LABELS}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "state", ManualClock()) as database:
        yield database


@pytest.fixture
def library(database: Database, tmp_path: Path) -> Iterator[Library]:
    library = Library(database, tmp_path)
    library.library.start()
    yield library
    library.library.stop()


def test_an_import_becomes_ready_and_is_audited(library: Library, database: Database) -> None:
    begun = library.send(GOOD)
    assert (begun.state, begun.version) == (IMPORTING, 1)
    done = library.library.wait("m", 1, seconds=100)
    assert (done.state, done.reason) == (READY, "")
    assert done.size_bytes > 0
    assert len(done.sha256) == 64
    assert [place.version for place in installed_versions(library.models)] == [1]
    actions = [row.action for row in audit.rows(database, before_sequence=None, limit=10)]
    assert actions == ["model.ready", "model.import"]
    assert library.left_behind() == []
    assert library.activated == []


def test_a_failed_import_says_why_and_leaves_nothing(library: Library) -> None:
    done = library.install({"m.onnx": onnx_model(operation="Frobnicate")})
    assert done.state == FAILED
    assert "Frobnicate" in done.reason
    assert installed_versions(library.models) == []
    assert library.left_behind() == []


def test_the_number_of_a_failed_version_is_given_again_on_demand(library: Library) -> None:
    library.install({"m.onnx": onnx_model(operation="Frobnicate")})
    assert library.install(GOOD, version=1).state == READY
    with pytest.raises(Conflict, match="exists"):
        library.send(GOOD, version=1)
    assert library.left_behind() == []


def test_the_next_free_number_is_taken(library: Library) -> None:
    write_colour_model(library.models, name="m", version=6)
    assert library.library.next_version("m") == 7
    assert library.install(GOOD).version == 7
    assert library.library.next_version("m") == 8


def test_one_of_two_imports_of_the_same_version_is_refused(library: Library) -> None:
    """C-88: same name and version twice at once."""
    outcomes: list[str] = []

    def send() -> None:
        try:
            outcomes.append(library.install(GOOD, version=3).state)
        except Conflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict", READY]
    assert [place.version for place in installed_versions(library.models)] == [3]


def test_what_is_seen_to_be_no_model_is_refused_at_once(library: Library) -> None:
    with pytest.raises(UnsupportedMedia, match="PyTorch"):
        library.send({"m.pt": b"\x80\x02}q\x00."})
    assert models.versions(library.database) == ()
    assert library.left_behind() == []


def test_a_key_for_other_models_may_not_import(library: Library) -> None:
    request = msgspec.convert({"name": "m"}, ImportRequest)
    with pytest.raises(Forbidden):
        library.library.accept(a_device(models=("other",)), library.received(GOOD), request)
    assert library.left_behind() == []


def test_activation_comes_after_the_proof(library: Library) -> None:
    assert library.install(GOOD, activate=True).state == READY
    assert library.activated == [("m", 1)]


def test_an_activation_that_fails_is_told_and_the_version_stays(
    database: Database, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise ModelInvalid("no room")

    library = Library(database, tmp_path, activate=refuse)
    library.library.start()
    try:
        done = library.install(GOOD, activate=True)
    finally:
        library.library.stop()
    assert done.state == READY
    assert "not activated: no room" in done.reason


def test_a_version_is_activating_until_it_answers(database: Database, tmp_path: Path) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slowly(*_: object) -> None:
        entered.set()
        go_on.wait(100)

    library = Library(database, tmp_path, activate=slowly)
    library.library.start()
    try:
        library.send(GOOD, activate=True)
        assert entered.wait(100)
        assert library.library.is_activating("m", 1)
        assert library.library.wait("m", 1, seconds=0.05).state == READY
        go_on.set()
        library.library.wait("m", 1, seconds=100)
        assert not library.library.is_activating("m", 1)
    finally:
        go_on.set()
        library.library.stop()


def test_inspecting_keeps_nothing(library: Library) -> None:
    request = msgspec.convert({"name": "m"}, ImportRequest)
    found = library.library.inspect(library.received(GOOD), request)
    assert (found.format, found.task, found.labels) == (
        "onnx",
        "image-classification",
        {"labels.txt": 3},
    )
    assert found.inputs[0].shape == (1, 3, 8, 8)
    assert models.versions(library.database) == ()
    assert library.left_behind() == []
    with pytest.raises(InvalidInput, match="empty"):
        library.library.inspect(library.received({"m": b""}), request)


def test_a_folder_of_a_job_becomes_the_next_version_once(library: Library, tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "made", name="whatever", version=9)
    done = library.library.install_folder(place.directory, model="m", actor="job", token="j1")
    again = library.library.install_folder(place.directory, model="m", actor="job", token="j1")
    assert (done.name, done.version, done.state) == ("m", 1, READY)
    assert again == done
    assert library.activated == []
    (library.models / "m" / "1" / "golden" / "red.png").stat()


def test_a_folder_that_is_no_version_fails(library: Library, tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "made", golden_label="green")
    with pytest.raises(ModelInvalid, match="golden"):
        library.library.install_folder(place.directory, model="m", actor="job")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelInvalid, match=r"manifest\.toml"):
        library.library.install_folder(tmp_path / "empty", model="m", actor="job")
    assert library.left_behind() == []
    states = [row.state for row in models.versions(library.database, "m")]
    assert states == [FAILED, FAILED]


def test_waiting_for_nothing_is_not_found(library: Library) -> None:
    with pytest.raises(NotFound):
        library.library.wait("m", 1, seconds=1)


def test_a_restart_goes_on_with_what_was_accepted(database: Database, tmp_path: Path) -> None:
    """C-52, after the answer: what was accepted is there after a restart, once."""
    before = Library(database, tmp_path)
    before.send(GOOD, activate=True)  # its thread was never started: the appliance was killed
    after = Library(database, tmp_path)
    after.library.start()
    try:
        done = after.library.wait("m", 1, seconds=100)
    finally:
        after.library.stop()
    assert done.state == READY
    assert after.activated == [("m", 1)]
    assert after.left_behind() == []


def test_a_restart_deletes_what_was_never_accepted(database: Database, tmp_path: Path) -> None:
    """C-52, before the answer: nothing is listed and the bytes are gone."""
    before = Library(database, tmp_path)
    before.received({"m.onnx": onnx_model()[:100]})
    models.begin_version(database, "m", None, state=IMPORTING, at_seconds=0)
    after = Library(database, tmp_path)
    after.library.start()
    after.library.stop()
    assert after.left_behind() == []
    row = models.get_version(database, "m", 1)
    assert row is not None
    assert row.state == FAILED
    assert "Send it again" in row.reason


def test_an_import_that_keeps_ending_the_appliance_is_given_up(
    database: Database, tmp_path: Path
) -> None:
    before = Library(database, tmp_path)
    before.send(GOOD)
    (directory,) = (before.models / ".incoming").iterdir()
    order = directory / "order.json"
    content = msgspec.json.decode(order.read_bytes())
    order.write_bytes(msgspec.json.encode({**content, "begun": 3}))
    after = Library(database, tmp_path)
    after.library.start()
    try:
        done = after.library.wait("m", 1, seconds=100)
    finally:
        after.library.stop()
    assert done.state == FAILED
    assert "3 times" in done.reason


def test_too_many_waiting_imports_are_refused(database: Database, tmp_path: Path) -> None:
    library = Library(database, tmp_path)  # not started: nothing leaves the line
    for _ in range(16):
        library.send(GOOD)
    with pytest.raises(Overloaded):
        library.library.receive()


def test_who_waits_is_told_of_the_stop(database: Database, tmp_path: Path) -> None:
    library = Library(database, tmp_path)
    library.send(GOOD)
    library.library.stop()
    with pytest.raises(ShuttingDown):
        library.library.wait("m", 1, seconds=100)


def test_a_url_is_checked_before_anything_is_kept(library: Library) -> None:
    request = msgspec.convert({"name": "m", "sha256": "0" * 64}, ImportRequest)
    with pytest.raises(Forbidden, match="url_hosts"):
        library.library.accept(
            ADMIN, library.library.receive(), request, url="https://example.com/m.onnx"
        )
    assert library.left_behind() == []
