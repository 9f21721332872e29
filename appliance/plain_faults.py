"""What is wrong with a value, in words instead of a regular expression."""

import msgspec

_SHA256 = "the 64 characters from 0-9 and a-f of a SHA-256"
_NAME = "a name of a-z, 0-9, '.', '_' and '-', at most 64, beginning with a letter or digit"
#: Patterns of what people type: library/manifest.py, library/import_request.py, the tasks.
_WORDS = {
    r"^(auto|[1-8]x[1-8])$(?!\n)": "auto, or columns and rows from 1x1 to 8x8",
    "^(image|text)$": "image or text",
    "^[1-9][0-9]{0,9}$(?!\n)": "the number of a version",
    r"^[a-z0-9][a-z0-9._-]{0,63}$(?!\n)": _NAME,
    "^[0-9a-f]{64}$": _SHA256,
    r"^([0-9a-f]{64})?$(?!\n)": _SHA256,
    r"^[A-Z?.]{0,8}$(?!\n)": "the order of the dimensions, such as NCHW",
    r"^([1-9][0-9]{0,4}x[1-9][0-9]{0,4})?$(?!\n)": "WIDTHxHEIGHT, such as 640x480",
}


def in_words(fault: msgspec.ValidationError) -> str:
    """Given what msgspec says of a value, return it in words that can be acted upon."""
    text = str(fault)
    for pattern, words in _WORDS.items():
        text = text.replace(f"`str` matching regex {pattern!r}", words)
    return text
