"""The bytes of a model on their way from a request to the disk; never whole in memory."""

import re
from collections.abc import Iterator
from typing import Any

import falcon

from appliance.errors import InvalidInput, MalformedRequest
from appliance.library.incoming import Incoming
from appliance.web import uploads
from appliance.web.body import problem_of

_PIECE_BYTES = 1 << 20
_MOST_PARTS = 32
_HEAD_NAME = re.compile(r"labels(?::([A-Za-z0-9._-]{1,64}))?")


def receive_model(
    request: falcon.Request, incoming: Incoming, *, file_name: str, sha256: str, most_bytes: int
) -> None:
    """Given a request and room for a model, write its body, or each file of its form, there.

    A form has one or more parts `file`, and `labels` or `labels:HEAD` for texts with one label on
    each line. Raise InvalidInput when the only file has another SHA-256 than `sha256`,
    PayloadTooLarge, MalformedRequest for a broken form, InsufficientStorage on a full disk.
    """
    try:
        if uploads.media_type(request.content_type) == "multipart/form-data":
            digests = _write_parts(request, incoming, most_bytes)
        else:
            pieces = _pieces(request.bounded_stream)
            digests = [incoming.write(file_name or "model", pieces, most_bytes=most_bytes)]
    except OSError as fault:
        raise problem_of(fault) from fault
    if sha256 and digests != [sha256]:
        raise InvalidInput(
            f"The file that arrived has the SHA-256 {digests[0]}, not the one announced. Send it"
            " again.",
            pointer="/query/sha256",
        )


def _write_parts(request: falcon.Request, incoming: Incoming, most_bytes: int) -> list[str]:
    """Write every part; return the sums of those that are the model's own."""
    if request.content_length in (None, 0):
        raise MalformedRequest("The form is empty.")
    digests = []
    try:
        for part in uploads.parts_of(request, most_parts=_MOST_PARTS):
            name, is_model = _name_of(part)
            digest = incoming.write(name, _pieces(part.stream), most_bytes=most_bytes)
            if is_model:
                digests.append(digest)
    except (UnicodeDecodeError, AssertionError, ValueError) as fault:
        raise MalformedRequest(f"The form's part headers are not valid: {fault}.") from None
    if not digests:
        raise InvalidInput("The form has no part named 'file'.", pointer="/file")
    return digests


def _name_of(part: Any) -> tuple[str, bool]:
    """Return the file name for a part, and whether it is the model's own."""
    if part.name == "file":
        return part.filename or "model", True
    labels = _HEAD_NAME.fullmatch(part.name or "")
    if labels is None:
        raise InvalidInput(
            f"The form has a part {(part.name or '')[:80]!r}; expected are 'file', and 'labels' or"
            " 'labels:HEAD' for texts of labels.",
            pointer=f"/{(part.name or '')[:80]}",
        )
    return f"labels-{labels[1]}.txt" if labels[1] else "labels.txt", False


def _pieces(stream: Any) -> Iterator[bytes]:
    while piece := stream.read(_PIECE_BYTES):
        yield piece
