"""Forms with text fields beside files, as clients of other servers send them."""

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import falcon

from appliance.errors import InvalidInput, MalformedRequest, PayloadTooLarge, UnsupportedMedia
from appliance.web import uploads
from appliance.web.uploads import Upload

_MOST_PARTS = 32
#: A field is a key, a name or a number; texts to classify are the longest.
_MOST_FIELD_BYTES = 256 * 1024
_MULTIPART, _URLENCODED = "multipart/form-data", "application/x-www-form-urlencoded"


class Form(NamedTuple):
    """The text fields of a form, each given once, and its files by the name of their part."""

    fields: dict[str, str]
    files: tuple[tuple[str, Upload], ...]

    def file(self, *names: str) -> Upload:
        """Given the names a client may use for a file, return it; raise InvalidInput."""
        found = [upload for name, upload in self.files if name in names]
        if len(found) != 1:
            raise InvalidInput(
                f"The form needs exactly one file, as its part {names[0]!r}; got {len(found)}.",
                pointer=f"/{names[0]}",
            )
        if not found[0].body:
            raise InvalidInput(f"The file {names[0]!r} is empty.", pointer=f"/{names[0]}")
        return found[0]

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        """Given a field's name and its bounds, return its number, or the default when absent.

        Raise InvalidInput for anything else.
        """
        text = self.fields.get(name, "").strip()
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise InvalidInput(
                f"{name} is a number from {least:g} to {most:g}, not {text[:40]!r}.",
                pointer=f"/{name}",
            )
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Given a field's name, return whether it is true, or the default when absent.

        Raise InvalidInput for what is neither true nor false.
        """
        text = self.fields.get(name, "").strip().lower()
        if text in ("", "1", "true", "yes", "on"):
            return bool(text) or default
        if text in ("0", "false", "no", "off"):
            return False
        raise InvalidInput(f"{name} is true or false, not {text[:40]!r}.", pointer=f"/{name}")


def read_form(request: falcon.Request, *, most_bytes: int) -> Form:
    """Given a request, return its form, multipart or URL-encoded.

    Raise UnsupportedMedia for another body, MalformedRequest for a broken form, InvalidInput for
    a field given twice, PayloadTooLarge for more than `most_bytes` in one file.
    """
    kind = uploads.media_type(request.content_type)
    if kind == _URLENCODED:
        return Form(_once(_urlencoded(request)), ())
    if kind != _MULTIPART:
        raise UnsupportedMedia("This takes a form: send multipart/form-data with its file.")
    if request.content_length in (None, 0):
        raise MalformedRequest("The form is empty.")
    fields: list[tuple[str, str]] = []
    files: list[tuple[str, Upload]] = []
    try:
        for part in uploads.parts_of(request, most_parts=_MOST_PARTS):
            if _is_file(part):
                files.append((part.name or "", uploads.upload_of(part, most_bytes=most_bytes)))
            else:
                fields.append((part.name or "", _text(part)))
    except (UnicodeDecodeError, AssertionError, ValueError) as fault:
        raise MalformedRequest(f"The form's part headers are not valid: {fault}.") from None
    return Form(_once(fields), tuple(files))


def _is_file(part: Any) -> bool:
    """A part is a file when it says so by a file's name or by a type that is not plain text."""
    return part.filename is not None or not (part.content_type or "").startswith("text/")


def _text(part: Any) -> str:
    body = part.stream.read(_MOST_FIELD_BYTES + 1)
    if len(body) > _MOST_FIELD_BYTES:
        raise PayloadTooLarge(f"A field of a form may have {_MOST_FIELD_BYTES:,} bytes.")
    return _decoded(body)


def _decoded(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedRequest("A field of the form is not UTF-8 text.") from None
    if "\x00" in text:
        raise InvalidInput("A field of the form holds characters that are not text.")
    return text


def _urlencoded(request: falcon.Request) -> Iterator[tuple[str, str]]:
    body = request.bounded_stream.read(_MOST_FIELD_BYTES + 1)
    if len(body) > _MOST_FIELD_BYTES:
        raise PayloadTooLarge(f"A form without files may have {_MOST_FIELD_BYTES:,} bytes.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_PARTS,
        )
    except (UnicodeDecodeError, ValueError):
        raise MalformedRequest("The form is not URL-encoded UTF-8 text.") from None
    for name, value in pairs:
        yield name, _decoded(value.encode("utf-8"))


def _once(pairs: Any) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise InvalidInput(
                f"The form has the field {name[:60]!r} more than once.", pointer=f"/{name[:60]}"
            )
        fields[name] = value
    return fields
