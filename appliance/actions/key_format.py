"""The text of an API key: a prefix scanners recognise, an id, a secret and a checksum.

    iak_<6 id>_<30 secret><6 checksum>          all in base 62, 47 characters

The checksum tells a mistyped key from a wrong one without looking anything up. It is CRC-32 over
all that stands before it, as GitHub does since 2021 ("Behind GitHub's new authentication token
formats"). 30 characters of base 62 are 178 bits, so the stored hash needs no salt or slowness.
"""

import hashlib
import re
import secrets
import string
import zlib

import msgspec

PREFIX = "iak_"
KEY_CHARS = 47
ID_CHARS = 6
_SECRET_CHARS = 30
_CHECKSUM_CHARS = 6
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SHAPE = re.compile(r"iak_([0-9A-Za-z]{6})_[0-9A-Za-z]{36}")


class ParsedKey(msgspec.Struct, frozen=True):
    """A well-formed key: its public id and the hash that the store knows it by."""

    id: str
    secret_sha256: bytes


def new_key() -> tuple[str, ParsedKey]:
    """Return a fresh key's text, which nobody can recover later, and what to store of it."""
    key_id = _random(ID_CHARS)
    body = f"{PREFIX}{key_id}_{_random(_SECRET_CHARS)}"
    text = body + _checksum(body)
    return text, ParsedKey(key_id, _digest(text))


def parse_key(text: str) -> ParsedKey | None:
    """Given any text a client sent as a key, return its parts, or None when it cannot be a key."""
    if len(text) != KEY_CHARS:
        return None
    found = _SHAPE.fullmatch(text)
    if found is None or _checksum(text[:-_CHECKSUM_CHARS]) != text[-_CHECKSUM_CHARS:]:
        return None
    return ParsedKey(found[1], _digest(text))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("ascii")).digest()


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode("ascii"))
    digits = []
    for _ in range(_CHECKSUM_CHARS):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _random(count: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(count))
