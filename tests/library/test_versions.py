import hashlib
import os
import stat
from pathlib import Path

import pytest

from appliance.errors import ModelInvalid
from appliance.library.checksums import check_sums, write_sums
from appliance.library.versions import (
    STARTER_DIRECTORY,
    answering_sums,
    install_directory,
    install_starters,
    installed_versions,
    model_file,
    remove_partial_versions,
    versions_of,
)

IR = '<?xml version="1.0"?>\n<net name="m" version="11"><layers/></net>'


def write_version(directory: Path, *, name: str = "m", version: int = 1, ir: str = IR) -> Path:
    directory.mkdir(parents=True)
    (directory / "manifest.toml").write_text(
        f'manifest_version = 1\nname = "{name}"\nversion = {version}\ntask = "t"\n'
    )
    (directory / "model.xml").write_text(ir)
    (directory / "model.bin").write_bytes(b"")
    (directory / "golden").mkdir()
    (directory / "golden" / "a.txt").write_text("a")
    write_sums(directory)
    return directory


def test_versions_are_listed_by_name_and_number(tmp_path: Path) -> None:
    for name, version in (("b", 1), ("a", 10), ("a", 9)):
        write_version(tmp_path / name / str(version))
    assert [(one.model, one.version) for one in installed_versions(tmp_path)] == [
        ("a", 9),
        ("a", 10),
        ("b", 1),
    ]
    assert [one.version for one in versions_of(tmp_path, "a")] == [9, 10]


@pytest.mark.parametrize(
    "place",
    ["a/.partial-1", "a/01", "a/0", "a/x", "a/²", ".trash/1", "A/1", "a b/1", "a/99999999999"],
)
def test_what_is_no_version_is_passed_over(tmp_path: Path, place: str) -> None:
    write_version(tmp_path / place)
    (tmp_path / "file").write_text("")
    (tmp_path / "b" / "2").mkdir(parents=True)
    assert installed_versions(tmp_path) == []


@pytest.mark.parametrize("name", ["..", ".", "a/..", "", "a\0", "x" * 100, "ä", "a\n"])
def test_a_name_from_a_url_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    write_version(tmp_path / "models" / "a" / "1")
    write_version(tmp_path / "1")
    assert versions_of(tmp_path / "models", name) == []


def test_no_directory_holds_no_versions(tmp_path: Path) -> None:
    assert installed_versions(tmp_path / "absent") == []


def test_an_installed_version_is_whole_read_only_and_found(tmp_path: Path) -> None:
    source = write_version(tmp_path / "source" / "1", name="colour", version=7)
    installed = install_directory(source, tmp_path / "models")
    assert (installed.model, installed.version) == ("colour", 7)
    check_sums(installed.directory)
    assert installed_versions(tmp_path / "models") == [installed]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in installed.directory.glob("*.*")}
    assert modes == {0o440}


def test_installing_again_changes_nothing(tmp_path: Path) -> None:
    source = write_version(tmp_path / "source" / "1")
    first = install_directory(source, tmp_path / "models")
    (source / "model.bin").write_bytes(b"other")
    assert install_directory(source, tmp_path / "models") == first
    check_sums(first.directory)


def test_a_source_that_is_not_whole_leaves_nothing_behind(tmp_path: Path) -> None:
    source = write_version(tmp_path / "source" / "1")
    (source / "model.bin").write_bytes(b"other")
    with pytest.raises(ModelInvalid, match="was changed"):
        install_directory(source, tmp_path / "models")
    assert installed_versions(tmp_path / "models") == []


def test_a_copy_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    source = write_version(tmp_path / "source" / "1")
    # The name of the partial copy is taken by something that cannot be replaced.
    (tmp_path / "models" / "m").mkdir(parents=True)
    (tmp_path / "models" / "m" / ".partial-1").write_text("")
    with pytest.raises(OSError):
        install_directory(source, tmp_path / "models")
    assert installed_versions(tmp_path / "models") == []


def test_files_an_installer_linked_hard_to_its_cache_are_copied(tmp_path: Path) -> None:
    source = write_version(tmp_path / "source" / "1")
    os.link(source / "model.bin", tmp_path / "cache")
    installed = install_directory(source, tmp_path / "models")
    assert (installed.directory / "model.bin").stat().st_nlink == 1


def test_what_an_interrupted_import_left_is_removed(tmp_path: Path) -> None:
    whole = write_version(tmp_path / "m" / "1")
    write_version(tmp_path / "m" / ".partial-2")
    remove_partial_versions(tmp_path)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [whole.name]


def test_every_starter_of_the_package_is_whole_and_can_be_installed(tmp_path: Path) -> None:
    installed = install_starters(tmp_path)
    wanted = list(STARTER_DIRECTORY.glob("*/*/manifest.toml"))
    assert len(installed) == len(wanted) > 0
    for place in installed:
        check_sums(place.directory)
        model_file(place.directory)


def test_a_broken_starter_does_not_keep_the_others_away(tmp_path: Path) -> None:
    write_version(tmp_path / "starters" / "a" / "1", name="a")
    write_version(tmp_path / "starters" / "b" / "1", name="b")
    (tmp_path / "starters" / "a" / "1" / "SHA256SUMS").unlink()
    found = install_starters(tmp_path / "models", starters=tmp_path / "starters")
    assert [place.model for place in found] == ["b"]


@pytest.mark.parametrize("part", ["model.xml", "model.bin"])
def test_a_missing_part_is_named(tmp_path: Path, part: str) -> None:
    directory = write_version(tmp_path / "m" / "1")
    (directory / part).unlink()
    with pytest.raises(ModelInvalid, match=f"{part} is missing from m@1"):
        model_file(directory)


@pytest.mark.parametrize(
    ("ir", "words"),
    [
        (IR.replace('"11"', '"12"'), "newer OpenVINO.*IR version 12.*10 to 11"),
        (IR.replace('"11"', '"9"'), "too old"),
        ("hello", "not an OpenVINO IR"),
        ("\x80\x05ctorch", "not an OpenVINO IR"),
        ("", "not an OpenVINO IR"),
        ('<!DOCTYPE net [<!ENTITY a "aaaa">]>' + IR, "declares entities"),
    ],
)
def test_what_is_not_an_ir_of_this_release_is_refused(tmp_path: Path, ir: str, words: str) -> None:
    directory = write_version(tmp_path / "m" / "1", ir=ir)
    with pytest.raises(ModelInvalid, match=words):
        model_file(directory)


@pytest.mark.parametrize(
    "ir",
    [
        IR,
        "\ufeff" + IR,
        IR.partition("\n")[2],
        IR.replace("<net", "<!-- by hand -->\n<net"),
        IR.replace('name="m" version="11"', 'version="10" name="m"'),
    ],
)
def test_an_ir_of_this_release_is_taken(tmp_path: Path, ir: str) -> None:
    directory = write_version(tmp_path / "m" / "1", ir=ir)
    assert model_file(directory) == directory / "model.xml"


def test_a_starter_whose_place_is_taken_by_another_model_is_told_and_not_installed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    starters, models = tmp_path / "starters", tmp_path / "models"
    source = write_version(starters / "a" / "1", name="a")
    install_starters(models, starters=starters)
    (source / "card.md").write_text("better words")
    write_sums(source)
    install_starters(models, starters=starters)
    assert not caplog.records, "a card changes no answer"
    (source / "model.bin").write_bytes(b"other weights")
    write_sums(source)
    install_starters(models, starters=starters)
    (record,) = caplog.records
    assert "a@1 in the library is not the one that ships" in record.__dict__["reason"]
    assert (models / "a" / "1" / "model.bin").read_bytes() == b""


def test_other_weights_of_a_starter_have_another_version() -> None:
    """A version is never replaced where it is installed, so new weights need a new number.

    A new version of a starter, or a new starter, adds its line to the list; no line is changed
    once it was released.
    """
    lines = (Path(__file__).parent / "starter_digests.txt").read_text().splitlines()
    known = dict(line.split() for line in lines)
    for manifest in sorted(STARTER_DIRECTORY.glob("*/*/manifest.toml")):
        version = manifest.parent
        name = f"{version.parent.name}/{version.name}"
        text = repr(sorted(answering_sums(version).items()))
        digest = hashlib.sha256(text.encode()).hexdigest()
        assert known.get(name) == digest, (
            f"The files of {name} are not those of the list: raise its version and add the line"
            f" '{name} {digest}' to starter_digests.txt."
        )
