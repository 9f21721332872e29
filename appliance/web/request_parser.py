"""One request as it arrives: waitress' parser behind a stricter reading of the same bytes.

Two readers of one byte stream that disagree on where a request ends let a client smuggle a second
one past the first. So nothing ambiguous is repaired here: it is refused and the connection closed.
The grammar is RFC 9112 (HTTP/1.1) and RFC 9110 section 5 (fields).
"""

import re
from collections.abc import Callable, Mapping

from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser, ParsingError, crack_first_line, split_uri

from appliance.errors import (
    HeadersTooLarge,
    MalformedRequest,
    MisdirectedRequest,
    NotImplementedHere,
    PayloadTooLarge,
)
from appliance.web.body import Body, FixedBody, Spool
from appliance.web.chunked import ChunkedBody
from appliance.web.host_names import HostNames

_MOST_FIELDS = 100
_MOST_BLANK_BYTES = 8
_FIELDS = re.compile(
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*",
)
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\x00")
_TOKEN_START = frozenset(
    b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\r"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LENGTH = re.compile(r"[0-9]{1,18}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
#: Given twice, these have no meaning that two readers would agree on.
_SINGLE = frozenset(
    {"HOST", "CONTENT_LENGTH", "TRANSFER_ENCODING", "CONTENT_TYPE", "AUTHORIZATION", "X_API_KEY"}
)
#: What only a trusted proxy may say; there is none, so the socket's peer is the client.
_DROPPED = frozenset({"FORWARDED", "X_REAL_IP", "PROXY"})
_DROPPED_PREFIX = "X_FORWARDED_"


class RequestParser(HTTPRequestParser):  # type: ignore[misc]
    """A request being received: first its head, then, once `take_body` was called, its body.

    Threads: fed by the serving loop; after `completed` one worker reads it.
    """

    def __init__(self, adjustments: Adjustments, host_names: HostNames) -> None:
        super().__init__(adjustments)
        self._held = b""  # the beginning of a head
        self.body_rcv: ChunkedBody | FixedBody | None = None
        self._host_names = host_names
        self.command = "GET"
        self.path = ""
        self.query = ""
        self.request_uri = ""
        self.url_scheme = "http"
        self.keeps_alive = False
        self.is_discarding = False
        self.received_monotonic = 0.0
        self._most_body_bytes = 0
        self._left_bytes = 0

    @property
    def has_body(self) -> bool:
        """Return whether the head announces one."""
        return bool(self.chunked or self.content_length)

    @property
    def spooled_bytes(self) -> int:
        """Return how many bytes of body are held."""
        return 0 if self.body_rcv is None else len(self.body_rcv)

    @property
    def request_id(self) -> str:
        """Return the id the client gave, or nothing when it is not fit to be echoed and logged."""
        given = self.headers.get("X_REQUEST_ID", "")
        return given if _REQUEST_ID.fullmatch(given) else ""

    def named_headers(self) -> Mapping[str, str]:
        """Return the headers by their names in lower case, as in `x-api-key`."""
        return {name.lower().replace("_", "-"): value for name, value in self.headers.items()}

    def received(self, data: bytes) -> int:
        """Given the next bytes of the connection, return how many belong to this request.

        The end of the head is always a stop, so that the body can be refused before it is read.
        Raise MalformedRequest, HeadersTooLarge, MisdirectedRequest, PayloadTooLarge or what the
        spool raises; the connection is of no use after that.
        """
        if self.completed:
            return 0
        if not self.headers_finished:
            return self._receive_head(data)
        return self._discard(data) if self.is_discarding else self._receive_body(data)

    def _receive_head(self, data: bytes) -> int:
        held_bytes = len(self._held)
        text = self._held + data
        start = 0
        while text.startswith(b"\r\n", start):  # some clients end a body with a line too many
            start += 2
        self.header_bytes_received += start
        end = text.find(b"\r\n\r\n", start)
        if end < 0:
            self._held = text[start:]
            self._check_beginning(self._held)
            return len(data)
        if end + 4 - start > self.adj.max_request_header_size:
            self._refuse_size(text[start:])
        self._read_head(text[start : end + 2])
        self.headers_finished = True
        self.completed = not self.has_body
        self._held = b""
        return end + 4 - held_bytes

    def _check_beginning(self, text: bytes) -> None:
        """Refuse as soon as it is clear that no valid head can come of it."""
        if self.header_bytes_received > _MOST_BLANK_BYTES:
            raise MalformedRequest("The request begins with blank lines.")
        if text and text[0] not in _TOKEN_START:
            raise MalformedRequest("This is not HTTP. The appliance speaks plain HTTP/1.1 here.")
        if _BARE_LINE_FEED.search(text):
            raise MalformedRequest("The request head holds a CR, LF or NUL on its own.")
        if len(text) > self.adj.max_request_header_size:
            self._refuse_size(text)

    def _refuse_size(self, text: bytes) -> None:
        line, found, _ = text[: self.adj.max_request_header_size].partition(b"\r\n")
        if found:
            self._read_start_line(line)
        raise HeadersTooLarge(
            f"The request head may have {self.adj.max_request_header_size} bytes and"
            f" {_MOST_FIELDS} fields."
        )

    def _read_head(self, head: bytes) -> None:
        line, _, fields = head.partition(b"\r\n")
        self._read_start_line(line)
        if not _FIELDS.fullmatch(fields):
            raise MalformedRequest(
                "A header field is not of the form 'Name: value' on one line of its own."
            )
        lines = fields.decode("latin-1").split("\r\n")
        if len(lines) > _MOST_FIELDS:
            self._refuse_size(head)
        del lines[-1]
        self._read_fields(lines)
        self._read_framing()
        self._read_connection()
        self._check_host()

    def _read_start_line(self, line: bytes) -> None:
        try:
            command, target, version = crack_first_line(line)
            if version not in (b"1.1", b"1.0"):
                raise MalformedRequest("The request line is not 'METHOD target HTTP/1.1'.")
            _, self.proxy_netloc, path, self.query, self.fragment = split_uri(target)
        except (ParsingError, ValueError):
            raise MalformedRequest("The request line holds no valid method or target.") from None
        self.command = command.decode("latin-1")
        self.version = version.decode("latin-1")
        self.request_uri = target.decode("latin-1")
        # What is routed must be what the lane was chosen by: waitress folds leading slashes later.
        # Known before the check, because the path chooses the shape of its refusal too.
        self.path = "/" + path.lstrip("/") if path != "*" else path
        self._check_target(target, path)

    def _check_target(self, target: bytes, path: str) -> None:
        if self.command == "CONNECT":
            raise NotImplementedHere("The appliance is no proxy.")
        is_absolute = target[:7].lower() == b"http://" or target[:8].lower() == b"https://"
        is_asterisk = target == b"*" and self.command == "OPTIONS"
        if not (target.startswith(b"/") or is_absolute or is_asterisk) or self.fragment:
            raise MalformedRequest("The request target must be a path that begins with '/'.")
        if is_absolute and not self.proxy_netloc:
            raise MalformedRequest("The request target names no host.")
        if _CONTROL.search(path) or _CONTROL.search(self.request_uri):
            raise MalformedRequest("The request target holds control characters.")

    def _read_fields(self, lines: list[str]) -> None:
        headers = self.headers
        for line in lines:
            name, _, value = line.partition(":")
            if "_" in name:
                continue  # in WSGI it would be a second name for the same header
            key = name.upper().replace("-", "_")
            value = value.strip(" \t")
            if key in headers:
                if key in _SINGLE:
                    raise MalformedRequest(f"The header {name} is given more than once.")
                value = f"{headers[key]}, {value}"
            headers[key] = value
        for key in [key for key in headers if key[:1] in "FXP"]:
            if key in _DROPPED or key.startswith(_DROPPED_PREFIX):
                del headers[key]

    def _read_framing(self) -> None:
        coding = self.headers.pop("TRANSFER_ENCODING", None)
        length = self.headers.get("CONTENT_LENGTH")
        if coding is not None:
            if length is not None:
                raise MalformedRequest("Transfer-Encoding and Content-Length exclude each other.")
            if coding.lower() != "chunked" or self.version != "1.1":
                raise MalformedRequest(
                    "The only Transfer-Encoding here is 'chunked', in HTTP/1.1."
                )
            self.chunked = True
        elif length is not None:
            if not _LENGTH.fullmatch(length):
                raise MalformedRequest("Content-Length is not a decimal number of bytes.")
            self.content_length = int(length)

    def _read_connection(self) -> None:
        given = self.headers.get("CONNECTION")
        self.keeps_alive = self.version == "1.1"
        if given is not None:
            options = {option.strip(" \t") for option in given.lower().split(",")}
            self.keeps_alive = "close" not in options and (
                self.keeps_alive or "keep-alive" in options
            )
        if self.version == "1.1" and self.has_body:
            self.expect_continue = self.headers.get("EXPECT", "").lower() == "100-continue"

    def _check_host(self) -> None:
        host = self.headers.get("HOST", "")
        if not host:
            if self.version == "1.1" or "HOST" in self.headers:
                raise MalformedRequest("The request names no Host.")
            return
        if self.proxy_netloc and self.proxy_netloc.lower() != host.lower():
            raise MalformedRequest("The request target and the Host header name different hosts.")
        accepted = self._host_names.accepts(host)
        if accepted is None:
            raise MalformedRequest("The Host header is not a host name or address.")
        if not accepted:
            raise MisdirectedRequest(
                "This appliance does not answer for that host name. Use its IP address, or let the"
                " admin add the name to http.host_names."
            )

    def take_body(
        self,
        spool: Spool,
        most_bytes: int,
        *,
        require_room: Callable[[], None] | None = None,
        is_input: bool = False,
    ) -> None:
        """Given where bodies go and the limit for this one, be ready for it.

        `require_room` is asked before any of it goes to disk; `is_input` as in `Body`. Raise what
        it raises, or what `Spool.take` raises when its declared length does not fit.
        """
        self._most_body_bytes = most_bytes
        if self.chunked:
            self.body_rcv = ChunkedBody(Body(spool, require_room=require_room))
        elif self.content_length:
            body = Body(spool, self.content_length, require_room=require_room, is_input=is_input)
            self.body_rcv = FixedBody(self.content_length, body)

    def discard_body(self) -> None:
        """Read the rest of a body of declared length without keeping it."""
        self.close()
        self.is_discarding = True
        self._left_bytes = self.content_length - self.body_bytes_received
        self.completed = not self._left_bytes

    def _discard(self, data: bytes) -> int:
        count = min(self._left_bytes, len(data))
        self._left_bytes -= count
        self.body_bytes_received += count
        self.completed = not self._left_bytes
        return count

    @property
    def room(self) -> memoryview | None:
        """Where the next bytes of the connection may be received, all of which belong to the body.

        None: they have to go through `received`.
        """
        receiver = self.body_rcv
        if self.is_discarding or not isinstance(receiver, FixedBody):
            return None
        return receiver.room

    def filled(self, count: int) -> None:
        """Given how many bytes were received into `room`, count them in."""
        receiver = self.body_rcv
        assert isinstance(receiver, FixedBody)  # it had room
        receiver.filled(count)
        self.body_bytes_received += count
        self.completed = receiver.completed

    def _receive_body(self, data: bytes) -> int:
        receiver = self.body_rcv
        assert receiver is not None  # a head that announces a body was let in with `take_body`
        consumed = receiver.received(data)
        self.body_bytes_received += consumed
        if isinstance(receiver, ChunkedBody) and receiver.promised_bytes > self._most_body_bytes:
            raise PayloadTooLarge(
                f"The body goes on beyond {self._most_body_bytes} bytes, the most here (section"
                " [limits] of the configuration)."
            )
        if receiver.completed:
            self.completed = True
            if self.chunked:  # the application sees a body of known length
                self.headers["CONTENT_LENGTH"] = str(len(receiver))
        return consumed
