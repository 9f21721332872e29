"""The way to the appliance: HTTP over its Unix socket, on connections that stay open.

The gateway holds no model and no database; whatever it answers, the front has said. So a gateway
that is killed loses nothing, and a front that starts again is found again.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from appliance.errors import ProblemDocument, Unavailable

_MOST_HEAD_BYTES = 64 * 1024
_MOST_BODY_BYTES = 64 * 1024 * 1024

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Reply(NamedTuple):
    """An answer of the front; `retry_after_seconds` is 0 where it says none."""

    status: int
    body: bytes
    retry_after_seconds: float = 0.0

    def problem(self) -> ProblemDocument:
        """Return the problem that a refusal tells, or one made of its status."""
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(self.body, type=ProblemDocument)
        return ProblemDocument(
            type="about:blank", title="The appliance failed", status=self.status
        )


class Front:
    """Calls to the front; more than `most_calls` at once wait for each other.

    Threads: only the event loop's.
    """

    def __init__(self, socket_path: Path, *, most_calls: int, timeout_seconds: float) -> None:
        self._path = socket_path
        self._timeout_seconds = timeout_seconds
        self._places = asyncio.Semaphore(most_calls)
        self._idle: list[_Connection] = []

    async def call(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Reply:
        """Given a request, return the front's reply; raise Unavailable when it gives none.

        It is then not known whether the request was acted upon.
        """
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = (
            f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{head}"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode("latin-1") + body
        async with self._places:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    return await self._exchange(request)
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as fault:
                raise Unavailable(
                    f"The appliance does not answer on {self._path}: {fault or 'too slow'}."
                ) from None

    def close(self) -> None:
        """Close the connections that wait."""
        while self._idle:
            self._idle.pop()[1].close()

    async def _exchange(self, request: bytes) -> Reply:
        reader, writer = await self._connection()
        try:
            writer.write(request)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            status, fields = _parsed(head)
            length = int(fields.get("content-length", "0"))
            if length > _MOST_BODY_BYTES:
                raise OSError("its answer is too large")
            body = await reader.readexactly(length) if length else b""
        except BaseException:
            # Also when whoever asked is gone: the rest of an answer must not become the next one.
            writer.close()
            raise
        if fields.get("connection", "").lower() == "close" or "content-length" not in fields:
            writer.close()
        else:
            self._idle.append((reader, writer))
        return Reply(status, body, _seconds(fields.get("retry-after", "")))

    async def _connection(self) -> _Connection:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_unix_connection(str(self._path), limit=_MOST_HEAD_BYTES)


def _parsed(head: bytes) -> tuple[int, dict[str, str]]:
    """Given the head of an answer, return its status and fields, names in lower case."""
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    try:
        return int(first.split(" ", 2)[1]), fields
    except (ValueError, IndexError):
        raise OSError("its answer is not HTTP") from None


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdecimal() else 0.0
