import os
import time
from pathlib import Path

import pytest

from appliance.engine import catalogue as subject
from appliance.engine.catalogue import Catalogue
from appliance.errors import NotFound


def put(library: Path, name: str, version: int, text: str = "") -> Path:
    """Write a version's manifest and nothing else."""
    directory = library / name / str(version)
    directory.mkdir(parents=True)
    content = text or f'manifest_version = 1\nname = "{name}"\nversion = {version}\ntask = "t"\n'
    (directory / "manifest.toml").write_text(content)
    return directory


def settle(library: Path) -> None:
    """Let everything look as if it had been written a while ago."""
    then = time.time() - 60
    for path in (library, *library.rglob("*")):
        os.utime(path, (then, then))


def numbers(catalogue: Catalogue) -> list[tuple[str, int]]:
    return [(place.model, place.version) for place in catalogue.versions()]


def test_an_unchanged_library_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "one", 1)
    settle(tmp_path)
    reads: list[Path] = []
    real = subject.installed_versions
    monkeypatch.setattr(
        subject, "installed_versions", lambda path: (reads.append(path), real(path))[1]
    )
    catalogue = Catalogue(tmp_path)
    assert numbers(catalogue) == numbers(catalogue) == [("one", 1)]
    assert len(reads) == 1


def test_a_version_that_comes_or_goes_is_seen_at_once(tmp_path: Path) -> None:
    put(tmp_path, "one", 1)
    settle(tmp_path)
    catalogue = Catalogue(tmp_path)
    assert numbers(catalogue) == [("one", 1)]
    put(tmp_path, "one", 2)
    assert numbers(catalogue) == [("one", 1), ("one", 2)]
    put(tmp_path, "two", 1)
    assert numbers(catalogue) == [("one", 1), ("one", 2), ("two", 1)]
    (tmp_path / "one" / "1").rename(tmp_path / ".removed")
    assert numbers(catalogue) == [("one", 2), ("two", 1)]


def test_what_changed_a_moment_ago_is_not_trusted(tmp_path: Path) -> None:
    put(tmp_path, "one", 1)
    catalogue = Catalogue(tmp_path)
    assert numbers(catalogue) == [("one", 1)]
    stamp = (tmp_path / "one").stat()
    put(tmp_path, "one", 2)
    os.utime(tmp_path / "one", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # within one tick
    assert numbers(catalogue) == [("one", 1), ("one", 2)]


def test_a_manifest_is_read_anew_when_it_changed(tmp_path: Path) -> None:
    directory = put(tmp_path, "one", 1)
    settle(tmp_path)
    catalogue = Catalogue(tmp_path)
    (place,) = catalogue.versions()
    assert catalogue.described(place).manifest.task == "t"
    assert catalogue.described(place) is catalogue.described(place)
    (directory / "manifest.toml").write_text("name = ")
    described = catalogue.described(place)
    assert "manifest.toml of one@1 is not valid" in described.reason
    assert (described.manifest.name, described.manifest.task) == ("one", "")


def test_a_place_is_the_newest_or_the_one_asked_for(tmp_path: Path) -> None:
    for version in (2, 10):
        put(tmp_path, "one", version)
    catalogue = Catalogue(tmp_path)
    assert catalogue.place("one", None).version == 10
    assert catalogue.place("one", 2).version == 2
    with pytest.raises(NotFound, match=r"no version 3. It has: 2, 10"):
        catalogue.place("one", 3)
    with pytest.raises(NotFound, match="unknown model"):
        catalogue.place("../one", None)


def test_a_library_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert Catalogue(tmp_path / "none").versions() == ()
