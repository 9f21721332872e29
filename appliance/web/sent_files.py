"""The files of a request, one after the other, each a stream that is read once: none in memory."""

from collections.abc import Collection, Iterator
from itertools import chain
from typing import IO, Any, NamedTuple, cast

import falcon

from appliance.actions.job_files import SentFile
from appliance.errors import InvalidInput, MalformedRequest, UnsupportedMedia
from appliance.web import uploads
from appliance.web.forms import Form

#: Values of a form besides its files.
_SPARE_PARTS = 8
_MOST_FIELD_BYTES = 4096


class SentForm(NamedTuple):
    """The text fields of a form and the files behind them, which are read one by one."""

    form: Form
    files: Iterator[SentFile]


def sent_files(
    request: falcon.Request, *, most_files: int, whole_types: Collection[str]
) -> Iterator[SentFile]:
    """Given a request, yield its files: the parts of a form, or the body itself.

    A body that is no form must be of one of `whole_types`. Raise UnsupportedMedia,
    MalformedRequest for a broken form, InvalidInput for a part that is no file.
    """
    content_type = uploads.media_type(request.content_type)
    if content_type == "multipart/form-data":
        yield from _parts(request, most_files)
    elif content_type in whole_types:
        stream = cast("IO[bytes]", request.bounded_stream)
        yield SentFile(content_type.partition("/")[2], content_type, stream)
    else:
        raise UnsupportedMedia(
            "Send the files as multipart/form-data, or one body of the type "
            + ", ".join(sorted(whole_types))
            + "."
        )


def fields_then_files(request: falcon.Request, *, most_files: int) -> SentForm:
    """Given a request with a form, return its text fields, which come first, and its files.

    Raise UnsupportedMedia for another body, MalformedRequest for a broken form, InvalidInput for a
    field given twice; reading the files does so for a field behind a file.
    """
    if uploads.media_type(request.content_type) != "multipart/form-data":
        raise UnsupportedMedia("This takes a form: send multipart/form-data with its files.")
    parts = _raw_parts(request, most_files)
    fields: dict[str, str] = {}
    for part in parts:
        if part.filename:
            return SentForm(Form(fields, ()), map(_sent, chain((part,), parts)))
        name = (part.name or "")[:80]
        if name in fields:
            raise InvalidInput(f"The form has the field {name!r} twice.", pointer=f"/{name}")
        fields[name] = _field(part, name)
    return SentForm(Form(fields, ()), iter(()))


def _field(part: Any, name: str) -> str:
    body = part.stream.read(_MOST_FIELD_BYTES + 1)
    if len(body) > _MOST_FIELD_BYTES:
        raise InvalidInput(f"The field {name!r} has more than {_MOST_FIELD_BYTES:,} bytes.")
    try:
        return str(body, "utf-8")
    except UnicodeDecodeError:
        raise MalformedRequest("A field of the form is not UTF-8 text.") from None


def _parts(request: falcon.Request, most_files: int) -> Iterator[SentFile]:
    return map(_sent, _raw_parts(request, most_files))


def _sent(part: Any) -> SentFile:
    if not part.filename:
        raise InvalidInput(
            f"The form's part {(part.name or '')[:80]!r} is no file: it has no filename. Text"
            " fields, where a route takes any, come before the files."
        )
    return SentFile(part.filename, uploads.part_type(part), cast("IO[bytes]", part.stream))


def _raw_parts(request: falcon.Request, most_files: int) -> Iterator[Any]:
    if request.content_length in (None, 0):
        raise MalformedRequest("The form is empty.")
    try:
        yield from uploads.parts_of(request, most_parts=most_files + _SPARE_PARTS)
    except (UnicodeDecodeError, AssertionError, ValueError) as fault:
        raise MalformedRequest(f"The form's part headers are not valid: {fault}.") from None
