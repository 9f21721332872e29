"""What the README says to type does what the README says it does."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.running import ROOT, Running

README = (ROOT / "README.md").read_text()
SAMPLE = ROOT / "docs/samples/truck.jpg"


def block(kind: str, holding: str) -> str:
    """The first fenced block of that kind with these words in it."""
    for found in re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL):
        if holding in found:
            return str(found)
    raise AssertionError(f"the README has no {kind} block with {holding!r}")


def shape(value: Any) -> Any:
    """A document's keys without its values."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    return "a list" if isinstance(value, list) else "a value"


def test_the_quick_start_gets_the_answer_that_is_shown(appliance: Running, tmp_path: Path) -> None:
    if not SAMPLE.exists():
        pytest.skip("docs/samples/truck.jpg has not been delivered yet")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    os.symlink(appliance.state, tmp_path / "state")
    os.symlink(ROOT / "docs", tmp_path / "docs")
    typed = block("sh", "/predict").replace("http://localhost:8080", appliance.address)
    done = subprocess.run(
        ["bash", "-c", typed], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    shown = json.loads(block("json", '"result"').replace("…", ""))
    assert shape(answer) == shape(shown)
    (told,), (got,) = shown["result"]["predictions"], answer["result"]["predictions"]
    assert set(told) == set(got)
    assert (got["head"], got["label"]) == (told["head"], told["label"])
    for name in ("task", "model", "version", "recorded"):
        assert answer[name] == shown[name]


def test_every_page_and_script_the_readme_names_is_there() -> None:
    named = set(re.findall(r"\]\(([\w./-]+)\)", README))
    named |= set(re.findall(r"`((?:scripts|appliance|docs)/[\w./-]*)`", README))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", ["/docs", "/health", "/metrics"])
def test_the_pages_the_readme_names_answer(appliance: Running, path: str) -> None:
    assert f"`http://localhost:8080{path}`" in README or f"`{path}`" in README
    assert appliance.get(path).status == 200
