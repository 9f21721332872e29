import socket
import threading

import pytest

from appliance import config
from appliance.cli.connection import Connection, NotRunning, Refused, admin_socket_path


class OneAnswer:
    """A Unix socket that reads one request and sends fixed bytes."""

    def __init__(self, path, answer):
        self.request = b""
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        peer, _ = self._listener.accept()
        with peer:
            while b"\r\n\r\n" not in self.request:
                self.request += peer.recv(65536)
            peer.sendall(self._answer)

    def close(self):
        self._thread.join(10)
        self._listener.close()


def answered(tmp_path, status, body):
    path = tmp_path / "admin.sock"
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return path, OneAnswer(path, head.encode() + body)


def test_query_values_are_encoded_and_none_left_out(tmp_path):
    path, server = answered(tmp_path, 200, b'{"a":1}')
    assert Connection(path).get("/x", name="a b&c", gone=None) == {"a": 1}
    server.close()
    assert server.request.startswith(b"GET /x?name=a+b%26c HTTP/1.1\r\n")


def test_a_problem_is_told_with_its_fields(tmp_path):
    body = b'{"detail":"Two faults.","errors":[{"detail":"too long","pointer":"/name"}]}'
    path, server = answered(tmp_path, 422, body)
    with pytest.raises(Refused) as caught:
        Connection(path).post("/x", {})
    server.close()
    assert caught.value.format_message() == "Two faults.\n  /name: too long"
    assert caught.value.status == 422


def test_an_answer_that_is_no_problem_document_still_has_its_status(tmp_path):
    path, server = answered(tmp_path, 502, b"<html>")
    with pytest.raises(Refused, match="502"):
        Connection(path).delete("/x")
    server.close()


def test_a_broken_answer_is_told_plainly(tmp_path):
    path = tmp_path / "admin.sock"
    server = OneAnswer(path, b"")
    with pytest.raises(NotRunning, match="broke"):
        Connection(path).get("/x")
    server.close()


def test_a_socket_nobody_listens_on_means_not_running(tmp_path):
    path = tmp_path / "admin.sock"
    with pytest.raises(NotRunning, match="not running"):
        Connection(path).get("/x")
    left_over = socket.socket(socket.AF_UNIX)
    left_over.bind(str(path))
    left_over.close()
    with pytest.raises(NotRunning, match="not running"):
        Connection(path).get("/x")


def test_a_silent_appliance_is_not_waited_for_without_end(tmp_path):
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        with pytest.raises(NotRunning, match=r"did not answer .* within 0.1 s"):
            Connection(path, timeout_seconds=0.1).get("/x")


def test_a_path_too_long_for_a_socket_address_is_reached(tmp_path):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    short = tmp_path / "s"
    short.symlink_to(deep)
    server = OneAnswer(short / "a", b"HTTP/1.1 204 X\r\n\r\n")
    assert Connection(deep / "a").get("/x") is None
    server.close()


def test_the_socket_is_in_the_runtime_directory(tmp_path):
    state = config.State(dir=str(tmp_path), runtime_dir="/run/inference-appliance")
    path = admin_socket_path(config.Config(state=state))
    assert str(path) == "/run/inference-appliance/admin.sock"
    by_state = admin_socket_path(config.Config(state=config.State(dir=str(tmp_path))))
    assert by_state == tmp_path / "run" / "admin.sock"
