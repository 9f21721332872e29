import io
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from appliance.errors import InvalidInput, ModelInvalid, Problem
from appliance.host.hosted_model import HostedModel, load
from appliance.host.specification import HostSpecification
from appliance.library.manifest import read_manifest
from appliance.library.versions import VersionDirectory
from tests.tiny_models import (
    change,
    picture,
    substitute,
    write_colour_model,
    write_detector_model,
    write_two_headed_model,
)

# A host switches Pillow's warnings off when it starts (host/nursery.py).
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

OMZ = Path(__file__).parents[3] / "shared" / "data" / "models" / "omz"


def specification(place: VersionDirectory, **changes: Any) -> HostSpecification:
    return msgspec.structs.replace(
        HostSpecification(
            directory=str(place.directory),
            cache_directory=str(place.directory.parents[2] / "cache"),
            threads=1,
            connections=4,
            memory_bytes=1 << 33,
            image_pixels=25_000_000,
            image_formats=("PNG", "JPEG"),
            tensor_batch=8,
        ),
        **changes,
    )


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def predicted(hosted: HostedModel, colour: Any = "red", **params: Any) -> dict[str, Any]:
    header = {"method": "predict", "params": params, "content_type": "image/png"}
    _, encoded = hosted.answer(header, bytearray(picture(colour)))
    return {one["head"]: one for one in json.loads(encoded)["predictions"]}


@pytest.mark.parametrize("colour", ["red", "lime", "blue"])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_a_picture_is_answered(models: Path, colour: str, order: str) -> None:
    labels = ("red", "lime", "blue")
    place = write_colour_model(
        models, color_order=order, labels=labels if order == "RGB" else labels[::-1],
        golden_label="red",
    )  # fmt: skip
    assert predicted(load(specification(place)), colour)["colour"]["label"] == colour


def test_a_reply_says_what_is_recorded_and_how_long_each_step_took(models: Path) -> None:
    hosted = load(specification(write_colour_model(models)))
    header = {"method": "predict", "params": {}, "content_type": "image/png"}
    reply, _ = hosted.answer(header, bytearray(picture("blue")))
    assert (reply["label"], reply["confidence"]) == ("blue", pytest.approx(1))
    assert len(reply["timing"]) == 3
    assert "state" not in reply


def test_a_turn_that_keeps_the_session_hands_out_its_state(models: Path) -> None:
    hosted = load(specification(write_colour_model(models)))
    header = {"method": "predict", "content_type": "image/png", "keep": True}
    reply, _ = hosted.answer(header, bytearray(picture()))
    again, encoded = hosted.answer({"method": "end", "state": reply["state"]}, bytearray())
    assert (again, encoded) == ({}, b"")


def test_both_heads_of_a_model_answer(models: Path) -> None:
    found = predicted(load(specification(write_two_headed_model(models))), (0, 0, 255))
    assert found["colour"]["label"] == "blue"
    assert found["brightness"]["label"] == "dark"
    bright = predicted(load(specification(write_two_headed_model(models, name="b"))), "white")
    assert bright["brightness"]["label"] == "light"


def test_parameters_reach_the_task_and_wrong_ones_are_refused(models: Path) -> None:
    hosted = load(specification(write_colour_model(models)))
    assert len(predicted(hosted, top_k="1")["colour"]["top"]) == 1
    with pytest.raises(InvalidInput, match="top_k"):
        predicted(hosted, top_k=0)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_model_that_answers_no_number_is_flagged_and_the_json_is_valid(
    models: Path, value: str
) -> None:
    place = write_colour_model(models, factor=float(value), has_golden=False)
    # Zeros times infinity are not a number either, so the warm-up must not mind.
    found = predicted(load(specification(place)), "white")["colour"]
    assert (found["label"], found["confidence"], found["top"]) == (None, None, [])
    assert "not numbers" in found["warning"]


def test_the_canary_asks_the_golden_sample_and_tells_a_wrong_answer(models: Path) -> None:
    hosted = load(specification(write_colour_model(models)))
    reply, body = hosted.answer({"method": "canary"}, bytearray())
    assert reply["seconds"] > 0
    assert body == b""
    sample, payload = hosted.samples[0]
    hosted.samples = ((sample, msgspec.structs.replace(payload, body=picture("blue"))),)
    with pytest.raises(ModelInvalid, match=r"expected 'red' .* got 'blue'"):
        hosted.answer({"method": "canary"}, bytearray())


def test_the_configured_limits_reach_the_decoder(models: Path) -> None:
    place = write_colour_model(models)
    hosted = load(specification(place, image_pixels=256))
    header = {"method": "predict", "params": {}, "content_type": "image/png"}
    for size, status in ((16, 200), (17, 413)):
        try:
            hosted.answer(header, bytearray(picture(size=size)))
        except Problem as problem:
            assert problem.status == status  # noqa: PT017
        else:
            assert status == 200
    hosted = load(specification(place))
    with pytest.raises(Problem, match="GIF pictures are not accepted here") as caught:
        hosted.answer(header, bytearray(picture(format="GIF")))
    assert caught.value.status == 415


def test_an_unknown_method_is_our_own_fault(models: Path) -> None:
    hosted = load(specification(write_colour_model(models)))
    with pytest.raises(Problem, match="no method 'dance'"):
        hosted.answer({"method": "dance"}, bytearray())


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        ("manifest.toml", substitute("image-classification", "nonsense"), "no task 'nonsense'"),
        ("manifest.toml", substitute("version = 1\ntask", "version = 2\ntask"), "place of colour"),
        ("manifest.toml", substitute('name = "colour"', 'name = "other"'), "that of other@1"),
        ("manifest.toml", substitute("layout", "lay_out"), "unknown field `lay_out`"),
        ("labels.txt", lambda content: b"red\nblue\n", "has 3 classes, but labels.txt names 2"),
        ("labels.txt", lambda content: b"blue\nred\ngreen\n", "expected 'red'.*got 'blue'"),
        ("golden/samples.json", lambda content: b"{", "samples.json is not valid"),
        ("golden/red.png", lambda content: content[:40], r"golden sample red\.png: "),
        ("model.bin", lambda content: b"", "Incorrect weights"),
    ],
)
def test_a_version_that_is_wrong_is_refused_with_a_plain_reason(
    models: Path, name: str, edit: Any, words: str
) -> None:
    place = write_colour_model(models)
    change(place, name, edit)
    with pytest.raises(ModelInvalid, match=words) as caught:
        load(specification(place))
    assert str(models) not in caught.value.detail
    assert caught.value.detail.endswith(".")


def test_a_link_in_the_place_of_the_weights_is_refused(models: Path) -> None:
    place = write_colour_model(models)
    weights = place.directory / "model.bin"
    weights.rename(models / "elsewhere.bin")
    weights.symlink_to(models / "elsewhere.bin")
    with pytest.raises(ModelInvalid, match=r"model\.bin of colour@1 is a link"):
        load(specification(place))


def quarters() -> bytes:
    """A picture of 64 × 48 that is red at the left top and blue at the right bottom."""
    picture = Image.new("RGB", (64, 48))
    picture.paste((255, 0, 0), (0, 0, 32, 24))
    picture.paste((0, 0, 204), (32, 24, 64, 48))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def detected(hosted: HostedModel, **params: Any) -> dict[str, Any]:
    header = {"method": "predict", "params": params, "content_type": "image/png"}
    found: dict[str, Any] = json.loads(hosted.answer(header, bytearray(quarters()))[1])
    return found


def test_a_detector_finds_what_is_in_a_picture(models: Path) -> None:
    found = detected(load(specification(write_detector_model(models))))
    assert (found["width"], found["height"]) == (64, 48)
    assert [(one["label"], one["confidence"]) for one in found["objects"]] == [
        ("red", pytest.approx(1, abs=0.02)),
        ("blue", pytest.approx(0.8, abs=0.02)),
    ]
    assert found["objects"][0]["box"] == {"x1": 0.0, "y1": 0.0, "x2": 32.0, "y2": 24.0}
    assert found["objects"][1]["box"] == {"x1": 32.0, "y1": 24.0, "x2": 64.0, "y2": 48.0}


def test_a_detector_looks_at_tiles_in_one_turn(models: Path) -> None:
    hosted = load(specification(write_detector_model(models)))
    found = detected(hosted, tiles="2x2", overlap="0", threshold="0.9")
    # Each tile of one colour has four quarters of it, which reach its inner edges or its corner.
    assert {one["label"] for one in found["objects"]} == {"red"}
    assert all(one["box"]["x2"] <= 32 and one["box"]["y2"] <= 24 for one in found["objects"])


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_detector_that_answers_no_number_finds_nothing_and_says_so(
    models: Path, value: str
) -> None:
    found = detected(load(specification(write_detector_model(models, factor=float(value)))))
    assert found["objects"] == []
    assert "not numbers" in found["warning"]


def test_what_was_found_is_drawn_on_the_picture(models: Path) -> None:
    hosted = load(specification(write_detector_model(models)))
    header = {"method": "predict", "content_type": "image/png", "draw": "image/png"}
    reply, drawn = hosted.answer(header, bytearray(quarters()))
    assert json.loads(reply["result"])["objects"][0]["label"] == "red"
    assert Image.open(io.BytesIO(drawn)).size == (64, 48)
    assert reply["label"] == "red"
    with pytest.raises(Problem, match="draws nothing"):
        load(specification(write_colour_model(models))).answer(header, bytearray(picture()))


@pytest.mark.skipif(not OMZ.is_dir(), reason="../shared/data/models/omz is not on this machine")
def test_a_real_model_with_two_heads_is_served(models: Path) -> None:
    place = write_colour_model(models, name="vehicle-attributes", has_golden=False)
    name = "vehicle-attributes-recognition-barrier-0039"
    for suffix in ("xml", "bin"):
        shutil.copyfile(OMZ / f"{name}.{suffix}", place.directory / f"model.{suffix}")
    (place.directory / "type.txt").write_text("car\nbus\ntruck\nvan\n")
    (place.directory / "color.txt").write_text("white\ngray\nyellow\nred\ngreen\nblue\nblack\n")
    (place.directory / "labels.txt").unlink()
    manifest = (
        'manifest_version = 1\nname = "vehicle-attributes"\nversion = 1\n'
        'task = "image-classification"\n'
        '[[inputs]]\ntensor = "input"\nlayout = "NCHW"\ncolor_order = "BGR"\n'
        '[[outputs]]\ntensor = "type"\nlabels = "type.txt"\n'
        '[[outputs]]\ntensor = "color"\nlabels = "color.txt"\n'
    )
    change(place, "manifest.toml", lambda _: manifest.encode())
    assert read_manifest(place.directory).heads() == ("type", "color")
    hosted = load(specification(place))
    for colour in ("white", "yellow", "black"):
        found = predicted(hosted, colour)
        assert found["color"]["label"] == colour
        assert found["type"]["label"] in ("car", "bus", "truck", "van")
