"""Read the configuration: defaults, a TOML file, `conf.d/*.toml` beside it, then the environment.

Every fault is found in one go and told with file, line, key and what was expected, since a server
that refuses to start is fixed by someone who sees only its log.
"""

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance import config_keys
from appliance.config import Config
from appliance.config_keys import ENVIRONMENT_PREFIX, Key, value_text
from appliance.config_values import PICTURE_FORMATS
from appliance.errors import ConfigInvalid

#: A configuration is a few kilobytes; more is some other file.
MOST_BYTES = 1024 * 1024
MOST_SNIPPETS = 100
#: Lists of networks, which a type alone cannot check.
_NETWORKS = frozenset({"metrics.public", "models.url_networks"})
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_HEADER = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]")
_ASSIGNMENT = re.compile(r"""\s*([A-Za-z0-9_\-."' ]+?)\s*=""")
_QUOTES = re.compile(r'"""|\'\'\'')


class Setting(msgspec.Struct, frozen=True):
    """One value in force and where it came from: `default`, `FILE:LINE` or a variable's name."""

    key: Key
    value: Any
    source: str


class Loaded(msgspec.Struct, frozen=True):
    """A valid configuration with the origin of each of its values, by dotted name."""

    config: Config
    sources: dict[str, str]


class _Draft:
    """What was read so far; threads: one reader only."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, str] = {}
        self.faults: list[str] = []

    def set(self, key: Key, given: Any, source: str) -> None:
        try:
            value = msgspec.convert(given, key.type, strict=True)
        except msgspec.ValidationError:
            self.faults.append(
                f"{source}: {key.dotted} is {_shown(given)}, but must be {key.expected}."
                f" {key.description}"
            )
            return
        fault = _content_fault(key, value)
        if fault:
            self.faults.append(f"{source}: {key.dotted}: {fault}")
            return
        self.values.setdefault(key.section, {})[key.name] = value
        self.sources[key.dotted] = source


def load(
    path: Path | None, environment: Mapping[str, str], *, below: Path | None = None
) -> Config:
    """Given a TOML file (None: none) and the environment, return the configuration in force.

    `below` is a file of defaults that all others overrule, such as a package's own places. Raise
    ConfigInvalid with every fault found, one per line.
    """
    return load_with_sources(path, environment, below=below).config


def load_with_sources(
    path: Path | None, environment: Mapping[str, str], *, below: Path | None = None
) -> Loaded:
    """Do what `load` does, and also return where each value came from."""
    draft = _Draft()
    if below is not None:
        _read_file(below, draft)
    if path is not None:
        for file in [path, *_snippets(path)]:
            _read_file(file, draft)
    _read_environment(environment, draft)
    if draft.faults:
        raise ConfigInvalid("\n".join(draft.faults))
    given = {
        name: msgspec.structs.replace(getattr(Config(), name), **values)
        for name, values in draft.values.items()
    }
    return Loaded(Config(**given), draft.sources)


def describe(loaded: Loaded) -> list[Setting]:
    """Given a loaded configuration, return every setting with its value and origin."""
    return [
        Setting(
            key=key,
            value=getattr(getattr(loaded.config, key.section), key.name),
            source=loaded.sources.get(key.dotted, "default"),
        )
        for key in config_keys.all_keys()
    ]


def as_toml(loaded: Loaded) -> str:
    """Given a loaded configuration, return it whole as TOML, each origin in a comment.

    Reading the text again gives the same configuration.
    """
    lines: list[str] = []
    section = ""
    for setting in describe(loaded):
        if setting.key.section != section:
            section = setting.key.section
            lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
        source = " ".join(setting.source.split())
        lines.append(f"{setting.key.name} = {value_text(setting.value)}  # {source}")
    return "\n".join(lines) + "\n"


def line_of(text: str, section: str, key: str | None = None) -> int:
    """Given valid TOML, return the line where a section or a key of it is set; 0 if not found.

    It knows tables, dotted keys, inline tables and strings over several lines, but takes three
    quotes inside of an ordinary string for the start of such a one. TOML's own parser does not
    tell lines at all.
    """
    current: tuple[str, ...] = ()
    section_line = 0
    for number, name, is_header in _assignments(text):
        full = name if is_header else current + name
        if is_header:
            current = name
        if full[:1] == (section,) and not section_line:
            section_line = number
        if key is not None and full[:2] == (section, key):
            return number
    return section_line


def _assignments(text: str) -> Iterable[tuple[int, tuple[str, ...], bool]]:
    """Return line number, dotted name and whether it is a table header for each line with one."""
    closing = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if not closing:
            header = _HEADER.match(line)
            found = header or _ASSIGNMENT.match(line)
            if found and not line.lstrip().startswith("#"):
                parts = tuple(part.strip(" \"'") for part in found[1].split("."))
                yield number, parts, header is not None
        for quotes in _QUOTES.findall(line):
            closing = "" if quotes == closing else closing or quotes


def _snippets(path: Path) -> list[Path]:
    found = sorted((path.parent / "conf.d").glob("*.toml"))
    if len(found) > MOST_SNIPPETS:
        raise ConfigInvalid(f"{path.parent / 'conf.d'} has more than {MOST_SNIPPETS} files.")
    return found


def _read_file(path: Path, draft: _Draft) -> None:
    text = _text(path, draft)
    if text is None:
        return
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        draft.faults.append(_syntax_fault(path, error))
        return
    for name, table in document.items():
        section = config_keys.sections().get(name)
        where = f"{path}:{line_of(text, name)}"
        if section is None:
            hint = _nearest(name, config_keys.sections(), "Sections")
            draft.faults.append(f"{where}: there is no section [{_cut(name)}]. {hint}")
        elif not isinstance(table, dict):
            draft.faults.append(
                f"{where}: {name} must be a section: write [{name}] above its keys."
            )
        else:
            _read_section(section, table, path, text, draft)


def _read_section(
    section: config_keys.Section, table: Mapping[str, Any], path: Path, text: str, draft: _Draft
) -> None:
    for name, given in table.items():
        where = f"{path}:{line_of(text, section.name, name)}"
        key = section.keys.get(name)
        if key is None:
            hint = _nearest(name, section.keys, f"Keys of [{section.name}]")
            draft.faults.append(
                f"{where}: there is no key {_cut(name)} in [{section.name}]. {hint}"
            )
        else:
            draft.set(key, given, where)


def _text(path: Path, draft: _Draft) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            draft.faults.append(f"{path}: more than {MOST_BYTES} bytes are no configuration.")
            return None
        return content.decode("utf-8")
    except FileNotFoundError:
        draft.faults.append(
            f"{path}: there is no such file. Name another with --config, or leave that away to"
            " start with the defaults."
        )
    except OSError as error:
        draft.faults.append(f"{path}: cannot be read ({error.strerror}).")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        draft.faults.append(f"{path}:{line}: not UTF-8; save the file in that encoding.")
    return None


def _syntax_fault(path: Path, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"{path}: not valid TOML: nested too deeply."
    found = re.search(r"^(.*) \(at line (\d+), column (\d+)\)$", str(error))
    if found is None:
        return f"{path}: not valid TOML: {error}."
    return f"{path}:{found[2]}: not valid TOML: {found[1]} (column {found[3]})."


def _read_environment(environment: Mapping[str, str], draft: _Draft) -> None:
    keys = {key.variable: key for key in config_keys.all_keys()}
    for variable in sorted(environment):
        if not (variable.startswith(ENVIRONMENT_PREFIX) and "__" in variable):
            continue
        key = keys.get(variable)
        if key is None:
            hint = _nearest(variable, keys, None)
            draft.faults.append(f"{_cut(variable)}: no setting has this variable. {hint}")
        else:
            draft.set(key, _parsed(environment[variable], key.kind), variable)


def _parsed(text: str, kind: str) -> Any:
    """Given a variable's text and the kind of setting, return the value it means; the text itself
    when it means none, which the conversion then refuses in words.
    """
    word = text.strip()
    if kind == "str":
        return text
    if kind == "list":
        return _parsed_list(word)
    if kind == "bool":
        return True if word.lower() in _TRUE else False if word.lower() in _FALSE else text
    try:
        return int(word) if kind == "int" else float(word)
    except ValueError:
        return text


def _parsed_list(word: str) -> Any:
    if not word.startswith("["):
        return [item.strip() for item in word.split(",") if item.strip()]
    try:
        document = tomllib.loads(f"list = {word}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return word
    return document["list"] if len(document) == 1 else word


def _content_fault(key: Key, value: Any) -> str | None:
    """Return what is wrong with a value that has the right type, or None."""
    if key.dotted in _NETWORKS:
        return next(filter(None, map(_network_fault, value)), None)
    if key.dotted == "limits.image_formats":
        return _format_fault(value)
    if isinstance(value, str) and "\0" in value:
        return "a text cannot hold a NUL character."
    if key.dotted == "state.dir" and not value.strip():
        return "it is empty. Name a directory of the appliance's own."
    return None


def _network_fault(network: str) -> str | None:
    try:
        ipaddress.ip_network(network, strict=False)
    except ValueError:
        return f"{_shown(network)} is not a network. Write one like 192.168.1.0/24."
    return None


def _format_fault(names: tuple[str, ...]) -> str | None:
    """A name that is misspelt would otherwise only be seen when the first such picture comes."""
    for name in names:
        if name.upper() not in PICTURE_FORMATS:
            hint = _nearest(name.upper(), PICTURE_FORMATS, "Formats")
            return f"{_cut(name)} is no picture format here. {hint}"
    return None if names else "it is empty, so that no picture could be sent. Name one or more."


def _nearest(name: str, known: Iterable[str], these: str | None) -> str:
    names = list(known)
    near = difflib.get_close_matches(name[:100], names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}?"
    if these is None:
        return "`appliance config show` lists them all."
    return f"{these}: {', '.join(names)}."


def _shown(given: Any) -> str:
    return _cut(value_text(given) if isinstance(given, bool | int | float | str) else str(given))


def _cut(text: str) -> str:
    printable = "".join(char if char.isprintable() else "?" for char in text[:81])
    return printable if len(text) <= 80 else printable[:77] + "..."
