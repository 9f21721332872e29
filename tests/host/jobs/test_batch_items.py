"""The inputs of a batch: whatever one of them is, the others are read."""

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.errors import InvalidInput, PayloadTooLarge, Problem, UnsupportedMedia
from appliance.host.jobs.batch_items import Item, count_items, is_zip, items, type_of
from appliance.host.jobs.contract import InputLimits, JobInput

LIMITS = InputLimits(members=10, file_bytes=2_000_000)


def an_input(directory: Path, body: bytes, kind: str, name: str = "sent") -> JobInput:
    path = directory / "0001"
    path.write_bytes(body)
    return JobInput(name=name, content_type=kind, path=str(path))


def a_zip(
    *members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED
) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, body in members:
            archive.writestr(name, body)
    return packed.getvalue()


def read(one: JobInput, limits: InputLimits = LIMITS) -> list[Item]:
    found = list(items([one], limits))
    assert count_items([one], limits) == len(found)
    return found


def problem_of(item: Item) -> Problem:
    assert item.problem is not None
    return item.problem


def test_a_file_is_one_item_of_the_type_it_was_sent_with(tmp_path: Path) -> None:
    assert read(an_input(tmp_path, b"abc", "image/png", "a.png")) == [
        Item("a.png", "image/png", b"abc")
    ]


def test_members_of_a_zip_are_items_and_folders_are_none(tmp_path: Path) -> None:
    packed = a_zip(("a/", b""), ("a/1.JPG", b"x"), ("notes.txt", b"hello"), ("other", b"?"))
    found = read(an_input(tmp_path, packed, "application/zip"))
    assert found == [
        Item("a/1.JPG", "image/jpeg", b"x"),
        Item("notes.txt", "text/plain", b"hello"),
        Item("other", "application/octet-stream", b"?"),
    ]


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "a\\b"])
def test_a_member_that_leads_elsewhere_is_a_problem_of_its_own(tmp_path: Path, name: str) -> None:
    member = zipfile.ZipInfo(name)
    member.filename = name  # the constructor itself cleans it
    found = read(an_input(tmp_path, a_zip((member, b"x"), ("b", b"y")), "application/zip"))
    assert isinstance(problem_of(found[0]), InvalidInput)
    assert found[1].body == b"y"


def test_links_repetitions_and_bombs_are_problems_of_their_own(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with pytest.warns(UserWarning, match="Duplicate"):
        packed = a_zip(
            (link, b"/etc/passwd"),
            ("twice", b"a"),
            ("twice", b"b"),
            ("bomb", bytes(1_900_000)),
            ("large", bytes(2_000_001)),
            ("good", b"g"),
            method=zipfile.ZIP_DEFLATED,
        )
    found = {item.name: item for item in read(an_input(tmp_path, packed, "application/zip"))}
    assert "link" in problem_of(found["link"]).detail
    assert "twice" in problem_of(found["twice"]).detail
    assert isinstance(problem_of(found["bomb"]), PayloadTooLarge)
    assert isinstance(problem_of(found["large"]), PayloadTooLarge)
    assert found["good"].body == b"g"


def test_an_unusual_method_and_a_damaged_member_are_problems_of_their_own(tmp_path: Path) -> None:
    strange = read(
        an_input(tmp_path, a_zip(("a", b"x"), method=zipfile.ZIP_LZMA), "application/zip")
    )
    assert isinstance(problem_of(strange[0]), UnsupportedMedia)
    packed = bytearray(a_zip(("a", b"hello"), ("b", b"y")))
    packed[packed.index(b"hello")] ^= 1  # its sum is wrong now
    found = read(an_input(tmp_path, bytes(packed), "application/zip"))
    assert "damaged" in problem_of(found[0]).detail
    assert found[1].body == b"y"


def test_a_zip_that_is_none_and_one_with_too_much_in_it_end_the_job(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="damaged"):
        count_items([an_input(tmp_path, b"PK no", "application/zip")], LIMITS)
    many = a_zip(*((f"{n}", b"") for n in range(11)))
    with pytest.raises(PayloadTooLarge, match=r"jobs\.members"):
        count_items([an_input(tmp_path, many, "application/zip")], LIMITS)


def test_lines_are_texts_or_json_and_a_bad_one_is_a_problem_of_its_own(tmp_path: Path) -> None:
    body = b'"hello"\n\n{"text":"b"}\n{nope\n' + b'"' + b"x" * (1 << 20) + b'"\n"last"'
    found = read(an_input(tmp_path, body, "application/jsonl"))
    assert found[0] == Item("line 1", "text/plain", b"hello")
    assert found[1] == Item("line 3", "application/json", b'{"text":"b"}')
    assert isinstance(problem_of(found[2]), InvalidInput)
    assert isinstance(problem_of(found[3]), PayloadTooLarge)
    assert found[4].body == b"last"


def test_types_go_by_the_end_of_the_name() -> None:
    assert type_of("A.PNG") == "image/png"
    assert type_of("a.exe") == "application/octet-stream"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=st.binary(max_size=300),
    kind=st.sampled_from(["application/zip", "application/jsonl", "image/png"]),
    flips=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
)
def test_no_bytes_do_anything_but_items_and_problems(
    tmp_path: Path, body: bytes, kind: str, flips: list[tuple[int, int]]
) -> None:
    packed = bytearray(a_zip(("a", body), ("b", b"y"), method=zipfile.ZIP_DEFLATED))
    for position, value in flips:
        packed[position % len(packed)] = value
    for whole in (body, bytes(packed)):
        one = an_input(tmp_path, whole, kind)
        try:
            count_items([one], LIMITS)
        except Problem:
            continue
        for item in items([one], LIMITS):
            assert item.problem is not None or isinstance(item.body, bytes)


def test_a_member_without_a_name_is_an_item_like_others(tmp_path: Path) -> None:
    packed = a_zip(("a", b"x"), ("bb", b"y"))
    nameless = bytearray(packed)
    at = nameless.find(b"PK\x01\x02")
    nameless[at + 28 : at + 30] = b"\0\0"  # the name's length; the rest of it is no longer read
    nameless[at + 30 : at + 32] = b"\1\0"  # as what an extra field is
    found = read(an_input(tmp_path, bytes(nameless), "application/zip"))
    assert [item.name for item in found] == ["unnamed", "bb"]


def test_a_zip_is_known_by_its_name_too() -> None:
    assert is_zip("a", "application/zip")
    assert is_zip("A.ZIP", "application/octet-stream")
    assert not is_zip("a.png", "image/png")
