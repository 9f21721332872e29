import socket

from tests.web.serving import eventually, request

MEBIBYTE = 1 << 20


def slow_reader(serving):
    client = serving.client()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return client


def test_a_large_answer_arrives_whole(serving):
    serving.application.big_pieces = 320
    with serving.client() as client:
        assert len(client.ask("/big").body) == 320 * 65536


def test_who_does_not_read_is_cut_and_its_worker_freed(serve):
    serving = serve(body_grace_seconds=0.2, response_bytes_per_second=1024)
    serving.application.big_pieces = 16 * 200
    with slow_reader(serving) as client:
        client.send(request("/big"))
        eventually(lambda: serving.application.closed_streams == 1)
    assert serving.reasons("cut") == ["slow-reader"]
    eventually(lambda: serving.server.connections().open == 0)


def test_health_is_answered_while_slow_readers_hold_every_control_thread(serve):
    serving = serve(control_threads=2)
    serving.application.big_pieces = 16 * 200
    readers = [slow_reader(serving) for _ in range(6)]
    for reader in readers:
        reader.send(request("/big"))
    eventually(lambda: serving.application.asked.count("/big") == 6)
    assert serving.get("/live").status == 200
    for reader in readers:
        reader.socket.close()
    eventually(lambda: serving.application.closed_streams == 6)


def test_little_of_an_unread_answer_is_held(serve):
    serving = serve()
    serving.application.big_pieces = 16 * 200
    with slow_reader(serving) as client:
        client.send(request("/big"))
        channels = serving.server._front.active_channels
        eventually(lambda: any(c.total_outbufs_len > 4 * MEBIBYTE for c in channels.values()))
        held = max(channel.total_outbufs_len for channel in channels.values())
        assert held <= 5 * MEBIBYTE
    eventually(lambda: serving.application.closed_streams == 1)


def test_a_reset_in_the_middle_of_an_answer_frees_everything(serving):
    serving.application.big_pieces = 16 * 200
    client = slow_reader(serving)
    client.send(request("/big"))
    client.socket.recv(100)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.socket.close()
    eventually(lambda: serving.application.closed_streams == 1)
    eventually(lambda: serving.server.connections().open == 0)


def test_answers_wait_for_readers_without_losing_the_connection(serving):
    serving.application.big_pieces = 16 * 40
    with serving.client() as client:
        client.send(request("/big") + request("/echo", b"x"))
        channels = serving.server._front.active_channels
        eventually(lambda: any(c.total_outbufs_len > 4 * MEBIBYTE for c in channels.values()))
        assert len(client.reply().body) == 40 * MEBIBYTE
        assert client.reply().body == b"1"
