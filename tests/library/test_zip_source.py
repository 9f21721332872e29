"""An archive is unpacked within its caps, and nothing in it leads outside."""

import contextlib
import io
import stat
import struct
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InvalidInput, PayloadTooLarge, Problem
from appliance.library.zip_source import Caps, unpack
from tests.tiny_formats import zipped

CAPS = Caps(total_bytes=8 << 20)


def unpacked(directory: Path, content: bytes, caps: Caps = CAPS) -> dict[str, bytes]:
    archive, inside = directory / "a.zip", directory / "inside"
    archive.write_bytes(content)
    inside.mkdir()
    unpack(archive, inside, caps)
    return {
        path.relative_to(inside).as_posix(): path.read_bytes()
        for path in inside.rglob("*")
        if path.is_file()
    }


def entry(name: str, mode: int = 0, content: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        described = zipfile.ZipInfo(name)
        described.filename = name
        described.external_attr = mode << 16
        archive.writestr(described, content)
    return buffer.getvalue()


def test_files_come_out_as_they_went_in(tmp_path: Path) -> None:
    files = {"m/model.xml": b"<net/>", "m/model.bin": b"\x00" * 1000, "labels.txt": b"a\n"}
    assert unpacked(tmp_path, zipped(files)) == files


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/etc/passwd",
        "C:\\evil",
        "..\\evil",
        "a/./b\x07",
        "x" * 300,
        "/".join("abcdefghij"),
        "",
    ],
)
def test_a_name_that_may_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        unpacked(tmp_path, entry(name))
    assert list((tmp_path / "inside").rglob("*")) == []


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    with pytest.raises(InvalidInput, match="link"):
        unpacked(tmp_path, entry("model.bin", kind | 0o777, b"/etc/passwd"))


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.xml", b"a")
        archive.writestr("Model.xml", b"b")
    with pytest.raises(InvalidInput, match="twice"):
        unpacked(tmp_path, buffer.getvalue())


def test_too_many_entries_are_refused_at_once(tmp_path: Path) -> None:
    content = zipped({f"f{number}": b"" for number in range(10_000)})
    began = time.monotonic()
    with pytest.raises(PayloadTooLarge, match="10,000"):
        unpacked(tmp_path, content)
    assert time.monotonic() - began < 10  # a hang guard; it takes a tenth of a second


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path) -> None:
    content = zipped({"model.bin": bytes(50 << 20)})
    assert len(content) < 60_000
    with pytest.raises(PayloadTooLarge, match="100 times"):
        unpacked(tmp_path, content, Caps(total_bytes=1 << 30))
    written = sum(path.stat().st_size for path in (tmp_path / "inside").rglob("*"))
    assert written <= 100 * len(content) + (1 << 20)


def test_the_bytes_of_all_files_together_are_capped(tmp_path: Path) -> None:
    files = {f"f{number}": bytes(900_000) for number in range(4)}
    with pytest.raises(PayloadTooLarge, match="import_bytes"):
        unpacked(tmp_path, zipped(files), Caps(total_bytes=3_000_000))


def test_a_size_that_lies_does_not_help(tmp_path: Path) -> None:
    content = bytearray(zipped({"model.bin": bytes(3 << 20)}))
    central = content.index(b"PK\x01\x02")
    content[central + 24 : central + 28] = struct.pack("<I", 10)  # the size after unpacking
    content[22:26] = struct.pack("<I", 10)
    with pytest.raises(Problem):
        unpacked(tmp_path, bytes(content), Caps(total_bytes=1 << 20))
    assert sum(path.stat().st_size for path in (tmp_path / "inside").rglob("*")) <= 1 << 20


@pytest.mark.parametrize("inner", [zipped({"a": b"b"}), b"\x1f\x8b\x08", b"BZh9", b"Rar!"])
def test_an_archive_inside_is_not_opened(tmp_path: Path, inner: bytes) -> None:
    with pytest.raises(InvalidInput, match="archive itself"):
        unpacked(tmp_path, zipped({"inner": inner}))


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"model.bin": b"x"}))
    central = content.index(b"PK\x01\x02")
    content[central + 8] |= 1
    with pytest.raises(InvalidInput, match="password"):
        unpacked(tmp_path, bytes(content))


def test_unusual_ways_of_packing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="unusual"):
        unpacked(tmp_path, zipped({"model.bin": b"x"}, method=zipfile.ZIP_LZMA))


@given(st.integers(0, 5000), st.binary(min_size=1, max_size=6))
def test_a_damaged_archive_is_unpacked_or_refused(place: int, junk: bytes) -> None:
    import tempfile

    content = bytearray(zipped({"model.xml": b"<net/>" * 50, "sub/model.bin": bytes(500)}))
    place %= len(content)
    content[place : place + len(junk)] = junk
    with tempfile.TemporaryDirectory() as directory:
        status, found = 0, {}
        try:
            found = unpacked(Path(directory), bytes(content), Caps(total_bytes=1 << 20))
        except Problem as problem:
            status = problem.status
        assert status in (0, 413, 415, 422)
        assert sum(map(len, found.values())) <= 1 << 20
        outside = {path.name for path in Path(directory).iterdir()}
        assert outside == {"a.zip", "inside"}


@given(st.lists(st.tuples(st.text(max_size=12), st.binary(max_size=20)), max_size=5))
def test_no_name_leads_outside(files: list[tuple[str, bytes]]) -> None:
    import tempfile
    import warnings

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name or "x"), content)
    with tempfile.TemporaryDirectory() as directory:
        with contextlib.suppress(Problem):
            unpacked(Path(directory), buffer.getvalue())
        assert {path.name for path in Path(directory).iterdir()} == {"a.zip", "inside"}
