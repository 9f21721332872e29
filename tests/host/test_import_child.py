"""The child that imports: from what was sent to a version that has proved itself."""

import random
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from appliance.errors import ModelInvalid, Problem, UnsupportedMedia
from appliance.host.import_child import recognise_zip
from appliance.library.checksums import check_sums
from appliance.library.manifest import read_manifest
from tests.import_parts import LABELS, a_specification, ir_files, run
from tests.shared_data import shared_file
from tests.tiny_formats import onnx_model, saved_model, zipped
from tests.tiny_models import picture, write_colour_model


def test_an_onnx_file_with_labels_becomes_a_version(tmp_path: Path) -> None:
    stages: list[str] = []
    told = a_specification(tmp_path, {"m.onnx": onnx_model(), "labels.txt": LABELS}, scale=[255.0])
    done = run(told, stages=stages)
    assert stages == ["converting", "validating"]
    assert done.labels == {"labels.txt": 3}
    assert done.load_seconds > 0
    directory = tmp_path / "m" / "1"
    check_sums(directory)
    manifest = read_manifest(directory)
    assert (manifest.name, manifest.version, manifest.task) == ("m", 1, "image-classification")
    assert manifest.inputs[0].scale == (255.0,)
    assert "3 labels" in (directory / "card.md").read_text()


#: An import that, the moment it opens what was sent, tries to reach somebody and tells.
_REACHER = """
import errno, os, socket, sys
from appliance.host import import_child

inherited = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ways = [
    lambda: socket.socket(socket.AF_INET),
    socket.socketpair,
    lambda: inherited.connect("/dev/log"),
    lambda: os.execv("/bin/true", ["true"]),
]
told = False

def watch(event, given):
    global told
    if event != "open" or told or not str(given[0]).endswith("m.onnx"):
        return
    told = True
    for way in ways:
        try:
            way()
            os.write(2, b"done ")
        except OSError as fault:
            os.write(2, errno.errorcode[fault.errno].encode() + b" ")

sys.addaudithook(watch)
import_child.main()
"""


def test_an_import_can_reach_nobody_and_start_no_program(tmp_path: Path) -> None:
    told = a_specification(tmp_path, {"m.onnx": onnx_model(), "labels.txt": LABELS}, scale=[255.0])
    found = subprocess.run(
        [sys.executable, "-c", _REACHER],
        input=msgspec.json.encode(told),
        capture_output=True,
        timeout=120,
    )
    assert found.stderr.split() == [b"EACCES"] * 4
    assert b'"kind":"done"' in found.stdout


def test_labels_lose_what_nobody_sees(tmp_path: Path) -> None:
    labels = "red\u202e\ngr\x1been\nblue 车\n".encode()
    told = a_specification(tmp_path, {"m.onnx": onnx_model(), "labels.txt": labels}, scale=[1.0])
    done = run(told)
    assert (tmp_path / "m" / "1" / "labels.txt").read_text("utf-8") == "red\ngreen\nblue 车\n"
    assert "Characters that nobody sees were left out of 2 labels." in done.notes


def test_a_manifest_whose_title_hides_something_is_refused(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "made")
    files = {
        str(path.relative_to(place.directory)): path.read_bytes()
        for path in place.directory.rglob("*")
        if path.is_file()
    }
    files["manifest.toml"] = files["manifest.toml"].replace(b"Strongest", b"Str\\u202Eongest")
    with pytest.raises(ModelInvalid, match=r"title holds the invisible character U\+202E"):
        run(a_specification(tmp_path / "in", {"m.zip": zipped(files)}))


def test_a_zip_with_samples_and_a_manifest_of_ours_is_taken_as_it_is(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "made", name="colour", version=7)
    files = {
        f"export/{path.relative_to(place.directory)}": path.read_bytes()
        for path in place.directory.rglob("*")
        if path.is_file()
    }
    run(a_specification(tmp_path / "in", {"m.zip": zipped(files)}))
    directory = tmp_path / "in" / "m" / "1"
    manifest = read_manifest(directory)
    assert (manifest.name, manifest.version, manifest.title) == ("m", 1, "Strongest colour")
    assert (directory / "golden" / "red.png").read_bytes() == picture("red")


def test_samples_that_fail_refuse_the_model(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path / "made", golden_label="green")
    files = {
        str(path.relative_to(place.directory)): path.read_bytes()
        for path in place.directory.rglob("*")
        if path.is_file()
    }
    with pytest.raises(ModelInvalid, match="golden sample"):
        run(a_specification(tmp_path / "in", {"m.zip": zipped(files)}))


def test_a_saved_model_in_a_zip_is_converted(tmp_path: Path) -> None:
    content = zipped({"m/saved_model.pb": saved_model(), "m/variables/note": b"1"})
    done = run(a_specification(tmp_path, {"m.zip": content}))
    assert done.facts is not None
    assert done.facts.format == "tensorflow-saved-model"


def test_inspecting_stops_before_a_version_is_written(tmp_path: Path) -> None:
    done = run(a_specification(tmp_path, {"m.onnx": onnx_model()}, mode="inspect"))
    assert 'task = "image-classification"' in done.manifest
    assert done.facts is not None
    assert done.facts.weights_bytes > 0
    assert not (tmp_path / "m" / "1" / "manifest.toml").exists()


def test_a_version_that_lies_there_only_proves_itself(tmp_path: Path) -> None:
    told = a_specification(tmp_path, {}, mode="prove")
    write_colour_model(tmp_path, name="m", version=1)
    assert run(told).load_seconds > 0


def test_a_fault_does_not_tell_where_our_files_lie(tmp_path: Path) -> None:
    told = a_specification(tmp_path, {"m.onnx": onnx_model(), "labels.txt": LABELS})
    (tmp_path / "m").write_bytes(b"where the version's directory should be")
    with pytest.raises(ModelInvalid, match="Not a directory") as caught:
        run(told)
    assert str(tmp_path) not in caught.value.detail


def test_what_must_be_said_is_asked_for(tmp_path: Path) -> None:
    model = shared_file("models/magika/model.onnx").read_bytes()
    with pytest.raises(ModelInvalid, match="--task"):
        run(a_specification(tmp_path, {"m.onnx": model}))


def test_a_task_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid):
        run(a_specification(tmp_path, {"m.onnx": onnx_model()}, task="step-detection"))
    with pytest.raises(Problem, match="no task"):
        run(a_specification(tmp_path / "2", {"m.onnx": onnx_model()}, task="fortune-telling"))


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="3 classes"):
        run(a_specification(tmp_path, {"m.onnx": onnx_model(), "labels.txt": b"a\nb\n"}))


def test_two_models_at_once_are_refused(tmp_path: Path) -> None:
    files = {"a.onnx": onnx_model(), "b.onnx": onnx_model()}
    with pytest.raises(Problem, match="several"):
        run(a_specification(tmp_path, files))


def test_a_model_made_for_more_memory_than_there_is_fails_in_words(tmp_path: Path) -> None:
    files = {"m.onnx": onnx_model()}
    with pytest.raises(ModelInvalid):
        run(a_specification(tmp_path, files, memory_bytes=250 << 20))


def test_a_zip_inside_a_form_is_told_from_a_model(tmp_path: Path) -> None:
    for name, content, is_zip in (("a", zipped({"a": b"b"}), True), ("b", onnx_model(), False)):
        (tmp_path / name).write_bytes(content)
        assert recognise_zip(tmp_path / name) is is_zip


def test_files_of_a_form_lie_beside_each_other(tmp_path: Path) -> None:
    files = {**ir_files(tmp_path / "made"), "labels-class.txt": LABELS}
    done = run(a_specification(tmp_path / "in", files))
    assert done.facts is not None
    assert done.facts.format == "openvino-ir"


@pytest.mark.parametrize("task", ["image-classification", "object-detection"])
def test_real_models_prove_themselves(tmp_path: Path, task: str) -> None:
    if task == "object-detection":
        files = {
            "m.onnx": shared_file("models/yolox/yolox_nano.onnx").read_bytes(),
            "coco_classes.txt": shared_file("models/yolox/coco_classes.txt").read_bytes(),
        }
    else:
        model = shared_file("models/coral/mobilenet_v1_0.25_128_quant.tflite")
        files = {"m.tflite": model.read_bytes()}
    done = run(a_specification(tmp_path, files))
    assert f'task = "{task}"' in done.manifest
    assert sum(done.labels.values()) == (80 if task == "object-detection" else 1001)


def test_a_git_pointer_in_a_zip_is_said_to_be_one(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 5\n"
    with pytest.raises(UnsupportedMedia, match="git lfs pull"):
        run(a_specification(tmp_path, {"m.zip": zipped({"m/model.onnx": pointer})}))


@pytest.mark.parametrize("seed", range(4))
def test_a_model_with_wrong_bytes_is_ready_or_refused_in_words(tmp_path: Path, seed: int) -> None:
    """C-79; seventy of these gave fourteen ready versions, and a reason for each of the rest."""
    source = random.Random(seed)
    content = bytearray(onnx_model())
    for _ in range(3):
        content[source.randrange(len(content))] = source.randrange(256)
    told = a_specification(tmp_path, {"m.onnx": bytes(content)})
    reason = ""
    try:
        run(told)
    except Problem as problem:
        reason = problem.detail
    assert not reason or len(reason) > 20
