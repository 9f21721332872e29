"""Jobs of a real appliance: what it has acknowledged is done, whatever ends it when."""

import contextlib
import http.client
import json
import random
import threading
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import HANG_SECONDS, Answer, Running, start, wait_for
from tests.tiny_models import picture

ROUNDS = 4
BATCH = "/api/v1/models/colour/batch"
SMALL = {
    "APPLIANCE_JOBS__BACKOFF_SECONDS": "0.1",
    "APPLIANCE_JOBS__LONGEST_BACKOFF_SECONDS": "0.2",
}


def form(*files: tuple[str, str, bytes]) -> tuple[bytes, dict[str, str]]:
    """Return a multipart body of files (name, media type, bytes) and its header."""
    pieces = [
        f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        f"Content-Type: {kind}\r\n\r\n".encode()
        + body
        + b"\r\n"
        for name, kind, body in files
    ]
    return b"".join(pieces) + b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


def send(running: Running, *colours: str, query: str = "", **headers: str) -> Answer:
    files = [(f"{each}-{n}.png", "image/png", picture(each)) for n, each in enumerate(colours)]
    body, header = form(*files)
    return running.call("POST", BATCH + query, body, headers={**header, **headers})


def ended(running: Running, job_id: str) -> Any:
    def look() -> Any:
        found = running.get(f"/api/v1/jobs/{job_id}?wait=5").json()
        return found if found["state"] in ("done", "dead", "cancelled") else None

    return wait_for(look, f"the end of {job_id}", also=running.log_of_faults)


@pytest.fixture
def running(start_one: Start) -> Running:
    return start_one(**{name.removeprefix("APPLIANCE_"): value for name, value in SMALL.items()})


def test_a_batch_answers_each_file_and_one_bad_file_is_a_row_with_a_problem(
    running: Running,
) -> None:
    body, header = form(
        ("a.png", "image/png", picture("red")),
        ("broken.png", "image/png", b"\x89PNG no"),
        ("b.png", "image/png", picture("blue")),
    )
    sent = running.call("POST", f"{BATCH}?wait=30", body, headers=header)
    assert sent.status == 202
    job = sent.json()
    assert sent.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert ended(running, job["id"])["state"] == "done"
    found = running.get(f"/api/v1/jobs/{job['id']}/result").json()
    assert found["result"]["totals"] == {"files": 3, "ok": 2, "failed": 1}
    assert [one["status"] for one in found["result"]["files"]] == ["ok", "failed", "ok"]
    assert [one.get("label") for one in found["result"]["files"]] == ["red", None, "blue"]
    assert found["result"]["files"][1]["problem"]["status"] in (415, 422)
    lines = running.get(f"/api/v1/jobs/{job['id']}/result/results.jsonl")
    assert lines.headers["content-type"] == "application/jsonl"
    assert len(lines.body.splitlines()) == 3
    counts = running.get("/health").json()["jobs"]
    assert (counts["waiting"], counts["running"], counts["dead"]) == (0, 0, 0)
    assert counts["stored_bytes"] == running.metric("inference_appliance_jobs_stored_bytes") > 0
    assert running.get(f"/api/v1/jobs/{job['id']}").json()["message"] == (
        "done: 2 of 3 files answered"
    )
    name = "inference_appliance_jobs_processed_total"
    assert running.metric(name, kind="batch", outcome="done") == 1
    with_dots = running.get(f"/api/v1/jobs/{job['id']}/result/../../appliance.db")
    assert with_dots.status == 404


def test_a_zip_is_read_member_by_member(running: Running) -> None:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("reds/1.png", picture("red"))
        archive.writestr("../out.png", picture("blue"))
    headers = {"Content-Type": "application/zip"}
    sent = running.call("POST", BATCH, packed.getvalue(), headers=headers)
    assert ended(running, sent.json()["id"])["state"] == "done"
    found = running.get(f"/api/v1/jobs/{sent.json()['id']}/result").json()["result"]
    assert [(one["file"], one["status"]) for one in found["files"]] == [
        ("reds/1.png", "ok"),
        ("../out.png", "failed"),
    ]


def test_a_device_sees_its_own_jobs_only(running: Running) -> None:
    _, own = running.new_key("own")
    _, other = running.new_key("other")
    body, header = form(("a.png", "image/png", picture("red")))
    job_id = running.call("POST", BATCH, body, headers=header, key=own).json()["id"]
    assert running.get(f"/api/v1/jobs/{job_id}", key=own).status == 200
    for path in (f"/api/v1/jobs/{job_id}", f"/api/v1/jobs/{job_id}/result"):
        assert running.get(path, key=other).status == 404
    assert running.call("DELETE", f"/api/v1/jobs/{job_id}", key=other).status == 404
    assert running.get("/api/v1/jobs", key=other).json()["jobs"] == []
    assert [job["id"] for job in running.get("/api/v1/jobs", key=own).json()["jobs"]] == [job_id]
    assert running.get("/api/v1/admin/dlq", key=own).status == 403


def post(running: Running, prefix: str, taken: list[str], over: threading.Event) -> None:
    """Send batches until told otherwise, and note what was acknowledged."""
    count = 0
    while not over.is_set():
        count += 1
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = send(running, "red", **{"Idempotency-Key": f"{prefix}-{count}"})
            if answer.status == 202:
                taken.append(answer.json()["id"])


def test_nothing_acknowledged_is_lost_when_the_appliance_is_killed(running: Running) -> None:
    """C-47: SIGKILL at any moment of taking jobs in and running them."""
    taken: list[str] = []
    settings = {**running.settings, **SMALL}
    for number in range(ROUNDS):
        over = threading.Event()
        sender = threading.Thread(target=post, args=(running, f"k{number}", taken, over))
        sender.start()
        before = len(taken)
        wait_for(lambda known=before: len(taken) > known + 2, "jobs", also=running.log_of_faults)
        threading.Event().wait(random.uniform(0.0, 0.3))
        running.kill()
        over.set()
        sender.join(HANG_SECONDS)
        running = start(running.state, settings)
    try:
        assert len(set(taken)) == len(taken) > 2 * ROUNDS
        for job_id in taken:
            done = ended(running, job_id)
            assert done["state"] == "done", done
            found = running.get(f"/api/v1/jobs/{job_id}/result").json()["result"]
            assert found["totals"] == {"files": 1, "ok": 1, "failed": 0}
    finally:
        running.kill()


def test_an_idempotency_key_makes_one_job_of_many_requests(running: Running) -> None:
    first = send(running, "red", **{"Idempotency-Key": "once"})
    again = send(running, "red", **{"Idempotency-Key": "once"})
    assert (first.status, again.status) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    other = send(running, "blue", **{"Idempotency-Key": "once"})
    assert (other.status, other.problem) == (409, "conflict")
    assert len(running.get("/api/v1/jobs").json()["jobs"]) == 1


def test_a_stop_gives_what_runs_back_and_leaves_no_process(running: Running) -> None:
    """C-56: SIGTERM with jobs inside."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(600):
            archive.writestr(f"{number}.png", picture("red", size=256))
    headers = {"Content-Type": "application/zip"}
    job_id = running.call("POST", BATCH, packed.getvalue(), headers=headers).json()["id"]
    wait_for(
        lambda: running.get(f"/api/v1/jobs/{job_id}").json()["progress"] > 0,
        "progress",
        also=running.log_of_faults,
    )
    family = psutil.Process(running.process.pid).children(recursive=True)
    assert any(one.name() == "ia-jobs" for one in family)
    assert running.stop() == 0
    psutil.wait_procs(family, timeout=HANG_SECONDS)
    restarted = start(running.state, running.settings)
    try:
        done = ended(restarted, job_id)
        assert (done["state"], done["attempts"], done["allowed_attempts"]) == ("done", 2, 4)
    finally:
        restarted.kill()


def test_the_command_line_lists_waits_for_and_fetches_jobs(
    running: Running, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for colour in ("red", "green", "blue"):
        (folder / f"{colour}.png").write_bytes(picture(colour))
    out = tmp_path / "results.csv"
    done = running.command("predict", "colour", str(folder), "--out", str(out))
    assert done.returncode == 0, done.stderr
    rows = out.read_text().splitlines()
    assert rows[0] == "file,status,label,confidence,problem"
    assert [row.split(",")[2] for row in rows[1:]] == ["blue", "green", "red"]
    shown = running.command("job", "list", "--json")
    (job,) = json.loads(shown.stdout)
    assert "done" in running.command("job", "show", job["id"]).stdout
    assert running.command("job", "wait", job["id"]).returncode == 0
    fetched = running.command("job", "result", job["id"], "--out", str(tmp_path / "kept"))
    assert fetched.returncode == 0, fetched.stderr
    assert (tmp_path / "kept" / "results.jsonl").exists()
    assert (tmp_path / "kept" / "result.json").exists()
    refused = running.command("job", "retry", job["id"])
    assert refused.returncode == 1
    assert "only a dead one" in refused.stderr
    assert running.command("job", "remove", job["id"]).returncode == 0
    assert json.loads(running.command("job", "list", "--json").stdout) == []


def test_a_zip_that_cannot_be_read_is_refused_at_once_and_leaves_nothing(
    running: Running,
) -> None:
    headers = {"Content-Type": "application/zip"}
    refused = running.call("POST", BATCH, b"PK\x03\x04 cut off", headers=headers)
    assert (refused.status, refused.problem) == (422, "invalid-input")
    assert running.get("/api/v1/jobs").json()["jobs"] == []
    assert list((running.state / "jobs").iterdir()) == []


def test_a_key_that_sends_too_many_jobs_is_told_when_to_come_again(start_one: Start) -> None:
    running = start_one(JOBS__MOST_PER_KEY=2, JOBS__RUNNERS=1)
    _, key = running.new_key("eager")
    files = [(f"{n}.png", "image/png", picture("red")) for n in range(50)]
    body, header = form(*files)
    answers = [running.call("POST", BATCH, body, headers=header, key=key) for _ in range(8)]
    assert [answer.status for answer in answers[:2]] == [202, 202]
    refused = next(answer for answer in answers if answer.status != 202)
    assert (refused.status, refused.problem) == (429, "rate-limited")
    assert refused.headers["retry-after"] == "30"
    assert "jobs.most_per_key" in refused.json()["detail"]
    assert running.call("POST", BATCH, body, headers=header).status == 202
