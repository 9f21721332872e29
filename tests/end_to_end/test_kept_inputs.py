"""Keeping inputs on a real appliance: off at first, looked at again, calibrated from, and gone."""

import json
import zipfile
from pathlib import Path

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import Running, wait_for
from tests.end_to_end.test_measurements import MODEL, result
from tests.measure_parts import colours
from tests.tiny_models import picture

KEEP = {"HISTORY__KEEP_INPUTS": "colour"}


def files(running: Running) -> list[Path]:
    return [path for path in (running.state / "inputs").rglob("*") if path.is_file()]


def test_nothing_is_kept_unless_asked_for_and_the_way_is_told(appliance: Running) -> None:
    answer = appliance.predict(picture("red")).json()
    assert answer["recorded"]
    assert appliance.get(f"/api/v1/predictions/{answer['id']}/input").status == 404
    assert files(appliance) == []
    assert not appliance.get("/health").json()["inputs"]["is_on"]
    refused = appliance.call("POST", f"{MODEL}/quantise?calibration=recorded")
    assert (refused.status, refused.problem) == (409, "conflict")
    assert "history.keep_inputs" in refused.json()["detail"]
    told = appliance.command("model", "quantise", "colour", "--calibration", "recorded")
    assert told.returncode == 1
    assert "history.keep_inputs" in told.stderr


def test_what_was_asked_calibrates_an_int8_version(start_one: Start) -> None:
    running = start_one(**KEEP)
    bodies = list(colours(red=12, green=12, blue=12).values())
    answers = [running.predict(body).json() for body in bodies]
    assert all(answer["recorded"] for answer in answers)
    told = wait_for(
        lambda: (found := running.get("/health").json()["inputs"])["kept"] == 36 and found,
        "kept inputs",
        also=running.log_of_faults,
    )
    assert (told["is_on"], told["dropped"], told["paused"]) == (True, 0, "")
    assert running.metric("inference_appliance_inputs_kept") == 36
    assert running.metric("inference_appliance_inputs_kept_bytes") == 36 * 4096

    again = running.get(f"/api/v1/predictions/{answers[0]['id']}/input")
    assert again.body == bodies[0]
    assert again.headers["content-type"] == "image/png"
    assert again.headers["x-content-type-options"] == "nosniff"
    assert "attachment" in again.headers["content-disposition"]
    made = running.call("POST", "/api/v1/backups", timeout_seconds=120)
    assert made.status == 201, made.body
    with zipfile.ZipFile(made.json()["path"]) as archive:
        assert not [name for name in archive.namelist() if "inputs" in name]
    _, stranger = running.new_key("stranger")
    path = f"/api/v1/predictions/{answers[0]['id']}/input"
    assert running.get(path, key=stranger).status == 404

    job = running.call("POST", f"{MODEL}/quantise?calibration=recorded").json()
    found = result(running, job)
    assert found["result"]["is_kept"], found["result"]["reason"]
    assert found["result"]["calibration"] == "recorded"
    assert found["result"]["calibration_items"] == 18
    places = {file["name"]: file["location"] for file in found["files"]}
    report = running.get(places["report.md"]).body.decode()
    assert "18 recorded inputs showed the range" in report


def test_the_command_line_calibrates_from_what_was_recorded(
    start_one: Start, tmp_path: Path
) -> None:
    running = start_one(**KEEP)
    for body in colours(red=8, green=8, blue=8).values():
        assert running.predict(body).json()["recorded"]
    wait_for(lambda: len(files(running)) == 24, "kept inputs", also=running.log_of_faults)
    validation = tmp_path / "validation"
    for name, body in colours(red=5, blue=5).items():
        path = validation / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    told = running.command(
        *("model", "quantise", "colour", "--calibration", "recorded"),
        *("--validation", str(validation), "--json"),
    )
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert (found["calibration"], found["calibration_items"]) == ("recorded", 24)
    assert found["has_truth"]
    assert found["original"]["measured"]["items"] == 10


def test_whoever_switches_it_off_has_none_left_after_the_next_start(start_one: Start) -> None:
    running = start_one(**KEEP)
    running.predict(picture("red"))
    wait_for(lambda: files(running), "a kept input", also=running.log_of_faults)
    state = running.state
    running.stop()
    assert files(running)
    again = start_one(state)
    assert files(again) == []
