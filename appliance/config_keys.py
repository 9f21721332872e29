"""The settings seen one by one: name, type, bounds, default and meaning, read off `config.py`.

Whoever checks, prints, documents or overrides single settings works from this list, so that a new
key in `config.py` is at once in the sample file, the manual and the messages.
"""

from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from appliance.config import Config

ENVIRONMENT_PREFIX = "APPLIANCE_"


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One setting; `kind` is bool, int, float, str or list (of texts)."""

    section: str
    name: str
    type: Any
    kind: str
    default: Any
    description: str
    expected: str

    @property
    def dotted(self) -> str:
        """The name people use: `http.port`."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return f"{ENVIRONMENT_PREFIX}{self.section.upper()}__{self.name.upper()}"


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One table of the file, its meaning and its keys in the order of declaration."""

    name: str
    description: str
    keys: dict[str, Key]


@cache
def sections() -> dict[str, Section]:
    """Return every section by name, in the order of `config.Config`."""
    return {
        field.name: Section(
            name=field.name,
            description=(field.type.__doc__ or "").strip(),
            keys={key.name: key for key in _keys(field.name, field.type)},
        )
        for field in msgspec.structs.fields(Config)
    }


def all_keys() -> list[Key]:
    """Return every key of every section."""
    return [key for section in sections().values() for key in section.keys.values()]


def value_text(value: Any) -> str:
    """Given a setting's value, return it as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # TOML's basic strings escape like JSON's, but for a slash and DEL.
        # A variable that is not UTF-8 holds lone surrogates, which no file can.
        clean = value.encode("utf-8", "replace")
        return msgspec.json.encode(clean.decode()).decode().replace("\x7f", "\\u007F")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(value_text(item) for item in value) + "]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"{value:.1f}"
    return str(value)


def _keys(section: str, kind: type[msgspec.Struct]) -> list[Key]:
    return [_key(section, field) for field in msgspec.structs.fields(kind)]


def _key(section: str, field: msgspec.structs.FieldInfo) -> Key:
    described = inspect.type_info(field.type)
    description = ""
    if isinstance(described, inspect.Metadata):
        description = (described.extra_json_schema or {}).get("description", "")
        described = described.type
    return Key(
        section=section,
        name=field.name,
        type=field.type,
        kind=_kind(described),
        default=field.default,
        description=description,
        expected=_expected(described),
    )


def _kind(described: inspect.Type) -> str:
    for kind, types in _KINDS.items():
        if isinstance(described, types):
            return kind
    raise TypeError(f"config.py uses a type that settings cannot have: {described}")


_KINDS: dict[str, type[inspect.Type]] = {
    "bool": inspect.BoolType,
    "int": inspect.IntType,
    "float": inspect.FloatType,
    "str": inspect.StrType,
    "list": inspect.VarTupleType,
}


def _expected(described: inspect.Type) -> str:
    if isinstance(described, inspect.IntType):
        return "a whole number" + _bounds(described)
    if isinstance(described, inspect.FloatType):
        return "a number" + _bounds(described)
    if isinstance(described, inspect.BoolType):
        return "true or false"
    if isinstance(described, inspect.StrType):
        return _expected_text(described.pattern)
    return 'a list of texts, such as ["a", "b"]'


def _expected_text(pattern: str | None) -> str:
    if pattern is None:
        return "a text in quotes"
    choices = pattern.strip("^$()").split("|")
    return "one of " + ", ".join(f'"{choice}"' for choice in choices)


def _bounds(described: inspect.IntType | inspect.FloatType) -> str:
    if described.ge is not None and described.le is not None:
        return f" from {described.ge:,} to {described.le:,}"
    said = [
        f"{words} {limit:,}"
        for words, limit in (
            ("at least", described.ge),
            ("above", described.gt),
            ("at most", described.le),
            ("below", described.lt),
        )
        if limit is not None
    ]
    return f" {', '.join(said)}" if said else ""
