"""Evaluating, quantising and tuning on a real appliance, by HTTP and by command line."""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import HANG_SECONDS, Running, wait_for
from tests.end_to_end.test_jobs import ended, form
from tests.measure_parts import DATA, colours, zipped

MODEL = "/api/v1/models/colour"


def result(running: Running, job: Any) -> Any:
    found = ended(running, job["id"])
    assert found["state"] == "done", found
    return running.get(found["result"]).json()


def test_a_model_is_measured_and_its_report_can_be_fetched(
    appliance: Running, tmp_path: Path
) -> None:
    data = zipped(tmp_path / "d.zip", colours(red=4, green=4, blue=4))
    body, headers = form(("d.zip", "application/zip", Path(data.path).read_bytes()))
    answer = appliance.call("POST", f"{MODEL}/evaluate", body, headers=headers)
    assert answer.status == 202, answer.body
    found = result(appliance, answer.json())
    assert found["result"]["measured"]["classification"]["accuracy"] == 1.0
    places = {file["name"]: file["location"] for file in found["files"]}
    assert appliance.get(places["report.md"]).body.startswith(b"# colour@")
    assert appliance.get(places["confusion.png"]).body.startswith(b"\x89PNG")


def test_data_of_another_model_ends_the_job_with_a_sentence(
    appliance: Running, tmp_path: Path
) -> None:
    data = zipped(tmp_path / "d.zip", {"cow/1.png": b"x", "pig/2.png": b"x"})
    body, headers = form(("d.zip", "application/zip", Path(data.path).read_bytes()))
    job = appliance.call("POST", f"{MODEL}/evaluate", body, headers=headers).json()
    found = ended(appliance, job["id"])
    assert (found["state"], found["attempts"]) == ("dead", 1)
    assert "labelled cow, pig, but the model knows red" in found["problem"]["detail"]


def test_what_tuning_chose_outlives_a_restart(start_one: Start) -> None:
    running = start_one()
    job = running.call("POST", f"{MODEL}/tune?most_seconds=5").json()
    chosen = result(running, job)["result"]["chosen"]
    assert chosen["can_be_chosen"]
    assert '"tuning kept"' in running.log()
    state = running.state
    running.kill()
    again = start_one(state)
    again.wait_until_ready()
    assert "tunings not read" not in again.log()


def test_a_folder_is_measured_by_the_command_line(appliance: Running, tmp_path: Path) -> None:
    folder, out = tmp_path / "data", tmp_path / "report"
    for name, body in colours(red=3, blue=3).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    told = appliance.command("model", "evaluate", "colour@1", str(folder), "--out", str(out))
    assert told.returncode == 0, told.stderr
    assert "100.0 % right: 6 of 6." in told.stdout
    assert json.loads((out / "report.json").read_text())["version"] == 1
    (folder / "red" / "9.png").write_bytes(b"no picture")
    shutil.rmtree(folder / "blue")
    again = appliance.command("model", "evaluate", "colour@1", str(folder), "--json")
    assert again.returncode == 1
    assert "no labels" in again.stderr


def test_an_int8_version_is_installed_and_answers_nobody(start_one: Start, tmp_path: Path) -> None:
    running = start_one()
    data = zipped(tmp_path / "d.zip", colours(red=12, green=12, blue=12))
    body, headers = form(("d.zip", "application/zip", Path(data.path).read_bytes()))
    job = running.call("POST", f"{MODEL}/quantise", body, headers=headers).json()
    found = result(running, job)["result"]
    assert found["is_kept"], found["reason"]
    assert found["new_version"] == {"model": "colour", "version": 2}
    told = wait_for(lambda: running.get(MODEL).json(), "the model's versions")
    assert told["active_version"] == 1
    assert [one["version"] for one in told["versions"]] == [1, 2]


def test_the_command_line_waits_on_when_the_appliance_is_killed_and_comes_back(
    start_one: Start, tmp_path: Path
) -> None:
    running = start_one()
    folder = tmp_path / "data"
    for name, body in colours(red=50, blue=50).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    told: list[Any] = []
    waiting = threading.Thread(
        target=lambda: told.append(running.command("model", "evaluate", "colour", str(folder)))
    )
    waiting.start()
    # Asked once for where the job stands, it is then waited for.
    wait_for(lambda: "/api/v1/jobs/{job_id}" in running.log() or told, "the job")
    running.kill()
    start_one(running.state)
    waiting.join(HANG_SECONDS)
    assert told
    assert told[0].returncode == 0, told[0].stderr
    assert "100.0 % right: 100 of 100." in told[0].stdout


def test_the_command_line_gives_up_a_version_that_takes_too_long(
    start_one: Start, tmp_path: Path
) -> None:
    running = start_one()
    folder = tmp_path / "data"
    for name, body in colours(red=12, blue=12).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    told = running.command("model", "quantise", "colour", str(folder), "--most-seconds", "1")
    assert told.returncode == 1
    assert "took longer than 1 s (most_seconds)" in told.stderr
    assert [one["version"] for one in running.get(MODEL).json()["versions"]] == [1]


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "coco").is_dir(), reason="../shared/data is not there")
def test_yolox_scores_on_real_photos_as_it_is_known_to(start_one: Start) -> None:
    running = start_one()
    yolox = DATA / "models" / "yolox"
    told = running.command(
        *("model", "install", str(yolox / "yolox_nano.onnx"), "--name", "yolox-nano"),
        *("--decoder", "yolox", "--labels", str(yolox / "coco_classes.txt")),
    )
    assert told.returncode == 0, told.stderr
    told = running.command("model", "evaluate", "yolox-nano", str(DATA / "coco"), "--json")
    assert told.returncode == 0, told.stderr
    score = json.loads(told.stdout)["measured"]["detection"]
    # On all 128 photos .503 and .340 are published; these 40 of them are a little easier.
    assert score["map50"] == pytest.approx(0.531, abs=0.005)
    assert score["map50_95"] == pytest.approx(0.389, abs=0.005)


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "coco").is_dir(), reason="../shared/data is not there")
def test_yolox_with_weights_of_eight_bits_scores_like_its_original(start_one: Start) -> None:
    running = start_one()
    yolox = DATA / "models" / "yolox"
    told = running.command(
        *("model", "install", str(yolox / "yolox_nano_dynamic_range_quantize.tflite")),
        *("--name", "yolox-nano"),
    )
    assert told.returncode == 0, told.stderr
    told = running.command("model", "evaluate", "yolox-nano", str(DATA / "coco"), "--json")
    assert told.returncode == 0, told.stderr
    score = json.loads(told.stdout)["measured"]["detection"]
    assert score["map50"] == pytest.approx(0.539, abs=0.005)
    assert score["map50_95"] == pytest.approx(0.386, abs=0.005)


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "photos").is_dir(), reason="../shared/data is not there")
def test_mobilenet_gives_its_known_answers(start_one: Start, tmp_path: Path) -> None:
    running = start_one()
    coral = DATA / "models" / "coral"
    told = running.command(
        *("model", "install", str(coral / "tf2_mobilenet_v2_1.0_224_ptq.tflite")),
        *("--name", "mobilenet", "--labels", str(coral / "imagenet_labels.txt")),
    )
    assert told.returncode == 0, told.stderr
    known = {
        "parrot.jpg": "macaw",
        "cat_720p.jpg": "Egyptian cat",
        "sunflower.bmp": "daisy",
        "dragonfly.bmp": "dragonfly",
        "imprinting_hotdog_test_0.bmp": "hotdog",
    }
    for name in known:
        shutil.copy(DATA / "photos" / name, tmp_path / name)
    lines = [f"{name},{label}" for name, label in known.items()]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *lines]))
    told = running.command("model", "evaluate", "mobilenet", str(tmp_path), "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["measured"]["classification"]["right"] == len(known)
