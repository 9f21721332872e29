"""What the process that faces the network holds, and what it tells Prometheus."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.running import ROOT, Running, environment
from tests.tiny_models import picture


def test_the_front_has_loaded_neither_pillow_nor_openvino(appliance: Running) -> None:
    assert appliance.predict(picture()).status == 200
    mapped = Path(f"/proc/{appliance.process.pid}/maps").read_text()
    for library in ("PIL", "openvino", "numpy"):
        assert f"/{library}/" not in mapped
    host = appliance.host_process_id()
    assert "/openvino/" in Path(f"/proc/{host}/maps").read_text()


def test_serving_imports_neither_pillow_nor_openvino_nor_numpy() -> None:
    program = (
        "import sys, appliance.cli, appliance.web.serve;"
        "print(sorted({'PIL', 'openvino', 'numpy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_c106_no_key_is_in_the_environment_or_command_line(appliance: Running) -> None:
    _, key = appliance.new_key("grepped")
    assert appliance.predict(picture(), key=key).status == 200
    processes = [appliance.process.pid, appliance.host_process_id()]
    for process_id in processes:
        for name in ("environ", "cmdline"):
            held = Path(f"/proc/{process_id}/{name}").read_bytes()
            assert key.encode() not in held
            assert appliance.key.encode() not in held


@pytest.mark.parametrize("path", ["/live", "/ready", "/health", "/metrics", "/docs"])
def test_a_monitor_may_ask_with_head(appliance: Running, path: str) -> None:
    answer = appliance.call("HEAD", path, key=None)
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 0
    assert appliance.call("HEAD", "/api/v1/models").status == 405


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_metrics_are_served_in_both_formats(appliance: Running, accept: str) -> None:
    answer = appliance.get("/metrics", key=None, headers={"Accept": accept})
    assert answer.status == 200
    assert b"inference_appliance_requests_total" in answer.body
    assert answer.body.endswith(b"# EOF\n") == bool(accept)


def test_promtool_finds_nothing_wrong_with_the_metrics(appliance: Running) -> None:
    assert appliance.predict(picture()).status == 200
    exposition = appliance.get("/metrics").body
    try:
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=exposition, capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("promtool is not installed")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_labels_never_hold_what_a_client_chose(appliance: Running) -> None:
    for number in range(20):
        appliance.get(f"/made-up-{number}")
        appliance.call(f"MADEUP{number}", "/live")
        appliance.predict(picture(), model=f"made-up-{number}")
    assert b"made-up" not in appliance.get("/metrics").body.lower()
    assert b"MADEUP" not in appliance.get("/metrics").body
