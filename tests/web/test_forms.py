"""Forms as clients of other servers send them."""

import contextlib
from typing import Any

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
from appliance.web.forms import Form, read_form
from appliance.web.uploads import Upload
from tests.web.routed import a_file, form

MOST = 1000


def read(body: bytes, content_type: str, **headers: str) -> Form:
    environ = falcon.testing.create_environ(
        method="POST", body=body, headers={"Content-Type": content_type, **headers}
    )
    return read_form(falcon.Request(environ), most_bytes=MOST)


def sent(*parts: tuple[str, bytes]) -> Form:
    body, headers = form(*parts)
    return read(body, headers["Content-Type"])


def field(name: str, value: str | bytes) -> tuple[str, bytes]:
    octets = value if isinstance(value, bytes) else value.encode()
    return f'Content-Disposition: form-data; name="{name}"', octets


def test_fields_and_files_are_told_apart() -> None:
    found = sent(field("key", "grün"), a_file(b"picture", field="image"))
    assert found.fields == {"key": "grün"}
    assert found.file("image") == Upload(b"picture", "image/png", "p.png")


def test_a_file_without_a_type_is_judged_by_its_content() -> None:
    bare = ('Content-Disposition: form-data; name="image"; filename="image"', b"x")
    assert sent(bare).file("image").content_type == "application/octet-stream"


def test_a_part_of_a_media_type_is_a_file_without_a_name() -> None:
    part = ('Content-Disposition: form-data; name="image"\r\nContent-Type: image/jpeg', b"x")
    assert sent(part).file("image").body == b"x"


def test_a_form_may_be_url_encoded() -> None:
    found = read(b"text=gr%C3%BCn+und+blau&a=", "application/x-www-form-urlencoded")
    assert found.fields == {"text": "grün und blau", "a": ""}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"a=1&a=2", InvalidInput),
        (b"a=%00", InvalidInput),
        (b"a=%ff", MalformedRequest),
        (b"a=\xff", MalformedRequest),
        (b"&".join(b"a%d=1" % number for number in range(50)), MalformedRequest),
        (b"a=" + b"x" * 300_000, PayloadTooLarge),
    ],
)
def test_a_url_encoded_form_that_is_none_is_refused(body: bytes, kind: type[Problem]) -> None:
    with pytest.raises(kind):
        read(body, "application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ((field("a", "1"), field("a", "2")), InvalidInput),
        ((field("a", b"\xff"),), MalformedRequest),
        ((field("a", b"\x00"),), InvalidInput),
        ((field("a", b"x" * 300_000),), PayloadTooLarge),
        ((a_file(b"x" * (MOST + 1)),), PayloadTooLarge),
        ((a_file(b"x", media="nothing"),), UnsupportedMedia),
    ],
)
def test_a_form_that_does_not_fit_is_refused(parts: Any, kind: type[Problem]) -> None:
    with pytest.raises(kind):
        sent(*parts)


def test_something_else_than_a_form_is_refused() -> None:
    with pytest.raises(UnsupportedMedia):
        read(b"{}", "application/json")
    with pytest.raises(MalformedRequest, match="empty"):
        read(b"", "multipart/form-data; boundary=cut")


def test_exactly_one_file_of_the_names_asked_for_is_returned() -> None:
    one, two = ("image", Upload(b"a", "")), ("file", Upload(b"b", ""))
    assert Form({}, (one,)).file("image", "file").body == b"a"
    for files in ((), (one, two), (("other", one[1]),), (("image", Upload(b"", "")),)):
        with pytest.raises(InvalidInput):
            Form({}, files).file("image", "file")


def test_numbers_and_flags_have_defaults_and_bounds() -> None:
    found = Form({"n": " 0.5 ", "e": "", "bad": "x", "inf": "inf", "yes": "True", "no": "0"}, ())
    assert found.number("n", 1.0, least=0, most=1) == 0.5
    assert found.number("e", 0.4, least=0, most=1) == 0.4
    assert found.number("absent", 0.4, least=0, most=1) == 0.4
    for name in ("bad", "inf"):
        with pytest.raises(InvalidInput, match=name):
            found.number(name, 1.0, least=0, most=1)
    assert (found.flag("yes"), found.flag("no"), found.flag("absent")) == (True, False, False)
    assert found.flag("absent", default=True)
    with pytest.raises(InvalidInput):
        found.flag("bad")


@given(body=st.binary(max_size=300), cut=st.integers(0, 200))
def test_no_body_is_our_fault(body: bytes, cut: int) -> None:
    whole, headers = form(field("key", "k"), a_file(body, field="image"))
    for octets in (body, whole[:cut], whole[:cut] + body + whole[cut:]):
        for kind in (headers["Content-Type"], "application/x-www-form-urlencoded"):
            with contextlib.suppress(Problem, falcon.HTTPError):
                read(octets, kind)
