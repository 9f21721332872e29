"""A real server in a thread of the test process, a tiny application and a raw-socket client."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance.config import Http, Limits
from appliance.web.body import Spool
from appliance.web.lanes import Lane
from appliance.web.problems import problem_body
from appliance.web.server import Server, bind

KEY = "the-test-key"
HANG_SECONDS = 20.0


class Application:
    """Answers by path; remembers what it was asked.

    `/echo` returns the body's length, `/hold` waits until `release`, `/boom` fails, `/big` streams
    `big_pieces` pieces of 64 KiB, everything under `/predict` is inference and behaves like
    `/hold` while `holds` is set.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.environs: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.running = 0
        self.big_pieces = 1
        self.closed_streams = 0
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        path = environ["PATH_INFO"]
        body = environ["wsgi.input"].read()
        with self._lock:
            self.asked.append(path)
            self.environs.append(environ)
            if len(body) < 1 << 20:
                self.bodies.append(body)
        if path == "/boom":
            raise RuntimeError("boom")
        if path == "/big":
            start("200 OK", [("Content-Type", "text/plain")])
            return self._big()
        if path in ("/hold", "/predict/hold"):
            self._hold()
        answer = str(len(body)).encode()
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
        return [answer]

    def _hold(self) -> None:
        with self._lock:
            self.running += 1
        self.entered.release()
        self.gate.wait(HANG_SECONDS)
        with self._lock:
            self.running -= 1

    def _big(self) -> Iterator[bytes]:
        try:
            for _ in range(self.big_pieces):
                yield b"x" * 65536
        finally:
            self.closed_streams += 1


class Serving:
    """A running server and what a test needs to look at it."""

    def __init__(self, spool_dir: Path, *, host: str = "127.0.0.1", **settings: Any) -> None:
        self.application = settings.pop("application", None) or Application()
        self.spool_dir = spool_dir
        self.events: list[tuple[str, Mapping[str, str]]] = []
        self.ticks = 0
        tick = settings.pop("tick", self._tick)
        starts = settings.pop("starts", True)
        self.listener = listener = bind(host, 0)
        self.port: int = listener.getsockname()[1]
        names = {field.name for field in msgspec.structs.fields(Http)}
        http = Http(**{name: settings.pop(name) for name in list(settings) if name in names})
        names = {field.name for field in msgspec.structs.fields(Limits)}
        limits = Limits(**{name: settings.pop(name) for name in list(settings) if name in names})
        self.server = self._built(http, limits, settings)
        self.thread = threading.Thread(target=self.server.run, args=(tick,), daemon=True)
        if starts:
            self.thread.start()

    def _built(self, http: Http, limits: Limits, settings: dict[str, Any]) -> Server:
        try:
            return self._server(http, limits, settings)
        except Exception:
            self.listener.close()
            raise

    def _server(self, http: Http, limits: Limits, settings: dict[str, Any]) -> Server:
        return Server(
            self.application,
            http,
            limits,
            listener=self.listener,
            spool=Spool(self.spool_dir, limits.spool_bytes),
            lane_of=lambda method, path: (
                Lane.INFERENCE if path.startswith("/predict") else Lane.CONTROL
            ),
            problem_bytes=lambda problem, path, request_id: problem_body(problem, request_id),
            on_event=self._note,
            authorised=lambda headers, address: headers.get("x-api-key") == KEY,
            **settings,
        )

    def _note(self, name: str, /, **labels: str) -> None:
        self.events.append((name, labels))

    def _tick(self) -> None:
        self.ticks += 1

    def reasons(self, name: str) -> list[str]:
        return [labels["reason"] for event, labels in self.events if event == name]

    def client(self, source: str = "") -> "Client":
        return Client(self.port, source)

    def get(self, path: str = "/", **headers: str) -> "Reply":
        with self.client() as client:
            return client.ask(path, **headers)

    def stop(self, drain_seconds: float = 5.0) -> None:
        if isinstance(self.application, Application):
            self.application.gate.set()
        self.server.stop(drain_seconds)
        self.thread.join(HANG_SECONDS)
        assert not self.thread.is_alive()


class Reply:
    """One response as it came."""

    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
        }
        self.body = body

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        document: dict[str, Any] = msgspec.json.decode(self.body)
        assert document["status"] == self.status
        assert document["request_id"] == self.headers["x-request-id"]
        assert "server" not in self.headers
        return document

    @property
    def slug(self) -> str:
        return str(self.problem["type"]).removeprefix("/problems/")


class Client:
    """A plain socket that can send nonsense, and read responses by their framing."""

    def __init__(self, port: int, source: str = "") -> None:
        self.socket = socket.create_connection(
            ("127.0.0.1", port), HANG_SECONDS, (source, 0) if source else None
        )
        self._held = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_what_is_taken(self, data: bytes) -> None:
        """Send although the server may hang up in the middle."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def ask(self, path: str = "/", body: bytes = b"", **headers: str) -> Reply:
        self.send(request(path, body, **headers))
        return self.reply()

    def reply(self, *, has_body: bool = True) -> Reply:
        """Read one response; raise EOFError when the server hangs up instead."""
        while b"\r\n\r\n" not in self._held:
            self._more()
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        reply = Reply(head, b"")
        if not has_body:
            return reply
        if reply.headers.get("transfer-encoding") == "chunked":
            reply.body = self._chunked()
        else:
            reply.body = self._take(int(reply.headers.get("content-length", "0")))
        return reply

    def _chunked(self) -> bytes:
        pieces = []
        while True:
            while b"\r\n" not in self._held:
                self._more()
            line, _, self._held = self._held.partition(b"\r\n")
            piece = self._take(int(line, 16) + 2)[:-2]
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)

    def _take(self, count: int) -> bytes:
        while len(self._held) < count:
            self._more()
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def _more(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError("the server closed the connection")
        self._held += data

    def is_closed(self) -> bool:
        """Wait until the server has hung up; what it still sends first does not count."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True


def request(path: str = "/", body: bytes = b"", **headers: str) -> bytes:
    """Return a request; the names of `headers` have `_` for `-`, a method is given as `method`."""
    method = headers.pop("method", "POST" if body else "GET")
    fields = {"Host": "localhost", **{k.replace("_", "-"): v for k, v in headers.items()}}
    if body:
        fields.setdefault("Content-Length", str(len(body)))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def eventually(holds: Callable[[], bool], what: str = "it") -> None:
    """Wait until `holds`, or fail after a time that only a hang takes."""
    deadline = time.monotonic() + HANG_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{what} never came true"
        time.sleep(0.01)
