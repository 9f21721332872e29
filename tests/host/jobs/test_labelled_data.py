import json
from pathlib import Path

import pytest

from appliance.errors import (
    InsufficientStorage,
    InvalidInput,
    PayloadTooLarge,
    UnsupportedMedia,
)
from appliance.host.jobs import labelled_data
from appliance.host.jobs.contract import InputLimits, JobInput
from appliance.host.jobs.labelled_data import (
    Item,
    inputs_by_part,
    read_set,
    readable_payload,
    require_labels,
)
from tests.measure_parts import zipped


def test_folders_are_labels(tmp_path: Path) -> None:
    given = zipped(
        tmp_path / "d.zip",
        {
            "val/cat/1.png": "c",
            "val/dog/2.jpg": "d",
            "README.txt": "by hand",
            "__MACOSX/cat/._1.png": "x",
            "val/cat/.hidden.png": "x",
            "val/dog/Thumbs.db": "x",
        },
    )
    data = read_set([given], tmp_path / "w")
    assert data.form == "labels"
    assert [(one.name, one.label, one.content_type) for one in data.items] == [
        ("val/cat/1.png", "cat", "image/png"),
        ("val/dog/2.jpg", "dog", "image/jpeg"),
    ]
    assert bytes(data.items[0].payload().body) == b"c"


def test_several_zips_are_one_set(tmp_path: Path) -> None:
    parts = [
        zipped(tmp_path / "a.zip", {"cat/1.png": "c"}),
        zipped(tmp_path / "b.zip", {"dog/2.png": "d"}),
    ]
    assert [one.label for one in read_set(parts, tmp_path / "w").items] == ["cat", "dog"]


def test_several_zips_share_the_caps_of_one(tmp_path: Path) -> None:
    parts = [zipped(tmp_path / f"{name}.zip", {f"{name}/1.png": "x" * 6}) for name in "ab"]
    with pytest.raises(PayloadTooLarge, match=r"more than 1 files.*\(jobs\.members\)"):
        read_set(parts, tmp_path / "v", InputLimits(members=1))
    with pytest.raises(InsufficientStorage, match="room for 0 MB of unpacked data"):
        read_set(parts, tmp_path / "w", InputLimits(unpacked_bytes=10))


def test_data_that_is_too_large_on_any_disk_is_refused_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [zipped(tmp_path / "a.zip", {"a/1.png": "x" * 60})]
    monkeypatch.setattr(labelled_data, "MOST_UNPACKED_BYTES", 50)
    with pytest.raises(PayloadTooLarge, match="the most that one job may have"):
        read_set(parts, tmp_path / "w", InputLimits(unpacked_bytes=50))


def test_a_table_finds_its_files_and_tells_of_those_that_are_missing(tmp_path: Path) -> None:
    table = "file,label\nsub/a.png,cat\nb.png,dog\ngone.png,dog\n"
    given = zipped(
        tmp_path / "d.zip", {"x/labels.csv": table, "x/sub/a.png": "a", "elsewhere/b.png": "b"}
    )
    data = read_set([given], tmp_path / "w")
    assert [(one.name, one.label) for one in data.items] == [
        ("x/sub/a.png", "cat"),
        ("elsewhere/b.png", "dog"),
    ]
    assert "1 files that x/labels.csv names are not there" in data.notes[0]


def test_a_table_of_texts_needs_no_files(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text("text,label\nfine,1\n")
    given = JobInput(name="t.csv", content_type="text/csv", path=str(path))
    (item,) = read_set([given], tmp_path / "w").items
    assert (item.payload().body, item.content_type, item.label) == (b"fine", "text/plain", "1")


def test_a_table_without_any_of_its_files_is_refused(tmp_path: Path) -> None:
    given = zipped(tmp_path / "d.zip", {"labels.csv": "file,label\na.png,cat\n"})
    with pytest.raises(InvalidInput, match="none of them was sent"):
        read_set([given], tmp_path / "w")


def test_two_tables_are_one_too_many(tmp_path: Path) -> None:
    given = zipped(tmp_path / "d.zip", {"a.csv": "file,label\n", "b.csv": "file,label\n"})
    with pytest.raises(InvalidInput, match="several tables"):
        read_set([given], tmp_path / "w")


def test_yolo_s_files_give_boxes_and_pictures_without_one_are_empty(tmp_path: Path) -> None:
    given = zipped(
        tmp_path / "d.zip",
        {
            "images/a.jpg": "a",
            "images/b.jpg": "b",
            "labels/a.txt": "0 0.5 0.5 1 1",
            "classes.txt": "cat",
        },
    )
    data = read_set([given], tmp_path / "w")
    assert data.form == "boxes"
    boxes = {one.name: one.boxes for one in data.items}
    assert [box.label for box in boxes["images/a.jpg"] or ()] == ["cat"]
    assert boxes["images/b.jpg"] == ()
    assert "1 pictures have no label file" in data.notes[0]


def test_coco_s_file_gives_boxes(tmp_path: Path) -> None:
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "gone.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    given = zipped(tmp_path / "d.zip", {"ann/i.json": json.dumps(coco), "val/a.jpg": "a"})
    data = read_set([given], tmp_path / "w")
    (item,) = data.items
    assert (item.name, data.form) == ("val/a.jpg", "boxes")
    assert "1 of 2 pictures" in data.notes[0]


def test_pictures_alone_have_no_labels(tmp_path: Path) -> None:
    data = read_set([zipped(tmp_path / "d.zip", {"a.png": "a", "b.png": "b"})], tmp_path / "w")
    assert data.form == "none"
    with pytest.raises(InvalidInput, match="no labels"):
        require_labels(data)


@pytest.mark.parametrize("members", [{}, {"a.exe": "x"}])
def test_data_without_anything_to_measure_is_refused(
    tmp_path: Path, members: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput, match="nothing to measure"):
        read_set([zipped(tmp_path / "d.zip", members)], tmp_path / "w")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [(".", b"x", "nothing to measure"), ("boxes.json", b"[" * 100_000, "is not JSON")],
)
def test_odd_files_are_the_senders_fault_and_not_ours(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / "0001").write_bytes(content)
    sent = JobInput(name=name, content_type="", path=str(tmp_path / "0001"))
    with pytest.raises(InvalidInput, match=words):
        read_set([sent], tmp_path / "w")


def test_no_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="needs data"):
        read_set([], tmp_path)


def test_samples_and_parts_are_the_same_every_time(tmp_path: Path) -> None:
    members = {f"{label}/{number}.png": "x" for label in "ab" for number in range(20)}
    data = read_set([zipped(tmp_path / "d.zip", members)], tmp_path / "w")
    assert data.sample(7).items == data.sample(7).items
    assert len(data.sample(7).items) == 7
    assert "fixed sample of 7" in data.sample(7).notes[-1]
    assert data.sample(40) is data
    first, rest = data.split(300)
    assert (len(first.items), len(rest.items)) == (20, 20)
    assert not {one.name for one in first.items} & {one.name for one in rest.items}
    assert {one.label for one in first.items} == {"a", "b"}
    assert len(data.split(5)[0].items) == 5


def test_files_for_validation_are_told_by_their_name() -> None:
    names = ("calibration-1.zip", "Validation-1.zip", "other.zip")
    parts = inputs_by_part([JobInput(name=name, content_type="", path="") for name in names])
    assert [one.name for one in parts["validation"]] == ["Validation-1.zip"]
    assert [one.name for one in parts["calibration"]] == ["calibration-1.zip", "other.zip"]


def test_a_file_that_vanished_is_a_problem_of_its_own(tmp_path: Path) -> None:
    item = Item(name="a.png", content_type="image/png", path=tmp_path / "gone")
    with pytest.raises(UnsupportedMedia, match=r"a\.png"):
        readable_payload(item)
