"""What is written as manifest.toml is read as the same manifest."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.library.manifest import Batching, Input, Manifest, Output, read_manifest
from appliance.library.manifest_text import manifest_text
from appliance.library.versions import STARTER_DIRECTORY
from appliance.plain_text import hidden_in


def read_back(directory: Path, manifest: Manifest) -> Manifest:
    (directory / "manifest.toml").write_text(manifest_text(manifest), "utf-8")
    return read_manifest(directory)


def test_a_whole_manifest_survives(tmp_path: Path) -> None:
    manifest = Manifest(
        manifest_version=1,
        name="m",
        version=3,
        task="object-detection",
        title='Quotes " and \\',
        description='Quotes " and\nlines',
        inputs=(Input(tensor="a:0", layout="NCHW", mean=(1.5, 2.0, 3.0), scale=(255.0,)),),
        outputs=(Output(tensor="b", labels="labels.txt", decoder="yolox"), Output(tensor="c")),
        batching=Batching(most=4),
        settings={"threshold": 0.5, "strides": [8, 16], "deep": {"a b": True}},
    )
    assert read_back(tmp_path, manifest) == manifest


@pytest.mark.parametrize("path", sorted(STARTER_DIRECTORY.glob("*/*")), ids=str)
def test_the_shipped_manifests_survive(path: Path, tmp_path: Path) -> None:
    manifest = read_manifest(path)
    assert read_back(tmp_path, manifest) == manifest


def test_what_is_at_its_default_is_left_out() -> None:
    text = manifest_text(Manifest(manifest_version=1, name="m", version=1, task="t"))
    assert text.splitlines() == [
        "manifest_version = 1",
        'name = "m"',
        "version = 1",
        'task = "t"',
        'precision = "f32"',
    ]


values: Any = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(
    st.text(max_size=40).filter(lambda text: not hidden_in(text)),
    st.dictionaries(st.text(max_size=8), values, max_size=3),
)
def test_any_text_and_settings_survive(title: str, given: dict[str, Any]) -> None:
    import tomllib

    manifest = Manifest(
        manifest_version=1, name="m", version=1, task="t", title=title, settings=given
    )
    read = tomllib.loads(manifest_text(manifest))
    assert read.get("title", "") == title
    assert read.get("settings", {}) == given
