import os
import signal
import socket
import threading
import time

import pytest

from appliance.errors import ConfigInvalid, InsufficientStorage, StateUnusable
from appliance.web.server import bind
from tests.web.serving import KEY, eventually, request


def test_a_request_is_answered_and_the_connection_kept(serving):
    with serving.client() as client:
        for _ in range(3):
            reply = client.ask("/echo", b"12345")
            assert (reply.status, reply.body) == (200, b"5")
            assert "server" not in reply.headers
            assert "connection" not in reply.headers


def test_an_input_in_many_pieces_arrives_whole_and_what_follows_it_is_another_request(serving):
    body = bytes(range(256)) * 2500
    sent = request("/predict", body, X_API_Key=KEY) + request("/predict", b"next")
    with serving.client() as client:
        for start in range(0, len(sent), 99_991):
            client.send(sent[start : start + 99_991])
        assert client.reply().body == str(len(body)).encode()
        assert client.reply().body == b"4"
    assert serving.application.bodies == [body, b"next"]
    assert serving.server.connections().spooled_bytes == 0


def test_it_ticks_from_the_loop_that_serves(serving):
    eventually(lambda: serving.ticks >= 2)


def test_a_failing_tick_does_not_end_the_service(serve, caplog):
    def fails():
        raise RuntimeError("no watchdog")

    serving = serve(tick=fails)
    eventually(lambda: "no watchdog" in caplog.text)
    assert serving.get().status == 200


def test_control_is_answered_while_every_inference_thread_is_taken(serve):
    serving = serve(threads=2, waiting=2)
    held = [serving.client() for _ in range(4)]
    for client in held:
        client.send(request("/predict/hold"))
    for _ in range(2):
        serving.application.entered.acquire()
    eventually(lambda: serving.server.connections().waiting_inference == 2)
    assert serving.get("/live").status == 200
    with serving.client() as client:
        reply = client.ask("/predict", b"x" * 1000)
        assert (reply.status, reply.slug) == (503, "overloaded")
        assert int(reply.headers["retry-after"]) >= 1
        assert client.ask("/live").status == 200, "the connection stays usable"
    assert serving.reasons("rejected") == ["overloaded"]
    serving.application.gate.set()
    assert [client.reply().status for client in held] == [200] * 4
    for client in held:
        client.socket.close()


def test_hasty_clients_are_refused_a_little_later(serve):
    serving = serve(threads=1, waiting=1)
    held = [serving.client() for _ in range(2)]
    held[0].send(request("/predict/hold"))
    serving.application.entered.acquire()
    held[1].send(request("/predict/hold"))
    eventually(lambda: serving.server.connections().waiting_inference == 1)
    with serving.client() as hasty, serving.client() as other:
        for _ in range(10):
            reply = hasty.ask("/predict", b"x" * 5000)
            assert reply.slug == "overloaded"
            assert other.ask("/live").status == 200
        hasty.send(request("/predict", b"x" * 50) * 5 + request("/echo", b"123"))
        assert [hasty.reply().slug for _ in range(5)] == ["overloaded"] * 5
        assert hasty.reply().body == b"3", "nothing behind a refusal is lost"
    serving.application.gate.set()
    for client in held:
        client.reply()
        client.socket.close()


def test_a_refusal_held_back_gives_way_to_the_end_of_service(serve):
    serving = serve(threads=1, waiting=1)
    held = [serving.client() for _ in range(2)]
    held[0].send(request("/predict/hold"))
    serving.application.entered.acquire()
    held[1].send(request("/predict/hold"))
    eventually(lambda: serving.server.connections().waiting_inference == 1)
    with serving.client() as hasty:
        hasty.ask("/predict")
        hasty.send(request("/predict") * 3)
        eventually(lambda: serving.reasons("rejected").count("overloaded") >= 2)
        serving.server.stop(10.0)
        slugs = [hasty.reply().slug for _ in range(2)]
        assert slugs[-1] in ("shutting-down", "overloaded")
        serving.application.gate.set()
    for client in held:
        assert client.reply().status == 200
        client.socket.close()


def test_a_refused_body_that_is_still_coming_is_read_and_dropped(serve):
    serving = serve(threads=1, waiting=1)
    held = [serving.client() for _ in range(2)]
    held[0].send(request("/predict/hold"))
    serving.application.entered.acquire()
    held[1].send(request("/predict/hold"))
    eventually(lambda: serving.server.connections().waiting_inference == 1)
    with serving.client() as client:
        whole = request("/predict", b"y" * 300_000, X_API_Key=KEY)
        client.send(whole[:5000])
        assert client.reply().slug == "overloaded", "answered before the body has come"
        client.send(whole[5000:])
        assert client.ask("/live").status == 200
    serving.application.gate.set()
    for client in held:
        client.reply()
        client.socket.close()


def test_who_waited_too_long_in_line_is_told_so(serve):
    serving = serve(threads=1, waiting_seconds=0.05)
    first, second = serving.client(), serving.client()
    first.send(request("/predict/hold"))
    serving.application.entered.acquire()
    second.send(request("/predict"))
    eventually(lambda: serving.server.connections().waiting_inference == 1)
    time.sleep(0.06)
    serving.application.gate.set()
    assert first.reply().status == 200
    assert second.reply().slug == "overloaded"
    assert serving.application.asked == ["/predict/hold"]
    first.socket.close()
    second.socket.close()


def test_stopping_lets_running_requests_finish_and_refuses_new_ones(serve):
    serving = serve()
    kept, running = serving.client(), serving.client()
    assert kept.ask("/live").status == 200
    running.send(request("/hold"))
    serving.application.entered.acquire()
    serving.server.stop(10.0)
    eventually(lambda: _refuses_connections(serving.port))
    reply = kept.ask("/live")
    assert (reply.status, reply.slug) == (503, "shutting-down")
    assert reply.headers["connection"] == "close"
    assert kept.is_closed()
    serving.application.gate.set()
    assert running.reply().status == 200
    serving.thread.join(5)
    assert not serving.thread.is_alive()
    kept.socket.close()
    running.socket.close()


def test_who_connected_before_a_restart_is_still_answered(serve):
    serving = serve(keeps_listener=True)
    with (
        serving.listener,
        serving.client() as early,
        serving.client() as halfway,
        serving.client() as running,
    ):
        running.send(request("/hold"))
        serving.application.entered.acquire()
        halfway.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nha")
        eventually(lambda: serving.server.connections().open == 3)
        serving.server.stop(10.0)
        serving.application.gate.set()
        assert running.reply().status == 200
        halfway.send(b"lf")
        assert halfway.reply().status == 200
        assert early.ask("/live").status == 200
        serving.thread.join(10)
        assert not serving.thread.is_alive()
        assert early.is_closed()
    serving.listener.close()


def test_stopping_does_not_wait_longer_than_the_drain(serve):
    serving = serve()
    with serving.client() as running:
        running.send(request("/hold"))
        serving.application.entered.acquire()
        serving.server.stop(0.2)
        serving.thread.join(10)
        assert not serving.thread.is_alive()
        assert running.is_closed()


def test_a_half_sent_request_is_told_that_the_server_stops(serve):
    serving = serve()
    with serving.client() as client, serving.client() as running:
        running.send(request("/hold"))
        serving.application.entered.acquire()
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf")
        eventually(lambda: serving.server.connections().open == 2)
        serving.server.stop(10.0)
        assert client.reply().slug == "shutting-down"
        serving.application.gate.set()
        assert running.reply().status == 200


def test_stop_may_be_called_by_a_signal_handler(serve):
    serving = serve(starts=False)
    replies = []

    def client():
        replies.append(serving.get())
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: serving.server.stop(5.0))
    threading.Thread(target=client).start()
    try:
        serving.server.run(lambda: None)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [reply.status for reply in replies] == [200]


def _refuses_connections(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionError:
        return True
    return False


def test_a_listener_can_be_kept_for_a_successor(serve):
    serving = serve(keeps_listener=True)
    serving.stop()
    socket.create_connection(("127.0.0.1", serving.port), 5).close()
    serving.listener.close()


def test_bind_takes_ipv6_and_lets_ipv4_in(tmp_path):
    listener = bind("::", 0)
    assert listener.family == socket.AF_INET6
    socket.create_connection(("127.0.0.1", listener.getsockname()[1]), 5).close()
    listener.close()


def test_an_ipv4_client_of_an_ipv6_listener_has_its_ipv4_address(serve):
    serving = serve(host="::")
    assert serving.get().status == 200
    assert serving.application.environs[0]["REMOTE_ADDR"] == "127.0.0.1"


def test_a_port_in_use_is_named():
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    with pytest.raises(StateUnusable, match=str(port)):
        bind("127.0.0.1", port)
    listener.close()


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid", "not an address"])
def test_an_address_that_is_not_this_machines_is_a_fault_of_the_configuration(host):
    with pytest.raises(ConfigInvalid, match=host):
        bind(host, 0)


def test_a_spool_that_cannot_be_made_is_named(tmp_path, serve):
    (tmp_path / "spool-0").write_text("a file, not a directory")
    with pytest.raises(StateUnusable, match="spool-0"):
        serve(starts=False)


def test_a_failing_application_is_answered_by_a_problem(serving, caplog):
    with serving.client() as client:
        reply = client.ask("/boom")
        assert (reply.status, reply.slug) == (500, "internal")
        assert "boom" not in reply.body.decode()
        assert client.ask("/live").status == 200
    assert "RuntimeError: boom" in caplog.text


def test_a_stream_of_unknown_length_keeps_the_connection(serving):
    serving.application.big_pieces = 40
    with serving.client() as client:
        assert len(client.ask("/big").body) == 40 * 65536
        assert client.ask("/live").status == 200


def test_the_client_cannot_speak_for_a_proxy(serving):
    headers = {
        "X_Forwarded_For": "10.9.8.7",
        "X_Real_IP": "10.9.8.7",
        "Forwarded": "for=10.9.8.7",
        "X_Forwarded_Host": "evil",
        "Proxy": "evil",
    }
    assert serving.get(**headers).status == 200
    environ = serving.application.environs[0]
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert "10.9.8.7" not in repr(environ)
    assert "HTTP_PROXY" not in environ


def test_the_time_of_arrival_is_in_the_environ(serving):
    before = time.monotonic()
    serving.get()
    assert before <= serving.application.environs[0]["appliance.received_monotonic"]


def test_connections_counts_what_is_open(serving):
    with serving.client() as client:
        client.ask()
        assert serving.server.connections().open == 1
    eventually(lambda: serving.server.connections().open == 0)


def test_a_disk_that_gets_full_takes_no_uploads_but_inputs_of_predictions(serve):
    def full():
        raise InsufficientStorage("The disk is too full for an upload.")

    serving = serve(require_room=full, threads=1)
    with serving.client() as client:
        assert client.ask("/predict/a", b"x" * 600_000, x_api_key=KEY).status == 200
        assert client.ask("/upload", b"x" * 500_000, x_api_key=KEY).status == 200
        client.send_what_is_taken(request("/upload", b"x" * 600_000, x_api_key=KEY))
        assert client.reply().slug == "insufficient-storage"
