"""An input is the body itself or the only file of a form, and never larger than the limit."""

import falcon
import falcon.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import (
    InvalidInput,
    MalformedRequest,
    PayloadTooLarge,
    Problem,
    UnsupportedMedia,
)
from appliance.web import uploads
from tests.web.routed import a_file, form

MOST = 1000
MEBIBYTE = 1024 * 1024


def asked(body: bytes, headers: dict[str, str] | None = None) -> falcon.Request:
    return falcon.Request(falcon.testing.create_environ(method="POST", body=body, headers=headers))


def test_a_plain_body_is_the_input() -> None:
    found = uploads.read_input(asked(b"bytes", {"Content-Type": "image/png"}), most_bytes=MOST)
    assert found == uploads.Upload(b"bytes", "image/png")


def test_the_file_of_a_form_is_the_input() -> None:
    found = uploads.read_input(asked(*form(a_file(b"bytes"))), most_bytes=MOST)
    assert found == uploads.Upload(b"bytes", "image/png", "p.png")


@pytest.mark.parametrize(
    ("text", "essence"),
    [
        ("IMAGE/JPEG", "image/jpeg"),
        ("text/csv; charset=utf-8", "text/csv"),
        (" image/png ", "image/png"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_media_type_is_compared_without_case_and_parameters(
    text: str | None, essence: str
) -> None:
    assert uploads.media_type(text) == essence


@pytest.mark.parametrize("text", ["image", "image/png/x", "bild/ä"])
def test_what_is_no_media_type_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedMedia, match="image/jpeg"):
        uploads.media_type(text)


def test_the_limit_is_the_largest_input_that_is_taken() -> None:
    headers = {"Content-Type": "image/png"}
    assert len(uploads.read_input(asked(b"x" * MOST, headers), most_bytes=MOST).body) == MOST
    with pytest.raises(PayloadTooLarge, match=r"1,000 bytes \(limits.input_bytes\)"):
        uploads.read_input(asked(b"x" * (MOST + 1), headers), most_bytes=MOST)


def test_the_limit_of_a_form_counts_the_file_not_what_is_around_it() -> None:
    body, headers = form(a_file(b"x" * MOST))
    assert len(body) > MOST
    assert len(uploads.read_input(asked(body, headers), most_bytes=MOST).body) == MOST
    with pytest.raises(PayloadTooLarge):
        uploads.read_input(asked(*form(a_file(b"x" * (MOST + 1)))), most_bytes=MOST)


class Untouchable:
    """A body that must not be read."""

    def read(self, size: int = -1) -> bytes:
        raise AssertionError("a body that is announced as too large must not be read")

    readline = read


@pytest.mark.parametrize("media", ["image/png", "multipart/form-data; boundary=cut"])
def test_a_body_announced_as_too_large_is_not_read_at_all(media: str) -> None:
    environ = falcon.testing.create_environ(method="POST", headers={"Content-Type": media})
    environ["CONTENT_LENGTH"] = str(MOST + MEBIBYTE + 1)
    environ["wsgi.input"] = Untouchable()
    with pytest.raises(PayloadTooLarge):
        uploads.read_input(falcon.Request(environ), most_bytes=MOST)


def test_another_part_than_the_file_is_refused_by_name() -> None:
    field = ('Content-Disposition: form-data; name="model"', b"vehicle-type")
    with pytest.raises(InvalidInput, match="'model'") as refused:
        uploads.read_input(asked(*form(field, a_file(b"x"))), most_bytes=MOST)
    assert refused.value.errors[0].pointer == "/model"


def test_two_files_are_refused_as_nobody_knows_which_is_meant() -> None:
    with pytest.raises(InvalidInput, match="more than one"):
        uploads.read_input(asked(*form(a_file(b"x"), a_file(b"y"))), most_bytes=MOST)


def test_a_form_without_a_part_has_no_file() -> None:
    with pytest.raises((InvalidInput, MalformedRequest)):
        uploads.only_file(asked(*form()), most_bytes=MOST)


def test_an_empty_form_is_malformed() -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=cut"}
    with pytest.raises(MalformedRequest, match="empty"):
        uploads.only_file(asked(b"", headers), most_bytes=MOST)


def test_a_part_may_have_another_name_where_that_is_asked_for() -> None:
    body, headers = form(a_file(b"x", field="image"))
    assert uploads.only_file(asked(body, headers), most_bytes=MOST, field="image").body == b"x"


def refuses(body: bytes, headers: dict[str, str]) -> None:
    """Read a form that may be anything; only problems and Falcon's own errors may come out."""
    try:
        uploads.only_file(asked(body, headers), most_bytes=MOST)
    except (Problem, falcon.HTTPError) as fault:
        status = fault.status if isinstance(fault, Problem) else fault.status_code
        assert 400 <= status < 500


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Disposition: form-data; name=\"file\"; filename*=bogus''%ff",
        "Content-Disposition: form-data; name=\"file\"; filename*=utf-8''%ff%fe",
        'Content-Disposition: form-data; name="file"\r\nContent-Type: nonsense',
        "Content-Disposition: form-data",
        "Content-Disposition: attachment",
        "X-Nothing: 1",
        "Content-Disposition: form-data; name=file\r\nContent-Transfer-Encoding: base64",
        'Content-Disposition: form-data; name="\u00e4"',
        "x" * 10_000,
    ],
)
def test_broken_part_headers_are_the_clients_fault(headers: str) -> None:
    refuses(*form((headers, b"x")))


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 100,
        "multipart/form-data; boundary=other",
        "multipart/form-data; boundary=\u00e4",
    ],
)
def test_broken_boundaries_are_the_clients_fault(content_type: str) -> None:
    body, _ = form(a_file(b"x"))
    refuses(body, {"Content-Type": content_type})


@given(cut=st.integers(0, 150), inserted=st.binary(max_size=20))
def test_no_damaged_form_breaks_the_reader(cut: int, inserted: bytes) -> None:
    body, headers = form(a_file(b"bytes"))
    refuses(body[:cut] + inserted + body[cut + 3 :], headers)
    refuses(body[:cut] or b"x", headers)


def test_an_endless_row_of_parts_is_refused() -> None:
    refuses(*form(*[a_file(b"x", field=f"f{number}") for number in range(100)]))


def test_a_part_without_a_name_is_refused_with_a_pointer_to_the_empty_name() -> None:
    nameless = ("Content-Disposition: form-data", b"x")
    with pytest.raises(InvalidInput, match="a part without a name") as refused:
        uploads.read_input(asked(*form(nameless)), most_bytes=MOST)
    assert refused.value.errors[0].pointer == "/"
