"""Files of a request come one after the other, and wrong forms are refused in words."""

import falcon
import falcon.testing
import pytest

from appliance.errors import InvalidInput, MalformedRequest, UnsupportedMedia
from appliance.web.sent_files import fields_then_files, sent_files
from tests.web.routed import a_file, form

TYPES = frozenset({"application/zip"})


def a_request(body: bytes, content_type: str) -> falcon.Request:
    environ = falcon.testing.create_environ(
        method="POST", body=body, headers={"Content-Type": content_type}
    )
    return falcon.Request(environ)


def read(body: bytes, content_type: str, most: int = 10) -> list[tuple[str, str, bytes]]:
    files = sent_files(a_request(body, content_type), most_files=most, whole_types=TYPES)
    return [(file.name, file.content_type, file.stream.read()) for file in files]


def test_parts_of_a_form_are_files_in_order() -> None:
    body, headers = form(a_file(b"one"), a_file(b"two", field="x", media="image/jpeg"))
    assert read(body, headers["Content-Type"]) == [
        ("p.png", "image/png", b"one"),
        ("p.png", "image/jpeg", b"two"),
    ]


def test_a_whole_body_of_a_known_type_is_one_file() -> None:
    assert read(b"PK", "application/zip") == [("zip", "application/zip", b"PK")]
    with pytest.raises(UnsupportedMedia, match="application/zip"):
        read(b"x", "image/png")


def test_a_part_without_a_file_name_is_refused() -> None:
    body, headers = form(('Content-Disposition: form-data; name="note"', b"hello"))
    with pytest.raises(InvalidInput, match="note"):
        read(body, headers["Content-Type"])


@pytest.mark.parametrize("body", [b"", b"no form at all", b"--cut\r\nx"])
def test_a_broken_form_is_told_as_such(body: bytes) -> None:
    with pytest.raises((MalformedRequest, falcon.HTTPBadRequest)):
        read(body, "multipart/form-data; boundary=cut")


FIELD = 'Content-Disposition: form-data; name="note"'


def test_fields_are_read_before_the_files_and_files_stay_streams() -> None:
    body, headers = form((FIELD, b"hello"), a_file(b"one"), a_file(b"two"))
    found = fields_then_files(a_request(body, headers["Content-Type"]), most_files=10)
    assert found.form.fields == {"note": "hello"}
    assert [file.stream.read() for file in found.files] == [b"one", b"two"]


def test_a_form_of_fields_alone_has_no_files() -> None:
    body, headers = form((FIELD, b"hello"))
    found = fields_then_files(a_request(body, headers["Content-Type"]), most_files=10)
    assert list(found.files) == []


def test_fields_that_are_wrong_are_refused() -> None:
    for parts, fault in (
        (((FIELD, b"a"), (FIELD, b"b")), InvalidInput),
        (((FIELD, b"x" * 5000),), InvalidInput),
        (((FIELD, b"\xff"),), MalformedRequest),
    ):
        body, headers = form(*parts)
        with pytest.raises(fault):
            fields_then_files(a_request(body, headers["Content-Type"]), most_files=10)
    with pytest.raises(UnsupportedMedia):
        fields_then_files(a_request(b"x", "image/png"), most_files=10)
