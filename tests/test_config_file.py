"""Reading the configuration, and what is said about a wrong one."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import config_file, config_keys
from appliance.config import Config
from appliance.errors import ConfigInvalid


def written(directory: Path, text: str, name: str = "appliance.toml") -> Path:
    path = directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def faults(path: Path | None, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        config_file.load(path, environment or {})
    directory = f"{path.parent}/" if path else ""
    return [line.replace(directory, "") for line in caught.value.detail.splitlines()]


def test_nothing_given_is_the_default() -> None:
    assert config_file.load(None, {"PATH": "/bin", "APPLIANCE_CONFIG": "x"}) == Config()


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path, '[http]\nport = 9000\n[metrics]\npublic = ["::1"]\n[log]\n')
    config = config_file.load(path, {})
    assert config.http.port == 9000
    assert config.http.threads == Config().http.threads
    assert config.metrics.public == ("::1",)


def test_snippets_follow_in_the_order_of_their_names_and_the_environment_wins(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, "[http]\nport = 1\nthreads = 2\n[backup]\ndaily = 3\n")
    written(tmp_path, "http.port = 20\nbackup.daily = 4\n", "conf.d/20.toml")
    written(tmp_path, "[http]\nport = 10\n", "conf.d/10.toml")
    written(tmp_path, "nonsense", "conf.d/README")
    loaded = config_file.load_with_sources(path, {"APPLIANCE_BACKUP__DAILY": "5"})
    http, backup = loaded.config.http, loaded.config.backup
    assert (http.port, http.threads, backup.daily) == (20, 2, 5)
    sources = {setting.key.dotted: setting.source for setting in config_file.describe(loaded)}
    assert sources["http.port"] == f"{tmp_path}/conf.d/20.toml:1"
    assert sources["http.threads"] == f"{path}:3"
    assert sources["backup.daily"] == "APPLIANCE_BACKUP__DAILY"
    assert sources["backup.weekly"] == "default"


def test_an_unknown_key_is_told_with_file_line_and_the_nearest_one(tmp_path: Path) -> None:
    path = written(tmp_path, '# mine\n[http]\n\nprot = 1\nhost = "::"\n')
    [fault] = faults(path)
    assert fault == "appliance.toml:4: there is no key prot in [http]. Did you mean port?"


def test_an_unknown_key_like_no_other_gets_the_whole_list(tmp_path: Path) -> None:
    [fault] = faults(written(tmp_path, "[jobs]\nxyzzy = 1\n"))
    assert fault.endswith(f"Keys of [jobs]: {', '.join(Config().jobs.__struct_fields__)}.")


def test_an_unknown_section_is_told(tmp_path: Path) -> None:
    [fault] = faults(written(tmp_path, "[htpp]\nport = 1\n"))
    assert fault == "appliance.toml:1: there is no section [htpp]. Did you mean http?"


def test_a_wrong_value_is_told_with_what_was_expected_and_what_it_means(tmp_path: Path) -> None:
    [fault] = faults(written(tmp_path, '[http]\nport = "80"\n'))
    assert fault == (
        'appliance.toml:2: http.port is "80", but must be a whole number from 0 to 65,535.'
        " TCP port; 0 takes any free one."
    )


@pytest.mark.parametrize(
    "line",
    [
        "http.port = 65536",
        "http.port = 80.0",
        "http.port = true",
        "http.host_names = 'a'",
        "http.host_names = [1]",
        "http.header_seconds = nan",
        "http.header_seconds = inf",
        "http.header_seconds = 0",
        "access.required = 1",
        "log.level = 'LOUD'",
        "http.host = { a = 1 }",
        "http.port = 2024-01-01",
        'metrics.public = ["10.0.0.0/99"]',
        'models.url_networks = ["10.0.0.0/99"]',
        'limits.image_formats = ["JPEG", "JEPG"]',
        "limits.image_formats = []",
        'state.dir = ""',
        'state.dir = " "',
        'state.dir = "a\\u0000b"',
        "http = 5",
        "[[http]]",
    ],
)
def test_a_value_outside_its_bounds_is_one_fault(tmp_path: Path, line: str) -> None:
    [fault] = faults(written(tmp_path, line + "\n"))
    assert fault.startswith("appliance.toml:1: ")


def test_an_unknown_picture_format_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    [fault] = faults(written(tmp_path, 'limits.image_formats = ["png", "JEPG"]\n'))
    assert "JEPG is no picture format here. Did you mean JPEG?" in fault
    path = written(tmp_path, 'limits.image_formats = ["png", "jpeg"]\n')
    assert config_file.load(path, {}).limits.image_formats == ("png", "jpeg")


def test_all_faults_of_all_places_are_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "[http]\nport = -1\nprot = 1\n[x]\n")
    written(tmp_path, "not toml\n", "conf.d/1.toml")
    found = faults(path, {"APPLIANCE_HTTP__PORT": "no", "APPLIANCE_HTTP__PROT": "1"})
    assert [fault.split(": ")[0] for fault in found] == [
        "appliance.toml:2",
        "appliance.toml:3",
        "appliance.toml:4",
        "conf.d/1.toml:1",
        "APPLIANCE_HTTP__PORT",
        "APPLIANCE_HTTP__PROT",
    ]
    assert found[-1].endswith("Did you mean APPLIANCE_HTTP__PORT?")


def test_files_that_are_no_configuration_are_told_apart(tmp_path: Path) -> None:
    assert "there is no such file" in faults(tmp_path / "missing.toml")[0]
    assert "cannot be read" in faults(tmp_path)[0]
    assert ":2: not valid TOML" in faults(written(tmp_path, "[http]\nport =\n"))[0]
    assert "not valid TOML" in faults(written(tmp_path, "a = " + "[" * 100_000))[0]
    assert "bytes are no configuration" in faults(written(tmp_path, "#" * 1_100_000))[0]
    path = tmp_path / "latin1.toml"
    path.write_bytes(b"[http]\n# \xe9\n")
    assert faults(path)[0].startswith("latin1.toml:2: not UTF-8")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("http.port", " 8_081 ", 8081),
        ("http.header_seconds", "5", 5.0),
        ("http.header_seconds", "2.5e1", 25.0),
        ("access.required", "No", False),
        ("access.required", "on", True),
        ("state.dir", " with space ", " with space "),
        ("http.host_names", "", ()),
        ("http.host_names", "a.lan, b.lan", ("a.lan", "b.lan")),
        ("http.host_names", "[\"a.lan\", 'b.lan']", ("a.lan", "b.lan")),
    ],
)
def test_a_variable_is_read_as_its_setting_needs_it(name: str, text: str, value: object) -> None:
    section, key = name.split(".")
    variable = config_keys.sections()[section].keys[key].variable
    config = config_file.load(None, {variable: text})
    assert getattr(getattr(config, section), key) == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("APPLIANCE_HTTP__PORT", ""),
        ("APPLIANCE_HTTP__PORT", "9" * 5000),
        ("APPLIANCE_HTTP__HEADER_SECONDS", "nan"),
        ("APPLIANCE_HTTP__HOST_NAMES", "[1]"),
        ("APPLIANCE_HTTP__HOST_NAMES", "[" * 100_000),
        ("APPLIANCE_HTTP__HOST_NAMES", "[]\nx = 1"),
        ("APPLIANCE_ACCESS__REQUIRED", "maybe\x1b[31m"),
        ("APPLIANCE_http__port", "1"),
        ("APPLIANCE___", "1"),
    ],
)
def test_a_wrong_variable_is_one_printable_fault(variable: str, text: str) -> None:
    [fault] = faults(None, {variable: text})
    assert fault.startswith(f"{variable}: ")
    assert fault.isprintable()
    assert len(fault) < 400


def test_the_shown_configuration_reads_back_as_the_same(tmp_path: Path) -> None:
    odd = 'a "b" \\ \t # \u00e9\x7f'
    loaded = config_file.load_with_sources(
        None, {"APPLIANCE_STATE__DIR": odd, "APPLIANCE_METRICS__PUBLIC": "::1"}
    )
    text = config_file.as_toml(loaded)
    assert config_file.load(written(tmp_path, text), {}) == loaded.config
    assert 'public = ["::1"]  # APPLIANCE_METRICS__PUBLIC' in text


LINES = """\
# port = 1 in a comment
title.x = '''
[http]
port = 2
'''
http.host = "x" # 6

[ 'log' ] # 8
level = \"\"\"
file = 3\"\"\"
"file" = 4 # 11
  [metrics] # 12
public = [
  "a",
]
[backup] # 16
dir = "='''"
daily = 1 # 18
"""


@pytest.mark.parametrize(
    ("section", "key", "line"),
    [
        ("http", None, 6),
        ("http", "host", 6),
        ("log", None, 8),
        ("log", "file", 11),
        ("metrics", "public", 13),
        ("metrics", "missing", 12),
        ("backup", "dir", 17),
        ("absent", "x", 0),
    ],
)
def test_the_line_of_a_key_is_found(section: str, key: str | None, line: int) -> None:
    assert tomllib.loads(LINES)["log"]["file"] == 4
    assert config_file.line_of(LINES, section, key) == line


@given(st.text(st.sampled_from("[]='\"#.\n\\ ahttporlg1")))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    assert config_file.line_of(text, "http", "port") >= 0
