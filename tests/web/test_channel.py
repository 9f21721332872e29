import os
import socket
import subprocess
import time

import pytest

from appliance.clock import ManualClock
from tests.web.serving import HANG_SECONDS, KEY, eventually, request

SECOND = b"GET /second HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "first",
    [
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\nHost: localhost\n\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: y\r\n z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_a_request_pipelined_behind_an_ambiguous_one_never_runs(serving, first):
    with serving.client() as client:
        client.send(first + SECOND)
        reply = client.reply()
        assert (reply.status, reply.slug) == (400, "malformed-request")
        assert reply.headers["connection"] == "close"
        assert client.is_closed()
    assert serving.application.asked == []


def test_pipelined_requests_are_answered_in_order(serving):
    with serving.client() as client:
        client.send(request("/echo", b"a" * 7) + request("/echo", b"b" * 200) + SECOND)
        assert [client.reply().body for _ in range(3)] == [b"7", b"200", b"0"]


def test_what_comes_while_a_request_runs_is_answered_afterwards(serving):
    with serving.client() as client:
        client.send(request("/hold"))
        serving.application.entered.acquire()
        client.send(request("/echo", b"12"))
        time.sleep(0.05)
        assert serving.application.asked == ["/hold"]
        serving.application.gate.set()
        assert [client.reply().body for _ in range(2)] == [b"0", b"2"]


def test_another_host_is_misdirected(serving):
    reply = serving.get(Host="evil.example")
    assert (reply.status, reply.slug) == (421, "misdirected-request")


def test_a_configured_host_is_served(serve):
    assert serve(host_names=("*.example.lan",)).get(Host="box.example.lan:80").status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 300_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_large_heads_are_refused(serving, data):
    with serving.client() as client:
        client.send_what_is_taken(data)
        assert client.reply().slug == "headers-too-large"
        assert client.is_closed()


def test_a_tls_client_is_told_off_at_once(serving):
    with serving.client() as client:
        client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert client.reply().slug == "malformed-request"


def test_an_announced_body_over_the_limit_is_refused_before_it_is_sent(serve):
    serving = serve(body_bytes=1000)
    with serving.client() as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        reply = client.reply()
        assert (reply.status, reply.slug) == (413, "payload-too-large")
        assert reply.headers["connection"] == "close"
        assert client.is_closed()
    assert serving.get("/echo", method="GET").status == 200
    with serving.client() as client:
        assert client.ask("/echo", b"x" * 1000).status == 200, "the limit itself is allowed"


def test_no_more_than_a_little_of_a_refused_body_is_taken(serve):
    serving = serve(body_bytes=1000)
    with serving.client() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.send(request("/", b"x", Content_Length=str(1 << 40)))
        client.socket.settimeout(HANG_SECONDS)
        taken = 0
        try:
            while taken < 1 << 30:
                taken += client.socket.send(b"x" * 65536)
        except ConnectionError:
            pass
        assert taken < 32 << 20, "the rest is what socket buffers hold"


def test_a_chunked_body_is_counted_while_it_streams(serve):
    serving = serve(body_bytes=1000)
    with serving.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(4):
            client.send(b"fa\r\n" + b"x" * 250 + b"\r\n")
        client.send(b"1\r\nx\r\n")
        assert client.reply().slug == "payload-too-large"
        assert client.is_closed()


def test_a_route_may_have_a_smaller_limit(serve):
    serving = serve(body_limit=lambda method, path: 10 if path == "/small" else 1 << 30)
    with serving.client() as client:
        assert client.ask("/echo", b"x" * 11).status == 200
        assert client.ask("/small", b"x" * 11).slug == "payload-too-large"


def test_continue_is_said_only_when_the_body_will_be_taken(serving):
    with serving.client() as client:
        client.send(
            b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert client.reply(has_body=False).status == 100
        client.send(b"hello")
        assert client.reply().body == b"5"
        assert client.ask("/live").status == 200


def test_a_large_body_needs_a_key_before_it_is_read(serving):
    with serving.client() as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        reply = client.reply()
        assert (reply.status, reply.slug) == (401, "unauthenticated")
        assert "www-authenticate" in reply.headers
        assert client.is_closed()
    with serving.client() as client:
        assert client.ask("/echo", b"x" * 65536).body == b"65536"
        assert client.ask("/echo", b"x" * 65537, X_API_Key=KEY).body == b"65537"


def test_a_large_chunked_body_needs_a_key_too(serving):
    chunk = b"8000\r\n" + b"x" * 32768 + b"\r\n"
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    with serving.client() as client:
        client.send_what_is_taken(head + b"\r\n" + chunk * 20 + b"0\r\n\r\n")
        assert client.reply().slug == "unauthenticated"
    with serving.client() as client:
        key = b"X-API-Key: " + KEY.encode() + b"\r\n\r\n"
        client.send(head + key + chunk * 20 + b"0\r\n\r\n")
        assert client.reply().body == str(20 * 32768).encode()


def test_many_uploads_without_a_key_leave_nothing_behind(serving):
    clients = [serving.client() for _ in range(50)]
    for client in clients:
        client.send_what_is_taken(request("/", b"x" * 100_000, Content_Length=str(400 << 20)))
    assert {client.reply().slug for client in clients} == {"unauthenticated"}
    assert serving.server.connections().spooled_bytes == 0
    for client in clients:
        client.socket.close()


def test_uploads_share_one_budget(serve):
    serving = serve(spool_bytes=3 << 20)
    with serving.client() as first:
        first.send(request("/echo", b"x", Content_Length=str(2 << 20), X_API_Key=KEY))
        eventually(lambda: serving.server.connections().spooled_bytes == 2 << 20)
        with serving.client() as second:
            reply = second.ask("/echo", b"x", Content_Length=str(2 << 20), X_API_Key=KEY)
            assert (reply.status, reply.slug) == (503, "unavailable")
        with serving.client() as third:
            reply = third.ask("/echo", b"x", Content_Length=str(4 << 20), X_API_Key=KEY)
            assert (reply.status, reply.slug) == (507, "insufficient-storage")
        first.send(b"x" * ((2 << 20) - 1))
        assert first.reply().body == str(2 << 20).encode()
    eventually(lambda: serving.server.connections().spooled_bytes == 0)


def test_an_upload_that_breaks_off_gives_its_budget_back(serving):
    with serving.client() as client:
        client.send(request("/echo", b"x" * 700_000, Content_Length=str(2 << 20), X_API_Key=KEY))
        eventually(lambda: serving.server.connections().spooled_bytes == 2 << 20)
    eventually(lambda: serving.server.connections().spooled_bytes == 0)
    assert serving.application.asked == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_spool_disk_is_answered_by_507(serve, tmp_path):
    disk = tmp_path / "spool-0"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False)
    if mounted.returncode:
        pytest.skip("this environment does not allow mounts")
    try:
        serving = serve()
        with serving.client() as client:
            client.send_what_is_taken(request("/echo", b"x" * (4 << 20), X_API_Key=KEY))
            reply = client.reply()
            assert (reply.status, reply.slug) == (507, "insufficient-storage")
        assert serving.get("/live").status == 200
        eventually(lambda: serving.server.connections().spooled_bytes == 0)
        serving.stop()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_slow_heads_are_cut_by_a_deadline_that_bytes_do_not_extend(serve):
    serving = serve(header_seconds=0.4)
    with serving.client() as client:
        began = time.monotonic()
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        while time.monotonic() - began < HANG_SECONDS:
            try:
                client.send(b"X: y\r\n")
                client.socket.settimeout(0.05)
                reply = client.reply()
                break
            except TimeoutError:
                continue
        assert (reply.status, reply.slug) == (408, "request-timeout")
        client.socket.settimeout(HANG_SECONDS)
        assert client.is_closed()
    assert serving.reasons("cut") == ["slow-request"]


def test_service_goes_on_beside_slow_heads(serve):
    serving = serve(header_seconds=1.5, connections_per_address=200)
    slow = []
    for _ in range(150):
        slow.append(serving.client())
        slow[-1].send(b"GET / HTTP/1.1\r\n")
    assert serving.get("/live").status == 200
    for client in slow:
        assert client.reply().status == 408
        client.socket.close()
    eventually(lambda: serving.server.connections().open == 0)


def test_slow_bodies_are_cut_by_their_rate(serve):
    serving = serve(body_grace_seconds=0.3, body_bytes_per_second=10_000)
    with serving.client() as client:
        client.send(request("/echo", b"x", Content_Length="1000"))
        assert client.reply().slug == "request-timeout"
    assert serving.application.asked == []


def test_a_steady_body_is_not_cut(serve):
    serving = serve(body_grace_seconds=0.2, body_bytes_per_second=10)
    with serving.client() as client:
        client.send(request("/echo", b"x", Content_Length="20"))
        for _ in range(19):
            time.sleep(0.03)
            client.send(b"x")
        assert client.reply().body == b"20"


def test_idle_connections_end(serve):
    serving = serve(idle_seconds=0.3)
    with serving.client() as client:
        assert client.ask("/live").status == 200
        assert client.is_closed()
    assert serving.reasons("cut") == ["idle"]


def test_a_running_request_is_not_idle(serve):
    serving = serve(idle_seconds=0.1, header_seconds=0.1, body_grace_seconds=0.1)
    with serving.client() as client:
        client.send(request("/hold"))
        serving.application.entered.acquire()
        time.sleep(0.5)
        serving.application.gate.set()
        assert client.reply().status == 200


def test_jumps_of_the_wall_clock_neither_cut_nor_keep(serve):
    clock = ManualClock()
    serving = serve(clock=clock)
    with serving.client() as slow, serving.client() as idle:
        assert idle.ask("/live").status == 200
        slow.send(request("/echo", b"x" * 10, Content_Length="20"))
        clock.jump(3600)
        assert serving.get("/live").status == 200
        clock.jump(-7200)
        slow.send(b"x" * 10)
        assert slow.reply().body == b"20", "an hour forward cut nothing"
        assert serving.server.connections().open >= 2
        clock.advance(31)
        assert idle.is_closed(), "an hour back kept nothing"


def test_clients_that_leave_in_the_middle_cost_nothing(serve):
    serving = serve(threads=4, waiting=500, connections=600)
    for _ in range(100):
        for path in ("/predict", "/predict/hold"):
            client = serving.client()
            client.send(request(path))
            client.socket.close()
    serving.application.gate.set()
    eventually(lambda: serving.server.connections().open == 0)
    eventually(lambda: serving.application.running == 0)
    eventually(lambda: serving.server.connections().waiting_inference == 0)
    assert serving.get("/predict").status == 200


def test_who_gave_up_in_line_is_not_served(serve):
    serving = serve(threads=1)
    with serving.client() as first:
        first.send(request("/predict/hold"))
        serving.application.entered.acquire()
        with serving.client() as second:
            second.send(request("/predict/wasted"))
            eventually(lambda: serving.server.connections().waiting_inference == 1)
        time.sleep(0.6)
        serving.application.gate.set()
        assert first.reply().status == 200
    eventually(lambda: serving.server.connections().open == 0)
    assert serving.application.asked == ["/predict/hold"]


def test_a_half_closed_client_still_gets_its_answer(serving):
    with serving.client() as client:
        client.send(request("/echo", b"abc"))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.reply().body == b"3"


def test_a_flood_of_one_byte_chunks_does_not_stall_others(serving):
    with serving.client() as client:
        client.send(
            b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"X-API-Key: " + KEY.encode() + b"\r\n\r\n"
        )
        chunks = b"1\r\nx\r\n" * 20_000
        for _ in range(5):
            client.send(chunks)
            assert serving.get("/live").status == 200
        client.send(b"0\r\n\r\n")
        assert client.reply().body == b"100000"


@pytest.mark.parametrize("method", ["PUT", "TRACE", "FROBNICATE", "OPTIONS", "DELETE"])
def test_unknown_methods_reach_the_application(serving, method):
    assert serving.get("/x", method=method).status == 200


def test_connect_is_refused(serving):
    with serving.client() as client:
        client.send(b"CONNECT a.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.reply().slug == "not-implemented"


def test_head_of_a_refusal_has_no_body(serving):
    with serving.client() as client:
        client.send(b"HEAD / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        reply = client.reply(has_body=False)
        assert reply.status == 421
        assert client.is_closed()
        assert client._held == b""


def test_a_sane_request_id_is_echoed_in_refusals(serving):
    reply = serving.get(Host="evil.example", X_Request_ID="trace-7")
    assert reply.problem["request_id"] != "", "refused before or after the id was read"
    reply = serving.get("/", X_Request_ID="trace-7", Content_Length="x")
    assert reply.slug == "malformed-request"
