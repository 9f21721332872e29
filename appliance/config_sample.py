"""The sample configuration: every key commented out, with its meaning, bounds and default.

Written from the structs by `scripts/generate`. It is shipped as the package's configuration file:
as no key is set in it, an upgrade never has to ask about a default that changed.
"""

import textwrap

from appliance.config_keys import Key, Section, sections, value_text

COLUMNS = 80
_INTRODUCTION = """\
Configuration of the inference appliance.

Every key is commented out and shows its default; take away the # of those you change, then check \
with `appliance config check` and restart. Files in conf.d/*.toml beside this one are read after \
it, in the order of their names. Each key can also be set by an environment variable, \
APPLIANCE_<SECTION>__<KEY>, which wins: APPLIANCE_HTTP__PORT=8081."""


def sample() -> str:
    """Return the whole sample file, no line of it longer than 80 columns."""
    parts = ["\n".join(_introduction())]
    parts += ["\n".join(_section(section)) for section in sections().values()]
    return "\n\n".join(parts) + "\n"


def key_notes(key: Key) -> tuple[str, str]:
    """Given a key, return its meaning and what values it takes; the manual page uses them too."""
    return key.description, f"{key.expected[0].upper()}{key.expected[1:]}."


def _introduction() -> list[str]:
    lines: list[str] = []
    for paragraph in _INTRODUCTION.split("\n\n"):
        lines += [*([] if not lines else ["#"]), *_comment(paragraph)]
    return lines


def _section(section: Section) -> list[str]:
    lines = [*_comment(section.description), f"[{section.name}]"]
    for key in section.keys.values():
        lines += ["", *(line for note in key_notes(key) for line in _comment(note))]
        lines += _assignment(key)
    return lines


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, COLUMNS, initial_indent="# ", subsequent_indent="# ", break_long_words=False
    )


def _assignment(key: Key) -> list[str]:
    line = f"#{key.name} = {value_text(key.default)}"
    if len(line) <= COLUMNS or key.kind != "list":
        return [line]
    return [f"#{key.name} = [", *(f"#    {value_text(item)}," for item in key.default), "#]"]
