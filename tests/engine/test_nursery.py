import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import frames
from appliance.engine.nursery import (
    Nursery,
    _child_environment,
    nursery_command,
    return_code_words,
)
from appliance.host.specification import HostSpecification, NurseryEvent
from tests.engine.running import HANG_SECONDS, eventually, is_gone


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    found = Nursery()
    found.socket.settimeout(HANG_SECONDS)
    yield found
    found.end()


def specification(directory: Path) -> HostSpecification:
    return HostSpecification(
        directory=str(directory / "absent" / "1"),
        cache_directory=str(directory),
        threads=1,
        connections=4,
        memory_bytes=4 * 1024**3,
        image_pixels=1000,
        image_formats=("PNG",),
        tensor_batch=4,
    )


def test_a_birth_a_word_and_an_end_are_told(nursery: Nursery, tmp_path: Path) -> None:
    control = nursery.spawn(42, specification(tmp_path))
    with control:
        control.settimeout(HANG_SECONDS)
        born = nursery.event()
        assert isinstance(born, NurseryEvent)
        assert (born.kind, born.token) == ("born", 42)
        message, _ = frames.receive(control)
        assert message["kind"] == "failed"
        assert "SHA256SUMS of absent@1" in message["problem"]["detail"]
        ended = nursery.event()
        assert isinstance(ended, NurseryEvent)
        assert (ended.kind, ended.process_id) == ("ended", born.process_id)
        assert os.waitstatus_to_exitcode(ended.wait_status) == 3


def test_the_nursery_runs_one_thread_so_that_forking_is_safe(
    nursery: Nursery, tmp_path: Path
) -> None:
    nursery.spawn(1, specification(tmp_path)).close()
    assert nursery.event()  # all its imports are done
    assert len(list(Path(f"/proc/{nursery.process_id}/task").iterdir())) == 1


def test_the_nursery_outlives_the_signals_that_end_a_group(
    nursery: Nursery, tmp_path: Path
) -> None:
    nursery.spawn(1, specification(tmp_path)).close()
    assert nursery.event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(nursery.process_id, number)
    nursery.spawn(2, specification(tmp_path)).close()
    while (event := nursery.event()) and (event.kind, event.token) != ("born", 2):
        pass
    assert event


def test_what_c_libraries_print_reaches_no_log(nursery: Nursery, tmp_path: Path) -> None:
    nursery.spawn(1, specification(tmp_path)).close()
    assert nursery.event()
    assert os.readlink(f"/proc/{nursery.process_id}/fd/2") == os.devnull


def test_a_nursery_ends_when_the_front_is_gone(nursery: Nursery) -> None:
    nursery.socket.close()
    eventually(lambda: is_gone(nursery.process_id))


def test_a_nursery_that_ended_is_told(nursery: Nursery) -> None:
    os.kill(nursery.process_id, signal.SIGKILL)
    assert nursery.event() is None
    assert nursery.end() == "signal 9 (SIGKILL); perhaps the kernel was out of memory"


def test_ends_are_told_in_words() -> None:
    assert return_code_words(3) == "exit status 3"
    assert return_code_words(-11) == "signal 11 (SIGSEGV)"


def test_the_service_managers_sockets_do_not_reach_a_child() -> None:
    found = _child_environment({"NOTIFY_SOCKET": "/x", "LISTEN_FDS": "1", "PATH": "/bin"})
    assert found["PATH"] == "/bin"
    assert found["OPENBLAS_NUM_THREADS"] == "1"
    assert not {"NOTIFY_SOCKET", "LISTEN_FDS"} & found.keys()


def test_a_nursery_finds_the_package_from_any_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "openvino.py").write_text("raise SystemExit('a stranger was imported')")
    monkeypatch.chdir(tmp_path)
    nursery = Nursery()
    try:
        nursery.socket.settimeout(HANG_SECONDS)
        nursery.spawn(1, specification(tmp_path)).close()
        assert nursery.event()
    finally:
        nursery.end()


def test_the_packaged_program_starts_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.frozen", True, raising=False)
    monkeypatch.setattr("sys.executable", "/opt/appliance")
    assert nursery_command(7) == ["/opt/appliance", "host-nursery", "7"]
