"""The files of a request, one after the other, each a stream that is read once: none in memory."""

from collections.abc import Collection, Iterator
from typing import IO, cast

import falcon

from appliance.actions.job_files import SentFile
from appliance.errors import InvalidInput, MalformedRequest, UnsupportedMedia
from appliance.web import uploads

#: Values of a form besides its files.
_SPARE_PARTS = 8


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


def _parts(request: falcon.Request, most_files: int) -> Iterator[SentFile]:
    if request.content_length in (None, 0):
        raise MalformedRequest("The form is empty.")
    try:
        for part in uploads.parts_of(request, most_parts=most_files + _SPARE_PARTS):
            if not part.filename:
                raise InvalidInput(
                    f"The form's part {(part.name or '')[:80]!r} is no file: it has no filename."
                )
            stream = cast("IO[bytes]", part.stream)
            yield SentFile(part.filename, uploads.part_type(part), stream)
    except (UnicodeDecodeError, AssertionError, ValueError) as fault:
        raise MalformedRequest(f"The form's part headers are not valid: {fault}.") from None
