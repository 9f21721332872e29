"""SIGTERM, and what systemd is told: cases 56 and 57 of the catalogue."""

import os
import signal
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import HANG_SECONDS, wait_for
from tests.tiny_models import picture

WAITING = "inference_appliance_waiting"
_WATCHDOG_SECONDS = 1.0


def test_c56_requests_in_flight_finish_and_the_exit_is_clean(start_one: Start) -> None:
    appliance = start_one(HTTP__THREADS=4, MODELS__DEADLINE_SECONDS=60, LIMITS__WAITING_SECONDS=60)
    host = appliance.host_process_id()
    assert host is not None
    os.kill(host, signal.SIGSTOP)
    with ThreadPoolExecutor(16) as pool:
        sent = [pool.submit(appliance.predict, picture()) for _ in range(16)]
        wait_for(lambda: appliance.metric(WAITING, lane="inference") == 12, "sixteen requests")
        appliance.process.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(appliance.port), "a closed door")
        assert appliance.process.poll() is None
        os.kill(host, signal.SIGCONT)
        answers = [one.result(HANG_SECONDS) for one in sent]
    assert [answer.status for answer in answers] == [200] * 16
    assert appliance.process.wait(HANG_SECONDS) == 0
    assert '"event":"no longer listening"' in appliance.log()
    assert '"event":"stopped"' in appliance.log().splitlines()[-1]
    recorded = {answer.json()["id"] for answer in answers if answer.json()["recorded"]}
    with sqlite3.connect(appliance.state / "appliance.db") as connection:
        rows = {row[0] for row in connection.execute("SELECT id FROM predictions")}
    connection.close()
    assert recorded == rows
    assert len(rows) == 16


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False


def test_a_stopped_appliance_leaves_no_process_and_no_socket(start_one: Start) -> None:
    appliance = start_one()
    host = appliance.host_process_id()
    assert appliance.stop() == 0
    wait_for(lambda: not Path(f"/proc/{host}").exists(), "the end of the host")
    assert list((appliance.state / "run").iterdir()) == []


def test_c57_systemd_hears_when_it_is_ready_and_that_it_lives(
    start_one: Start, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(short_path / "notify"))
    notify.settimeout(HANG_SECONDS)
    monkeypatch.setenv("NOTIFY_SOCKET", str(short_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", str(int(_WATCHDOG_SECONDS * 1_000_000)))
    with notify:
        appliance = start_one(is_ready_awaited=False)
        while b"READY=1" not in (message := notify.recv(4096)).split(b"\n"):
            assert b"STOPPING" not in message
        assert appliance.predict(picture()).status == 200
        assert appliance.is_ready()
        await_ping(notify)
        appliance.process.send_signal(signal.SIGSTOP)
        drain(notify)
        notify.settimeout(2 * _WATCHDOG_SECONDS)
        with pytest.raises(TimeoutError):
            notify.recv(4096)
        appliance.process.send_signal(signal.SIGCONT)
        notify.settimeout(HANG_SECONDS)
        await_ping(notify)
        assert appliance.stop() == 0
        assert b"STOPPING=1" in drain(notify)


def await_ping(notify: socket.socket) -> None:
    while b"WATCHDOG=1" not in notify.recv(4096):
        continue


def drain(notify: socket.socket) -> bytes:
    """Take what has come already."""
    notify.setblocking(False)
    taken = b""
    try:
        while True:
            taken += notify.recv(4096) + b"\n"
    except BlockingIOError:
        return taken
    finally:
        notify.settimeout(HANG_SECONDS)
