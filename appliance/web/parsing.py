"""Strict reading of query strings and JSON bodies: what is not understood is refused by name."""

import functools
import json
from typing import Any, TypeVar

import falcon
import msgspec

from appliance.errors import (
    FieldError,
    InvalidInput,
    MalformedRequest,
    PayloadTooLarge,
    UnsupportedMedia,
)
from appliance.plain_faults import in_words

S = TypeVar("S", bound=msgspec.Struct)
#: What holds where nobody has put limits.json_bytes into the request's context.
_MOST_JSON_BYTES = 1024 * 1024


def query(request: falcon.Request, wanted: type[S]) -> S:
    """Given a request, return its query as `wanted`; raise InvalidInput naming the parameter.

    Each parameter may be given once; a field that is a tuple takes comma-separated values.
    """
    values = single_values(request)
    known = _takes_list(wanted)
    for name in values:
        if name not in known:
            raise InvalidInput(
                f"There is no parameter {name!r}. Known are: {', '.join(known) or 'none'}.",
                pointer=f"/query/{name}",
            )
    shaped: dict[str, Any] = {
        name: value.split(",") if known[name] else value for name, value in values.items()
    }
    try:
        return msgspec.convert(shaped, wanted, strict=False)
    except msgspec.ValidationError as fault:
        raise InvalidInput(
            f"The query is not valid: {in_words(fault)}.", errors=_located(fault, "/query")
        ) from None


def no_query(request: falcon.Request) -> None:
    """Given a request to an operation without parameters, raise InvalidInput when it has some.

    Dialects whose clients add parameters of their own say `any_query` instead.
    """
    if request.query_string:
        for name in request.params:
            raise InvalidInput(
                f"There is no parameter {name!r} here; this takes none.", pointer=f"/query/{name}"
            )


def not_packed(request: falcon.Request) -> None:
    """Given a request whose body is read as it is, raise UnsupportedMedia if it came packed.

    Unpacking is done by the Open Inference Protocol alone, whose clients expect it: elsewhere a
    small body that unpacks to a large one would only be another way to fill memory.
    """
    coding = request.get_header("Content-Encoding")
    if coding is not None and coding.strip().lower() not in ("", "identity"):
        raise UnsupportedMedia(
            f"The body comes with Content-Encoding {coding[:40]!r}, which is not unpacked here."
            " Send it as it is."
        )


def json_body(request: falcon.Request, wanted: type[Any], *, required: bool = True) -> Any:
    """Given a request, return its JSON body as `wanted`.

    Raise UnsupportedMedia for another media type, PayloadTooLarge beyond limits.json_bytes,
    MalformedRequest for bytes that are not JSON and InvalidInput, with a pointer, for JSON of
    another shape.
    """
    most_bytes: int = request.context.get("most_json_bytes") or _MOST_JSON_BYTES
    body = request.bounded_stream.read(most_bytes + 1)
    if len(body) > most_bytes:
        raise PayloadTooLarge(f"A JSON body may have {most_bytes} bytes (limits.json_bytes).")
    if not body and not required:
        return None
    if (request.content_type or "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMedia("This takes a JSON body: send Content-Type: application/json.")
    return decode_json(body, wanted)


def decode_json(body: bytes, wanted: Any) -> Any:
    """Given JSON bytes, return them as `wanted`; raise MalformedRequest or InvalidInput."""
    try:
        text = body.decode("utf-8")
        found = msgspec.json.decode(body, type=wanted)
        # Numbers are left alone: the type has bounded those that count.
        json.loads(text, object_pairs_hook=_given_once, parse_int=str, parse_float=str)
    except msgspec.ValidationError as fault:
        raise InvalidInput(
            f"The body is not valid: {in_words(fault)}.", errors=_located(fault, "")
        ) from None
    except UnicodeDecodeError:
        raise MalformedRequest("The body is not UTF-8 text.") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as fault:
        raise MalformedRequest(f"The body is not JSON: {fault}.") from None
    return found


def _given_once(pairs: list[tuple[str, Any]]) -> None:
    """Refuse a key that is given twice: msgspec takes the last, another reader may the first."""
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise MalformedRequest(
                f"An object in the JSON has the key {name[:80]!r} more than once."
            )
        seen.add(name)


def single_values(request: falcon.Request) -> dict[str, str]:
    """Given a request, return its parameters, each of which may be given once."""
    values: dict[str, str] = {}
    for name, value in request.params.items():
        if isinstance(value, list):
            raise MalformedRequest(f"The parameter {name!r} is given more than once.")
        if "\x00" in value or "\ufffd" in value or "\x00" in name:
            raise InvalidInput(f"The parameter {name!r} holds characters that are not text.")
        values[name] = value
    return values


@functools.cache
def _takes_list(wanted: type[msgspec.Struct]) -> dict[str, bool]:
    """Return by parameter whether it takes a list; found once, as looking at types is slow."""
    fields = msgspec.structs.fields(wanted)
    return {field.encode_name: "tuple[" in str(field.type) for field in fields}


def _located(fault: msgspec.ValidationError, base: str) -> tuple[FieldError, ...]:
    """Return the place msgspec names at the end of its message as a JSON pointer."""
    text, _, place = in_words(fault).partition(" - at `$")
    pointer = place.rstrip("`").replace("[", "/").replace("]", "").replace(".", "/")
    return (FieldError(detail=text, pointer=base + pointer),)
