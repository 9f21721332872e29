"""Too much, too slow, gone too early: group B of the catalogue, as far as the whole product goes.

A host that is stopped with SIGSTOP stands for a model that is busy: it holds requests for as long
as the test wants, and no clock decides anything.
"""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import HANG_SECONDS, Answer, Running, wait_for
from tests.end_to_end.test_security import png
from tests.tiny_models import picture

IN_FLIGHT = "inference_appliance_in_flight"
WAITING = "inference_appliance_waiting"


@contextmanager
def busy(appliance: Running) -> Iterator[int]:
    """Keep the model from answering; yield its process."""
    host = appliance.host_process_id()
    assert host is not None
    os.kill(host, signal.SIGSTOP)
    try:
        yield host
    finally:
        with suppress(ProcessLookupError):
            os.kill(host, signal.SIGCONT)


def send(appliance: Running, count: int, pool: ThreadPoolExecutor) -> "list[Future[Answer]]":
    return [pool.submit(appliance.predict, picture()) for _ in range(count)]


def test_c26_the_excess_is_refused_at_once_while_the_rest_is_served(start_one: Start) -> None:
    appliance = start_one(
        HTTP__THREADS=2,
        LIMITS__WAITING=2,
        LIMITS__WAITING_SECONDS=60,
        MODELS__DEADLINE_SECONDS=60,
    )
    with ThreadPoolExecutor(24) as pool:
        with busy(appliance):
            sent = send(appliance, 20, pool)
            wait_for(lambda: sum(one.done() for one in sent) == 16, "sixteen refusals")
            for path in ("/live", "/ready", "/health", "/metrics"):
                assert appliance.get(path, timeout_seconds=10).status == 200
            refused = [one.result() for one in sent if one.done()]
        answers = [one.result(HANG_SECONDS) for one in sent]
    for answer in refused:
        assert answer.problem == "overloaded"
        assert int(answer.headers["retry-after"]) >= 1
    assert sorted(answer.status for answer in answers) == [200] * 4 + [503] * 16
    assert appliance.predict(picture()).status == 200


def test_c39_clients_that_leave_take_no_place_with_them(start_one: Start) -> None:
    appliance = start_one(HTTP__THREADS=4, LIMITS__WAITING=64, MODELS__DEADLINE_SECONDS=60)
    head = (
        f"POST /api/v1/models/colour/predict HTTP/1.1\r\nHost: 127.0.0.1:{appliance.port}\r\n"
        f"X-API-Key: {appliance.key}\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(picture())}\r\n\r\n"
    )
    for _ in range(3):
        with busy(appliance):
            for _ in range(50):
                with socket.create_connection(("127.0.0.1", appliance.port)) as client:
                    client.sendall(head.encode() + picture())
            wait_for(lambda: appliance.metric(IN_FLIGHT) >= 1, "a call")
        wait_for(lambda: appliance.metric(WAITING) == 0, "an empty line")
        wait_for(lambda: appliance.metric(IN_FLIGHT) == 0, "an idle model")
    with ThreadPoolExecutor(4) as pool:
        answers = [one.result(HANG_SECONDS) for one in send(appliance, 16, pool)]
    assert [answer.status for answer in answers] == [200] * 16


def test_c40_a_model_that_hangs_is_given_up_and_replaced(start_one: Start) -> None:
    appliance = start_one(MODELS__DEADLINE_SECONDS=0.5, MODELS__DEADLINE_MISSES=1)
    hung = appliance.host_process_id()
    assert hung is not None
    os.kill(hung, signal.SIGSTOP)
    answer = appliance.predict(picture())
    assert answer.problem == "deadline-exceeded"
    assert answer.status == 504
    wait_for(lambda: appliance.host_process_id() not in (None, hung), "another host")
    wait_for(lambda: appliance.predict(picture()).status == 200, "an answer")
    assert not Path(f"/proc/{hung}/maps").exists() or not Path(f"/proc/{hung}/maps").read_text()


def test_c41_a_host_that_dies_is_named_and_back_at_once(start_one: Start) -> None:
    appliance = start_one()
    with ThreadPoolExecutor(1) as pool, busy(appliance) as host:
        (sent,) = send(appliance, 1, pool)
        wait_for(lambda: appliance.metric(IN_FLIGHT) == 1, "the call")
        os.kill(host, signal.SIGKILL)
        answer = sent.result(HANG_SECONDS)
    assert answer.problem == "host-died"
    assert "SIGKILL" in answer.json()["detail"]
    wait_for(lambda: appliance.host_process_id() not in (None, host), "another host")
    assert appliance.predict(picture()).status == 200
    assert appliance.metric("inference_appliance_host_restarts_total", model="colour") == 1
    assert "host died" in appliance.log()
    assert appliance.process.poll() is None


def test_c41_a_picture_that_takes_all_memory_takes_no_service_along(start_one: Start) -> None:
    first = start_one()
    status = Path(f"/proc/{first.host_process_id()}/status").read_text()
    used_kilobytes = int(status.partition("VmSize:")[2].split()[0])
    state = first.state
    assert first.stop() == 0
    room = 40 * 1024 * 1024
    appliance = start_one(state, MODELS__MEMORY_BYTES=used_kilobytes * 1024 + room)
    body = png(4900, 4900)
    answer = appliance.predict(body)
    assert answer.status in (200, 413, 503), answer
    if answer.status == 503:
        assert answer.problem == "host-died"
    wait_for(lambda: appliance.predict(picture()).status == 200, "an answer to the next one")


def test_c33_half_a_million_chunks_are_one_body(appliance: Running) -> None:
    head = (
        f"POST /api/v1/models/colour/predict HTTP/1.1\r\nHost: 127.0.0.1:{appliance.port}\r\n"
        f"X-API-Key: {appliance.key}\r\nContent-Type: image/png\r\nConnection: close\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    body = b"1\r\nx\r\n" * 500_000 + b"0\r\n\r\n"
    seen: list[int] = []
    asking = threading.Event()

    def watch() -> None:
        while not asking.is_set():
            seen.append(appliance.get("/live").status)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        answer = appliance.raw(head.encode() + body)
    finally:
        asking.set()
        watcher.join(HANG_SECONDS)
    assert answer[:12] in (b"HTTP/1.1 415", b"HTTP/1.1 422", b"HTTP/1.1 400")
    assert set(seen) == {200}


def test_c37_json_beyond_its_limit_is_refused_by_its_length(appliance: Running) -> None:
    body = b"[" + b"[]," * 3_000_000 + b"[]]"
    assert appliance.post_json("/api/v1/keys", body).problem == "payload-too-large"
    assert appliance.post_json("/v2/models/colour/infer", b'{"inputs":' + body).status in (
        400,
        413,
    )
    assert appliance.get("/live").status == 200


def test_an_input_beyond_its_limit_is_refused(start_one: Start) -> None:
    appliance = start_one(LIMITS__INPUT_BYTES=100_000)
    assert appliance.predict(bytes(100_001)).problem == "payload-too-large"
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n%b\r\n--b--\r\n'
    )
    answer = appliance.predict(
        form % bytes(100_001), content_type="multipart/form-data; boundary=b"
    )
    assert answer.problem == "payload-too-large"
    assert appliance.predict(picture()).status == 200


def test_a_caller_beyond_the_limit_is_told_when_to_come_back(start_one: Start) -> None:
    appliance = start_one(ACCESS__REQUESTS_PER_SECOND=0.01, ACCESS__BURST=50)
    _, key = appliance.new_key()
    answers = [appliance.get("/api/v1/models", key=key) for _ in range(60)]
    refused = [answer for answer in answers if answer.status == 429]
    assert len(refused) == 10
    for answer in refused:
        assert answer.problem == "rate-limited"
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["ratelimit"].startswith('"default";r=0;t=')
    assert appliance.get("/api/v1/models").status == 200
