"""Compressed bodies of the Open Inference Protocol: gzip and deflate, both bounded.

The header that tells the JSON part's length counts unpacked bytes, so the front unpacks before it
relays; a body that unpacks beyond the limit is refused as soon as the limit is passed.
"""

import re
import zlib

import falcon

from appliance.errors import MalformedRequest, PayloadTooLarge, UnsupportedMedia

#: zlib's window bits: 16 more is gzip; without it zlib's own frame, HTTP's `deflate` (RFC 9110).
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
#: Level 1: on a local network the CPU is scarcer than bytes.
_LEVEL = 1
#: Smaller answers grow when packed.
_LEAST_PACKED_BYTES = 1024
_STEP_BYTES = 1024 * 1024
_CODING = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:;\s*q\s*=\s*([0-9.]+))?\s*")


def read_body(request: falcon.Request, *, most_bytes: int) -> bytes | bytearray:
    """Given a request, return its body unpacked.

    Raise PayloadTooLarge beyond `most_bytes` before or after unpacking, UnsupportedMedia for
    another coding, MalformedRequest when it cannot be unpacked.
    """
    length = request.content_length
    if length is not None and length > most_bytes:
        raise _too_large(most_bytes)
    body = request.bounded_stream.read(most_bytes + 1)
    if len(body) > most_bytes:
        raise _too_large(most_bytes)
    coding = (request.get_header("Content-Encoding") or "identity").strip().lower()
    if coding == "identity":
        return body
    if coding not in _WINDOW_BITS:
        raise UnsupportedMedia(
            f"The Content-Encoding {coding[:40]!r} is not read here; send gzip, deflate or none."
        )
    return unpacked(body, coding, most_bytes=most_bytes)


def unpacked(body: bytes, coding: str, *, most_bytes: int) -> bytearray:
    """Given a body packed as gzip or deflate, return it unpacked.

    Raise PayloadTooLarge beyond `most_bytes`, MalformedRequest for broken, cut-off or trailing
    bytes.
    """
    result = bytearray()
    stream = zlib.decompressobj(_WINDOW_BITS[coding])
    rest = body
    try:
        while not stream.eof:
            piece = stream.decompress(rest, _STEP_BYTES)
            rest = stream.unconsumed_tail
            result += piece
            if len(result) > most_bytes:
                raise _too_large(most_bytes)
            if not piece and not rest and not stream.eof:
                raise MalformedRequest(f"The {coding} body is cut off.")
    except zlib.error:
        raise MalformedRequest(
            f"The body is not {coding}, as its Content-Encoding says."
        ) from None
    if stream.unused_data:
        raise MalformedRequest(f"Bytes follow the end of the {coding} body.")
    return result


def set_body(request: falcon.Request, response: falcon.Response, body: bytes | bytearray) -> None:
    """Given an answer's body, put it into the response, packed when the client asks for just that.

    Clients that merely list what they understand (browsers, aiohttp) get it plain: packing tensors
    costs more time than a local network saves.
    """
    response.set_header("Vary", "Accept-Encoding")
    coding = _asked_coding(request.get_header("Accept-Encoding") or "")
    if coding is None or len(body) < _LEAST_PACKED_BYTES:
        response.data = bytes(body)
        return
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS[coding])
    response.data = packer.compress(body) + packer.flush()
    response.set_header("Content-Encoding", coding)


def _asked_coding(accepted: str) -> str | None:
    found = _CODING.fullmatch(accepted)
    if found is None or found[1].lower() not in ("gzip", "deflate"):
        return None
    is_refused = found[2] is not None and not found[2].strip("0.")
    return None if is_refused else found[1].lower()


def _too_large(most_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The body has, or unpacks to, more than {most_bytes:,} bytes; send less at once"
        " or raise limits.input_bytes."
    )
