"""Names and sentences that people see as they are: without characters that hide or turn text.

A title with U+202E in it reads backwards in every list, a name with a zero width space looks like
another's, and a control character repaints a terminal (Unicode TR 36, "Trojan Source"). The
joiners U+200C and U+200D stay: Persian, Hindi and many emoji are written with them.
"""

import re
import unicodedata

#: The inside of a character class that Python and JSON Schema (ECMA 262) both understand.
HIDDEN = (
    r"\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064"
    r"\u2066-\u206f\ufeff"
)
_hidden = re.compile(f"[{HIDDEN}]")
_hidden_but_lines = re.compile(rf"(?![\n\t])[{HIDDEN}]")


def pattern(*, least: int, most: int) -> str:
    """Given how many characters a name may have, return the JSON Schema pattern of plain ones."""
    return f"^[^{HIDDEN}]{{{least},{most}}}$"


def hidden_in(text: str, *, has_lines: bool = False) -> str:
    """Given a text, return the first character that nobody sees, as `U+202E (…)`, or nothing.

    In a text that `has_lines`, line ends and tabs are as they should be.
    """
    found = (_hidden_but_lines if has_lines else _hidden).search(text)
    if found is None:
        return ""
    name = unicodedata.name(found[0], "a control character").lower()
    return f"U+{ord(found[0]):04X} ({name})"


def require_plain(text: str, what: str, *, has_lines: bool = False) -> None:
    """Given a text and what it is, raise ValueError with a sentence if it hides something."""
    found = hidden_in(text, has_lines=has_lines)
    if found:
        raise ValueError(
            f"{what} holds the invisible character {found}, with which a text can look like"
            " another; leave it out"
        )


def visible(text: str) -> str:
    """Given a text, return it in one line and without what nobody sees."""
    return _hidden.sub("", " ".join(text.split()))
