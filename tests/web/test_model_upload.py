"""A model's bytes go from the request to the disk, as one body or as the files of a form."""

import hashlib
from pathlib import Path

import falcon
import falcon.testing
import pytest

from appliance.errors import InvalidInput, MalformedRequest, PayloadTooLarge, Problem
from appliance.library.incoming import Incoming
from appliance.web.model_upload import receive_model
from tests.web.routed import form

CONTENT = b"model" * 1000


def a_request(body: bytes, headers: dict[str, str] | None = None) -> falcon.Request:
    return falcon.testing.create_req(method="POST", body=body, headers=headers or {})


def received(
    directory: Path, body: bytes, headers: dict[str, str] | None = None, **said: object
) -> dict[str, bytes]:
    incoming = Incoming.create(directory)
    wanted = {"file_name": "", "sha256": "", "most_bytes": 1 << 20, **said}
    receive_model(a_request(body, headers), incoming, **wanted)  # type: ignore[arg-type]
    return {path.name: path.read_bytes() for path in incoming.files.iterdir()}


def part(field: str, name: str, content: bytes) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{field}"; filename="{name}"', content


def test_a_body_is_the_model_under_the_name_that_was_said(tmp_path: Path) -> None:
    assert received(tmp_path, CONTENT) == {"model": CONTENT}
    assert received(tmp_path, CONTENT, file_name="a b.onnx") == {"a_b.onnx": CONTENT}


def test_a_form_holds_several_files_and_labels(tmp_path: Path) -> None:
    body, headers = form(
        part("file", "model.xml", b"<net/>"),
        part("file", "model.bin", CONTENT),
        part("labels", "whatever.txt", b"a\n"),
        part("labels:color", "", b"b\n"),
    )
    assert received(tmp_path, body, headers) == {
        "model.xml": b"<net/>",
        "model.bin": CONTENT,
        "labels.txt": b"a\n",
        "labels-color.txt": b"b\n",
    }


def test_the_announced_sum_is_checked(tmp_path: Path) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert received(tmp_path, CONTENT, sha256=digest)
    body, headers = form(part("file", "m", CONTENT), part("labels", "l", b"a"))
    assert received(tmp_path, body, headers, sha256=digest)
    with pytest.raises(InvalidInput, match="announced"):
        received(tmp_path, CONTENT, sha256="0" * 64)


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([part("model", "m", b"x")], InvalidInput),
        ([part("labels", "l", b"x")], InvalidInput),
        ([part("labels:../x", "l", b"x")], InvalidInput),
        ([part("file", "m", b"x"), part("file", "m", b"x")], InvalidInput),
        ([(r'Content-Disposition: form-data; name="file"; filename="\xff"', b"x")] * 40, Problem),
    ],
)
def test_other_forms_are_refused(
    tmp_path: Path, parts: list[tuple[str, bytes]], problem: type[Problem]
) -> None:
    body, headers = form(*parts)
    with pytest.raises((problem, falcon.MediaMalformedError, falcon.HTTPError)):
        received(tmp_path, body, headers)


def test_an_empty_form_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(MalformedRequest):
        received(tmp_path, b"", {"Content-Type": "multipart/form-data; boundary=cut"})


def test_more_than_allowed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PayloadTooLarge):
        received(tmp_path, CONTENT, most_bytes=1000)
