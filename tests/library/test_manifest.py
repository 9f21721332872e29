import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import ModelInvalid
from appliance.library.manifest import Manifest, read_labels, read_manifest

HEAD = 'manifest_version = 1\nname = "m"\nversion = 1\ntask = "t"\n'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "m" / "1"
    path.mkdir(parents=True)
    return path


def read(directory: Path, text: str) -> Manifest:
    (directory / "manifest.toml").write_text(text)
    return read_manifest(directory)


def test_a_short_manifest_has_the_safe_defaults(directory: Path) -> None:
    manifest = read(directory, HEAD)
    assert manifest.precision == "f32"
    assert manifest.inputs == ()


def test_a_description_may_have_lines_and_any_script(directory: Path) -> None:
    manifest = read(directory, HEAD + 'title = "שלום 车"\ndescription = "one\\n\\ttwo 👩\u200d👧"')
    assert manifest.title == "שלום 车"
    assert manifest.description.startswith("one\n")


def test_a_head_is_named_by_itself_or_its_tensor(directory: Path) -> None:
    manifest = read(directory, HEAD + '[[outputs]]\ntensor="a"\n[[outputs]]\ntensor="b"\nhead="c"')
    assert manifest.heads() == ("a", "c")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = ", "manifest.toml of m@1 is not valid"),
        ("", "manifest_version"),
        (HEAD.replace("1\nname", "2\nname"), "Invalid enum value 2"),
        (HEAD.replace('"m"', '"../x"'), "name"),
        (HEAD.replace("version = 1\ntask", "version = 0\ntask"), "version"),
        (HEAD + "tasks = 1", "unknown field `tasks`"),
        (HEAD + '[[inputs]]\ntensor="a"\npad_position="left"', "Invalid enum value 'left'"),
        (HEAD + '[[inputs]]\ntensor="a"\nmean=[1,2]', "mean needs 1 or 3 values, not 2"),
        (HEAD + '[[inputs]]\ntensor="a"\nscale=[1,2,0]', "scale must not be 0"),
        (HEAD + '[[inputs]]\ntensor="a"\nmean=[nan]', "mean must be finite"),
        (HEAD + '[[inputs]]\ntensor="a"\ncolor_order="GRAY"\nmean=[1,2,3]', "1 or 1 values"),
        (HEAD + 'title = "car\\u202Egpj"', r"title holds the invisible character U\+202E"),
        (HEAD + 'description = "a\\u001b[2J"', r"description holds .* U\+001B"),
        (HEAD + '[[outputs]]\ntensor="a"\nhead="x\\u200By"', r"head holds .* U\+200B"),
    ],
)
def test_a_wrong_manifest_is_refused_with_the_reason(
    directory: Path, text: str, words: str
) -> None:
    with pytest.raises(ModelInvalid, match=words) as caught:
        read(directory, text)
    assert str(directory) not in caught.value.detail


def test_a_missing_manifest_is_told(directory: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"m@1 has no manifest\.toml"):
        read_manifest(directory)


def test_a_manifest_that_cannot_be_read_is_told(directory: Path) -> None:
    (directory / "manifest.toml").mkdir()
    with pytest.raises(ModelInvalid, match="cannot be read: Is a directory"):
        read_manifest(directory)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_manifest_or_invalid(junk: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place, "m", "1")
        directory.mkdir(parents=True)
        (directory / "manifest.toml").write_bytes(junk)
        with pytest.raises(ModelInvalid):
            read_manifest(directory)


OUTPUT = '[[outputs]]\ntensor = "scores"\nlabels = "labels.txt"\n'


def test_labels_are_read_in_order_whatever_editor_wrote_them(directory: Path) -> None:
    manifest = read(directory, HEAD + OUTPUT + '[[outputs]]\ntensor = "other"\n')
    (directory / "labels.txt").write_bytes("\ufeffbus\r\nbike\r\nLöwe\r\n\r\n".encode())
    assert read_labels(directory, manifest) == {"scores": ("bus", "bike", "Löwe"), "other": ()}


@pytest.mark.parametrize("name", ["../labels.txt", "/etc/passwd", "golden/labels.txt"])
def test_labels_from_elsewhere_are_refused(directory: Path, name: str) -> None:
    manifest = read(directory, HEAD + OUTPUT.replace("labels.txt", name))
    with pytest.raises(ModelInvalid, match="beside the manifest"):
        read_labels(directory, manifest)


def test_labels_that_are_missing_or_no_text_are_told(directory: Path) -> None:
    manifest = read(directory, HEAD + OUTPUT)
    with pytest.raises(ModelInvalid, match="cannot be read: No such file"):
        read_labels(directory, manifest)
    (directory / "labels.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelInvalid, match="not UTF-8"):
        read_labels(directory, manifest)
