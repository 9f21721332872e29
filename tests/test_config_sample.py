"""The sample configuration."""

import re
import tomllib
from pathlib import Path

from appliance import config_file, config_keys
from appliance.config import Config
from appliance.config_sample import COLUMNS, sample


def test_the_sample_sets_nothing() -> None:
    assert all(table == {} for table in tomllib.loads(sample()).values())


def test_no_line_is_longer_than_a_terminal() -> None:
    assert [line for line in sample().splitlines() if len(line) > COLUMNS] == []


def test_the_sample_with_every_key_taken_in_is_the_default(tmp_path: Path) -> None:
    names = "|".join(key.name for key in config_keys.all_keys())
    text = re.sub(rf"^#(?=(?:{names}) = |    |\])", "", sample(), flags=re.MULTILINE)
    given = tomllib.loads(text)
    assert sum(len(table) for table in given.values()) == len(config_keys.all_keys())
    path = tmp_path / "appliance.toml"
    path.write_text(text)
    assert config_file.load(path, {}) == Config()


def test_every_key_is_explained_above_its_line() -> None:
    lines = sample().splitlines()
    for key in config_keys.all_keys():
        number = next(n for n, line in enumerate(lines) if line.startswith(f"#{key.name} = "))
        assert lines[number - 1].startswith("# "), key.dotted
