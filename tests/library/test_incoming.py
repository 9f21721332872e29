"""A model on its way is durable once it is accepted, and moves into the library whole."""

import hashlib
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InvalidInput, PayloadTooLarge
from appliance.library.import_request import ImportRequest
from appliance.library.incoming import Incoming, Order, publish, safe_name, waiting, withdraw
from appliance.library.versions import installed_versions
from tests.tiny_models import write_colour_model


def an_order(**more: object) -> Order:
    request = msgspec.convert({"name": "m"}, ImportRequest)
    return Order(request=request, version=3, key_name="k", address="", **more)  # type: ignore[arg-type]


def test_files_are_kept_under_harmless_names_with_their_sums(tmp_path: Path) -> None:
    incoming = Incoming.create(tmp_path)
    digest = incoming.write("../../etc/pass wd", [b"ab", b"c"], most_bytes=10)
    assert digest == hashlib.sha256(b"abc").hexdigest()
    assert [path.name for path in incoming.files.iterdir()] == ["pass_wd"]


def test_more_bytes_than_allowed_are_refused(tmp_path: Path) -> None:
    incoming = Incoming.create(tmp_path)
    incoming.write("a", [b"x" * 6], most_bytes=10)
    with pytest.raises(PayloadTooLarge, match="10 bytes"):
        incoming.write("b", [b"x" * 3, b"x" * 3], most_bytes=10)


def test_one_name_twice_and_too_many_files_are_refused(tmp_path: Path) -> None:
    incoming = Incoming.create(tmp_path)
    incoming.write("a", [b""], most_bytes=10)
    with pytest.raises(InvalidInput, match="Two files"):
        incoming.write("x/a", [b""], most_bytes=10)
    for number in range(31):
        incoming.write(f"f{number}", [b""], most_bytes=10)
    with pytest.raises(InvalidInput, match="at most"):
        incoming.write("one more", [b""], most_bytes=10)


def test_what_was_accepted_waits_and_the_rest_is_deleted(tmp_path: Path) -> None:
    first, second = Incoming.create(tmp_path), Incoming.create(tmp_path)
    second.write("model.onnx", [b"x"], most_bytes=10)
    second.accept(an_order())
    (first.directory / "order.json.part").write_bytes(b"{}")
    broken = Incoming.create(tmp_path)
    (broken.directory / "order.json").write_bytes(b"{")
    found = waiting(tmp_path)
    assert [one.directory for one in found] == [second.directory]
    assert found[0].order() == an_order()
    assert sorted(os.listdir(tmp_path / ".incoming")) == [second.directory.name]


def test_an_attempt_starts_over_with_the_files_alone(tmp_path: Path) -> None:
    incoming, order = Incoming.create(tmp_path), an_order()
    incoming.write("model.onnx", [b"x"], most_bytes=10)
    incoming.start_over(order)
    (incoming.work / "half").write_bytes(b"")
    incoming.target(order).mkdir(parents=True)
    incoming.start_over(order)
    assert list(incoming.work.iterdir()) == []
    assert not incoming.target(order).exists()
    assert (incoming.files / "model.onnx").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["files", "work", "order.json", "order.json.part"])
def test_a_model_may_be_called_like_one_of_our_own_files(tmp_path: Path, name: str) -> None:
    incoming, order = Incoming.create(tmp_path), an_order()
    order = msgspec.structs.replace(order, request=msgspec.convert({"name": name}, ImportRequest))
    incoming.write("model.onnx", [b"x"], most_bytes=10)
    incoming.accept(order)
    incoming.target(order).mkdir(parents=True)
    incoming.start_over(order)
    assert not incoming.target(order).exists()
    assert incoming.order() == order
    assert [path.name for path in incoming.files.iterdir()] == ["model.onnx"]


def test_a_version_moves_into_the_library_whole_and_read_only(tmp_path: Path) -> None:
    library = tmp_path / "models"
    place = write_colour_model(library / ".incoming" / "1", name="m", version=3)
    assert installed_versions(library) == []
    moved = publish(place.directory, library)
    assert installed_versions(library) == [moved]
    modes = {path.stat().st_mode & 0o777 for path in moved.directory.rglob("*") if path.is_file()}
    assert modes == {0o440}
    again = write_colour_model(library / ".incoming" / "2", name="m", version=3)
    with pytest.raises(FileExistsError):
        publish(again.directory, library)


def test_a_version_is_taken_away_with_its_empty_model(tmp_path: Path) -> None:
    for version in (1, 2):
        write_colour_model(tmp_path, version=version)
    withdraw(tmp_path, "colour", 1)
    assert [place.version for place in installed_versions(tmp_path)] == [2]
    withdraw(tmp_path, "colour", 2)
    withdraw(tmp_path, "colour", 2)
    assert not (tmp_path / "colour").exists()
    assert list((tmp_path / ".incoming").iterdir()) == []


@given(st.text(max_size=300))
def test_any_name_is_harmless(name: str) -> None:
    safe = safe_name(name)
    assert safe
    assert "/" not in safe
    assert not safe.startswith(".")
    assert len(safe.encode()) <= 100
