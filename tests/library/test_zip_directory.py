"""A zip that cannot be used is refused by its directory alone, with the reason."""

import contextlib
import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InvalidInput, PayloadTooLarge, Problem
from appliance.library.zip_directory import check_zip

FILES = {"a.png": b"x" * 10, "below/b.png": b"y" * 3000, "below/": b""}


def packed(members: dict[str, bytes], *, comment: bytes = b"") -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
        archive.comment = comment
    return written.getvalue()


def checked(tmp_path: Path, content: bytes, most_files: int = 10) -> int:
    path = tmp_path / "sent"
    path.write_bytes(content)
    return check_zip(path, name="p.zip", most_files=most_files)


@pytest.mark.parametrize("comment", [b"", b"a comment", b"PK\x05", b"x" * 65_535])
def test_files_are_counted_without_folders(tmp_path: Path, comment: bytes) -> None:
    assert checked(tmp_path, packed(FILES, comment=comment)) == 2
    assert checked(tmp_path, b"#!/bin/sh in front" + packed(FILES, comment=comment)) == 2


def test_a_large_zip_has_a_directory_of_its_own_kind(tmp_path: Path) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for number in range(70_000):  # more than the old kind can count
            archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
    assert checked(tmp_path, written.getvalue(), most_files=70_000) == 70_000
    with pytest.raises(PayloadTooLarge, match=r"more than 69,999 files.*jobs\.members"):
        checked(tmp_path, written.getvalue(), most_files=69_999)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"no zip at all" * 100, packed(FILES)[:-30], packed(FILES)[30:-80]]
)
def test_what_is_no_zip_or_cut_off_is_damaged(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InvalidInput, match="damaged or no zip"):
        checked(tmp_path, content)


def test_a_directory_that_lies_about_its_size_is_damaged(tmp_path: Path) -> None:
    good = bytearray(packed(FILES))
    end = good.rfind(b"PK\x05\x06")
    (size,) = struct.unpack_from("<L", good, end + 12)
    for wrong in (size - 1, size + 1, 0xFFFF_FFFE):
        struct.pack_into("<L", good, end + 12, wrong)
        with pytest.raises(InvalidInput, match="damaged"):
            checked(tmp_path, bytes(good))


def test_an_empty_zip_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no files"):
        checked(tmp_path, packed({}))
    with pytest.raises(InvalidInput, match="holds no files"):
        checked(tmp_path, packed({"folder/": b""}))


def test_encrypted_files_are_refused(tmp_path: Path) -> None:
    content = bytearray(packed({"a.png": b"x"}))
    at = content.find(b"PK\x01\x02")
    content[at + 8] |= 1
    with pytest.raises(InvalidInput, match=r"'a\.png'.*encrypted.*without a password"):
        checked(tmp_path, bytes(content))


@pytest.mark.parametrize("name", ["more.zip", "below/MORE.TAR", "x.tar.gz", "x.7z", "x.rar"])
def test_archives_inside_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="an archive itself"):
        checked(tmp_path, packed({"a.png": b"x", name: b"x"}))


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 60))
def test_whatever_is_sent_is_counted_or_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, position: int, cut: int
) -> None:
    good = packed(FILES)
    content = good[:position] + noise + good[position + len(noise) : len(good) - cut]
    with contextlib.suppress(Problem):
        assert checked(tmp_path_factory.mktemp("z"), content) >= 1
