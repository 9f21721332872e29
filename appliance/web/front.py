"""What all connections share, in the shape that waitress' channels and tasks expect."""

import contextlib
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from waitress.adjustments import Adjustments

from appliance.clock import Clock
from appliance.config import Http
from appliance.errors import Problem
from appliance.web.census import Census
from appliance.web.gate import Events, Gate, ProblemBytes
from appliance.web.loop import Loop

_HEADER_BYTES = 16 * 1024
_RECEIVE_BYTES = 128 * 1024
#: With the loop's own delays this stays below the 50 ms within which a refusal is promised.
_HOLD_SECONDS = 0.03
_HIGH_WATERMARK_BYTES = 4 * 1024 * 1024
#: Clients in the kernel's queue; a short one fails fast.
BACKLOG = 128


def adjustments(http: Http, most_body_bytes: int) -> Adjustments:
    """Given the configuration, return it as waitress' settings.

    Source of the values: the measurements on waitress 3.0.2 named in DECISIONS.md.
    """
    return Adjustments(
        threads=http.threads,
        asyncore_use_poll=True,
        backlog=BACKLOG,
        connection_limit=http.connections,
        channel_timeout=max(1, int(http.idle_seconds)),
        cleanup_interval=1,
        max_request_header_size=_HEADER_BYTES,
        max_request_body_size=most_body_bytes,
        # Answers never go to disk: at most the watermark and one piece wait in memory.
        outbuf_overflow=1 << 40,
        outbuf_high_watermark=_HIGH_WATERMARK_BYTES,
        channel_request_lookahead=0,
        trusted_proxy=None,
        clear_untrusted_proxy_headers=True,
        expose_tracebacks=False,
        log_socket_errors=False,
        ident=None,
        server_name="appliance.invalid",
    )


class Front:
    """The server as its connections see it.

    Threads: the serving loop, except where a method says otherwise.
    """

    def __init__(
        self,
        application: Callable[..., Any],
        http: Http,
        gate: Gate,
        *,
        loop: Loop,
        census: Census,
        clock: Clock,
        problem_bytes: ProblemBytes,
        on_event: Events,
        port: int,
    ) -> None:
        self.application = application
        self.http = http
        self.gate = gate
        self.loop = loop
        self.census = census
        self.clock = clock
        self.problem_bytes = problem_bytes
        self.on_event = on_event
        self.adj = adjustments(http, gate.limits.body_bytes)
        #: Monotonic seconds at the loop's last turn.
        self.now = clock.monotonic()
        #: waitress' channels enter themselves here by descriptor.
        self.active_channels: dict[int, Any] = {}
        #: What a connection reads lands here; made once, because large blocks are slow to get.
        self.received = memoryview(bytearray(_RECEIVE_BYTES))
        self._held: deque[tuple[float, Callable[[], None]]] = deque()
        self._base_environ = {
            "SERVER_NAME": self.adj.server_name,
            "SERVER_PORT": str(port),
            "SERVER_SOFTWARE": "appliance",
            "SCRIPT_NAME": "",
            "wsgi.url_scheme": "http",
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
        }

    def environ_for(self, connection: socket.socket, address: str) -> dict[str, Any]:
        """Given a connection, return the part of the WSGI environment all its requests share."""
        port = "0"
        with contextlib.suppress(OSError):  # gone already
            peer = connection.getpeername()
            if isinstance(peer, tuple):  # of a Unix socket it is a path
                port = str(peer[1])
        return self._base_environ | {
            "REMOTE_ADDR": address,
            "REMOTE_HOST": address,
            "REMOTE_PORT": port,
        }

    def hold(self, call: Callable[[], None]) -> None:
        """Given something to call, call it a little later."""
        self._held.append((self.now + _HOLD_SECONDS, call))

    def release_held(self) -> float:
        """Call what has been held long enough; return the seconds until the next is due."""
        while self._held and self._held[0][0] <= self.now:
            self._held.popleft()[1]()
        return self._held[0][0] - self.now if self._held else _HOLD_SECONDS * 100

    def pull_trigger(self) -> None:
        """Have the loop ask every connection what it waits for; any thread, waitress' own name."""
        self.loop.call_soon(self._refresh_all)

    def _refresh_all(self) -> None:
        for channel in list(self.active_channels.values()):
            channel.refresh()

    def rejected(self, problem: Problem, request_id: str, path: str, address: str) -> None:
        """Report a request that the server itself answered; loop or worker."""
        self.on_event(
            "rejected",
            reason=problem.slug,
            status=str(problem.status),
            request_id=request_id,
            path=path,
            address=address,
        )

    def cut(self, reason: str, address: str) -> None:
        """Report a connection that was ended by the server."""
        self.on_event("cut", reason=reason, address=address)
