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
#: Base 62 by pairs of digits: three look-ups make a checksum, on every request.
_PAIRS = tuple((a + b).encode("ascii") for a in _ALPHABET for b in _ALPHABET)
_SHAPE = re.compile(r"iak_[0-9A-Za-z]{6}_[0-9A-Za-z]{36}")
_ID_PLACE = slice(len(PREFIX), len(PREFIX) + ID_CHARS)


class ParsedKey(msgspec.Struct, frozen=True):
    """A well-formed key: its public id and the hash that the store knows it by."""

    id: str
    secret_sha256: bytes


def new_key() -> tuple[str, ParsedKey]:
    """Return a fresh key's text, which nobody can recover later, and what to store of it."""
    key_id = _random(ID_CHARS)
    body = f"{PREFIX}{key_id}_{_random(_SECRET_CHARS)}".encode("ascii")
    raw = body + _checksum(body)
    return raw.decode("ascii"), ParsedKey(key_id, hashlib.sha256(raw).digest())


def parse_key(text: str) -> ParsedKey | None:
    """Given any text a client sent as a key, return its parts, or None when it cannot be a key."""
    if len(text) != KEY_CHARS or _SHAPE.fullmatch(text) is None:
        return None
    raw = text.encode("ascii")
    if _checksum(raw[:-_CHECKSUM_CHARS]) != raw[-_CHECKSUM_CHARS:]:
        return None
    return ParsedKey(text[_ID_PLACE], hashlib.sha256(raw).digest())


def _checksum(body: bytes) -> bytes:
    high, low = divmod(zlib.crc32(body), 3844)
    high, middle = divmod(high, 3844)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def _random(count: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(count))
