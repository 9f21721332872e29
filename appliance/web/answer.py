"""Answers on their way out: waitress' WSGI task with fewer copies, and the server's own no."""

import sys
import time
from collections.abc import Mapping
from http.client import responses
from typing import Any

from waitress.task import WSGITask
from waitress.utilities import build_http_date

from appliance.errors import Problem, Unauthenticated

_MOST_JOINED_BYTES = 256 * 1024
_UNRENAMED = {"CONTENT_LENGTH": "CONTENT_LENGTH", "CONTENT_TYPE": "CONTENT_TYPE"}
_date = (0, "")  # replaced as a whole, so that every thread reads a matching pair


def http_date() -> str:
    """Return the present time for a Date header, formatted once a second."""
    global _date
    now = int(time.time())
    known, text = _date
    if known != now:
        text = build_http_date(now)
        _date = (now, text)
    return text


def problem_answer(
    problem: Problem,
    document: tuple[int, str, bytes],
    *,
    request_id: str,
    closes: bool,
    is_head: bool,
) -> bytes:
    """Given a problem and its status, media type and body, return a whole response."""
    status, content_type, body = document
    lines = [
        f"HTTP/1.1 {status} {responses.get(status, 'Error')}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        f"Date: {http_date()}",
        f"X-Request-ID: {request_id}",
        "Cache-Control: no-store",
    ]
    if problem.retry_after_seconds is not None:
        lines.append(f"Retry-After: {max(1, round(problem.retry_after_seconds))}")
    if isinstance(problem, Unauthenticated):
        lines.append('WWW-Authenticate: Bearer realm="appliance"')
    if closes:
        lines.append("Connection: close")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if is_head else head + body


class Answer(WSGITask):  # type: ignore[misc]
    """One call of the application in a worker thread.

    Unlike waitress' it sends head and first piece together, keeps the connection after an answer
    of unknown length, and lets the channel deal with whatever goes wrong.
    """

    def service(self) -> None:
        """Call the application and send what it answers."""
        self.start()
        self.execute()
        self.finish()

    wrote_header = False

    def start(self) -> None:
        """Do nothing: waitress would note a time of the wall clock here."""

    @property
    def has_body(self) -> bool:
        """Return whether this response may carry one."""
        return not (self.status[:1] == "1" or self.status[:3] in ("204", "304"))

    @property
    def _sends_body(self) -> bool:
        return self.has_body and self.request.command != "HEAD"

    def build_response_header(self) -> bytes:
        """Return the head of the response, and decide how its body will be framed."""
        lines = [f"HTTP/1.1 {self.status}"]
        has_date = has_length = False
        for name, value in self.response_headers:
            lowered = name.lower()
            if lowered == "content-length":
                if not self.has_body:
                    continue
                has_length = True
            elif lowered == "date":
                has_date = True
            lines.append(f"{name}: {value}")
        if not has_date:
            lines.append(f"Date: {http_date()}")
        lines.extend(self._framing(has_length))
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _framing(self, has_length: bool) -> list[str]:
        lines = []
        if self.has_body and not has_length:
            if self.content_length is not None:
                lines.append(f"Content-Length: {self.content_length}")
            elif self.version == "1.1":
                lines.append("Transfer-Encoding: chunked")
                self.chunked_response = self._sends_body
            else:
                self.close_on_finish = True
        if not self.request.keeps_alive or self.channel.is_draining:
            self.close_on_finish = True
        if self.close_on_finish:
            lines.append("Connection: close")
        elif self.version == "1.0":
            lines.append("Connection: Keep-Alive")
        return lines

    def set_close_on_finish(self) -> None:
        """Close the connection after this answer."""
        self.close_on_finish = True

    def write(self, data: bytes) -> None:
        """Given the next piece of the body, send it, and before the first one the head."""
        if not self.complete:
            raise RuntimeError("start_response was not called before body written")
        head = b""
        if not self.wrote_header:
            head = self.build_response_header()
            self.wrote_header = True
        piece = self._framed(data)
        if len(piece) > _MOST_JOINED_BYTES and head:
            self.channel.write_soon(head)
            head = b""
        self.channel.write_soon(head + piece if head else piece)

    def _framed(self, data: bytes) -> bytes:
        length = self.content_length
        if not data or not self._sends_body:
            self.content_bytes_written += len(data)
            return b""
        if self.chunked_response:
            return b"%X\r\n%b\r\n" % (len(data), data)
        if length is not None and len(data) > length - self.content_bytes_written:
            data = data[: length - self.content_bytes_written]
        self.content_bytes_written += len(data)
        return data

    def get_environment(self) -> Mapping[str, Any]:
        """Return the WSGI environment (PEP 3333) of this request."""
        request, channel = self.request, self.channel
        environ: dict[str, Any] = channel.base_environ.copy()
        environ.update(
            {
                "REQUEST_METHOD": request.command,
                "SERVER_PROTOCOL": f"HTTP/{self.version}",
                "PATH_INFO": request.path,
                "REQUEST_URI": request.request_uri,
                "QUERY_STRING": request.query,
                "wsgi.input": request.get_body_stream(),
                "wsgi.errors": sys.stderr,
                "waitress.client_disconnected": channel.check_client_disconnected,
                "appliance.received_monotonic": request.received_monotonic,
                "appliance.lent_thread": channel.lent_thread,
            }
        )
        for name, value in request.headers.items():
            environ[_UNRENAMED.get(name) or f"HTTP_{name}"] = value
        return environ
