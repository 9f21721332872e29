"""The bytes of a prediction's input: the body itself, or the `file` part of a multipart form."""

from typing import Any, NamedTuple

import falcon
from falcon.media.multipart import MultipartFormHandler, MultipartParseOptions

from appliance.errors import InvalidInput, MalformedRequest, PayloadTooLarge, UnsupportedMedia

_MEBIBYTE = 1024 * 1024


class Upload(NamedTuple):
    """One file as sent; `name` is what the client called it, for display only."""

    body: bytes
    content_type: str
    name: str = ""


def media_type(text: str | None) -> str:
    """Given a Content-Type, return type/subtype in lower case; raise UnsupportedMedia."""
    essence = (text or "").partition(";")[0].strip().lower()
    if essence and (essence.count("/") != 1 or not essence.isascii()):
        raise UnsupportedMedia("The Content-Type is not a media type such as image/jpeg.")
    return essence


def read_input(request: falcon.Request, *, most_bytes: int) -> Upload:
    """Given a request, return its input.

    Raise PayloadTooLarge beyond `most_bytes`, MalformedRequest for a broken form, InvalidInput
    for a form without exactly one part named `file`.
    """
    content_type = media_type(request.content_type)
    length = request.content_length
    if length is not None and length > most_bytes + _MEBIBYTE:
        raise _too_large(most_bytes)
    if content_type == "multipart/form-data":
        return only_file(request, most_bytes=most_bytes)
    body = request.bounded_stream.read(most_bytes + 1)
    if len(body) > most_bytes:
        raise _too_large(most_bytes)
    return Upload(body=body, content_type=content_type)


def only_file(request: falcon.Request, *, most_bytes: int, field: str = "file") -> Upload:
    """Given a multipart request, return its part named `field`; it must be the only one."""
    if request.content_length in (None, 0):
        raise MalformedRequest("The form is empty.")
    found: Upload | None = None
    try:
        for part in parts_of(request):
            if part.name != field:
                raise InvalidInput(
                    f"The form has a part {_named(part)}; only {field!r} is expected.",
                    pointer=f"/{part.name or ''}",
                )
            if found is not None:
                raise InvalidInput(f"The form has more than one part {field!r}; send one.")
            found = upload_of(part, most_bytes=most_bytes)
    except (UnicodeDecodeError, AssertionError, ValueError) as fault:
        raise MalformedRequest(f"The form's part headers are not valid: {fault}.") from None
    if found is None:
        raise InvalidInput(f"The form has no part named {field!r}.", pointer=f"/{field}")
    return found


def _named(part: Any) -> str:
    return "without a name" if part.name is None else repr(part.name[:80])


def part_type(part: Any) -> str:
    """Return a part's media type; a file sent without one is judged by its content alone.

    Falcon says text/plain then (RFC 7578 section 4.4), which many clients that send no type, such
    as requests, do not mean.
    """
    is_typed = b"content-type" in part._headers
    return media_type(part.content_type) if is_typed else "application/octet-stream"


def upload_of(part: Any, *, most_bytes: int) -> Upload:
    """Given one part of a form, return it as a file; raise PayloadTooLarge, UnsupportedMedia."""
    body = part.stream.read(most_bytes + 1)
    if len(body) > most_bytes:
        raise _too_large(most_bytes)
    return Upload(body, part_type(part), (part.filename or "")[:255])


def parts_of(
    request: falcon.Request, *, most_parts: int = 8
) -> "falcon.media.multipart.MultipartForm":
    """Given a multipart request, return its parts one after the other, none of them read yet."""
    options = MultipartParseOptions()
    options.max_body_part_count = most_parts
    options.max_body_part_buffer_size = _MEBIBYTE
    options.max_body_part_headers_size = 4096
    options.max_secure_filename_length = 96
    handler = MultipartFormHandler(parse_options=options)
    return handler.deserialize(
        request.bounded_stream, request.content_type, request.content_length
    )


def _too_large(most_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The input is larger than {most_bytes:,} bytes (limits.input_bytes). Send a smaller one."
    )
