"""The requests of one connection: received one at a time, let in or refused, run by a worker.

What a client sends while its request runs stays in the kernel or in `_left`, so a second request
behind a refused one is never even looked at.
"""

import contextlib
import logging
import socket

from waitress.channel import ClientDisconnected

from appliance import identifiers
from appliance.errors import Internal, Overloaded, Problem, RequestTimeout
from appliance.web.answer import Answer, problem_answer
from appliance.web.front import Front
from appliance.web.lanes import Lane
from appliance.web.request_parser import RequestParser
from appliance.web.wire import Wire

_log = logging.getLogger(__name__)
_LINGER_BYTES = 256 * 1024
#: A refused body up to this size is read and dropped, so that the connection stays usable.
_DISCARDABLE_BYTES = 1024 * 1024
#: An honest client sends its head at once; one that has not after so long gives way to others when
#: every place is taken.
_HOARDING_SECONDS = 2.0
#: A client that hung up while its request waited longer than this has given up.
_HUNG_UP_SECONDS = 0.5
#: A client that comes back so soon after a refusal is answered a little later than at once: a
#: crowd of them would otherwise take from the predictions the time that their refusals cost.
_HASTY_SECONDS = 1.0


class Channel(Wire):
    """A connection and the request in progress on it.

    Threads: everything belongs to the serving loop, except while `requests` holds a request: then
    one worker owns that request and writes. The worker empties `requests` before it looks at
    `_is_paused`, the loop sets `_is_paused` before it looks at `requests`: so one of them always
    sees the other and no wake-up is lost.
    """

    def __init__(
        self, front: Front, connection: socket.socket, address: str, *, is_counted: bool = True
    ) -> None:
        super().__init__(front, connection, address, is_counted=is_counted)
        self.request: RequestParser | None = None
        self.requests: list[RequestParser] = []
        self._left = b""
        self._is_fresh = True
        self._linger_bytes = _LINGER_BYTES
        self._hung_up = False
        self._is_identified = False
        self._refused_at = -_HASTY_SECONDS
        self._held = b""  # a refusal that is not sent yet

    @property
    def is_receiving(self) -> bool:
        """Return whether a request has begun to arrive and has not been answered."""
        return self.request is not None and not self._is_ending

    @property
    def is_expecting(self) -> bool:
        """Return whether a request arrives, or is the first that the connection was opened for."""
        return self.is_receiving or (self._is_fresh and not self._is_ending and not self.requests)

    @property
    def is_hoarding(self) -> bool:
        """Return whether it has held its place for a while and has not asked for anything yet."""
        has_asked = self.request.headers_finished if self.request else not self._is_fresh
        waited_seconds = self.front.clock.monotonic() - self._since
        return not (has_asked or self.requests or self._is_ending) and (
            waited_seconds > _HOARDING_SECONDS
        )

    def handle_close(self) -> None:
        """Close the connection and forget what was arriving."""
        self._drop_request()
        self._left = b""
        super().handle_close()

    def _drop_request(self) -> None:
        request, self.request = self.request, None
        if request is not None:
            request.close()

    # Receiving.

    def handle_read(self) -> None:
        """Take what the client has sent."""
        if self.requests:
            self._look_for_hang_up()
            self._pause()
            return
        room = None if self.request is None else self.request.room
        try:
            count = self.socket.recv_into(self.front.received if room is None else room)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self.handle_close()
        elif room is not None:
            room.release()  # the worker could not read the body without copying it otherwise
            self._filled(count)
        elif self._is_lingering:
            self._linger_bytes -= count
            if self._linger_bytes < 0:
                self.handle_close()
        else:
            self.received(bytes(self.front.received[:count]))

    def _look_for_hang_up(self) -> None:
        try:
            self._hung_up = not self.socket.recv(1, socket.MSG_PEEK)
        except OSError:
            self._hung_up = True

    def _pause(self) -> None:
        """Read nothing more until the current request is answered."""
        self._is_paused = True
        if not self.requests:
            self.front.loop.call_soon(self.answered)

    def _resume(self) -> None:
        """Go on with what the client sent meanwhile, unless an answer is still on its way."""
        if self.requests or self._held or not self.connected:
            return
        if self.total_outbufs_len or self._is_ending:
            self.handle_write()
        elif self._is_paused:
            self._is_paused = False
            left, self._left = self._left, b""
            self.received(left)

    def answered(self) -> None:
        """Go on after a worker has answered; in the loop's thread."""
        try:
            self._resume()
            self.refresh()
        except Exception:
            _log.exception("a connection met an error nobody caught")
            self.handle_close()

    def _filled(self, count: int) -> None:
        """Count bytes that were received where the request in progress wants them."""
        request = self.request
        if request is not None:
            request.filled(count)
            if request.completed:
                self._dispatch(request)

    def received(self, data: bytes) -> None:
        """Given bytes of the client, parse them up to the end of the first complete request."""
        try:
            while data and not self._is_occupied:
                data = data[self._feed(data) :]
        except Problem as problem:
            self.refuse(problem)
        except (ClientDisconnected, OSError):
            self.handle_close()
        except Exception:
            _log.exception("a request met an error nobody caught")
            self.refuse(Internal("The appliance failed on this request; its log has the cause."))
        if data and not self._is_ending:
            self._left = data
            self._pause()

    @property
    def _is_occupied(self) -> bool:
        return bool(self.requests or self.total_outbufs_len or self._held or self._is_ending)

    def _feed(self, data: bytes) -> int:
        request = self.request
        if request is None:
            request = self.request = RequestParser(self.adj, self.front.gate.host_names)
            self._is_fresh = False
            self._begin_wait(self.front.http.header_seconds)
        had_head = request.headers_finished
        consumed = request.received(data)
        if request.headers_finished and not had_head:
            self._admit(request, more=len(data) > consumed)
        elif request.chunked and self._is_beyond_unknown(request):
            self._identify(request)
        if request.completed and self.connected:
            self._dispatch(request)
        return consumed

    def _is_beyond_unknown(self, request: RequestParser) -> bool:
        return request.spooled_bytes > self.front.gate.unknown_bytes(request.path)

    def _identify(self, request: RequestParser) -> None:
        if not self._is_identified:
            self.front.gate.require_caller(request, self.address)
            self._is_identified = True

    def _admit(self, request: RequestParser, *, more: bool) -> None:
        """Let the request in, or answer at once and read its body without keeping it."""
        self._is_identified = False
        self._pace.forget()
        try:
            self._lane = self.front.gate.admit(request, self.address)
        except Overloaded as problem:
            self._refuse_and_discard(request, problem)
            return
        if request.expect_continue and not (more or request.completed):
            self.write_soon(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse_and_discard(self, request: RequestParser, problem: Problem) -> None:
        if (
            request.chunked
            or request.expect_continue  # such a client may never send the body
            or request.content_length > _DISCARDABLE_BYTES
        ):
            raise problem
        request.discard_body()
        self._refuse_overload(request, problem)

    def _dispatch(self, request: RequestParser) -> None:
        """Hand a complete request to its lane, unless it has been answered already."""
        if not request.is_discarding:
            request.received_monotonic = self.front.clock.monotonic()
            self.requests = [request]
            self.request = None
            if self.front.gate.lanes.submit(self._lane, self.service):
                self._begin_wait(self.front.http.idle_seconds)
                return
            self.requests = []
            self.request = request
            self._refuse_overload(request, self.front.gate.overload())
        if not self._is_ending:
            self._drop_request()
            self._begin_wait(self.front.http.idle_seconds)

    # Refusing, in the loop's thread.

    def refuse(self, problem: Problem, *, closes: bool = True) -> None:
        """Given a problem, answer the request in progress with it and, by default, hang up."""
        request = self.request
        if closes:
            self.close_when_flushed = self._must_linger = True
        with contextlib.suppress(ClientDisconnected):
            self.write_soon(self._problem_answer(problem, request, closes=closes))
        if closes:
            self._drop_request()
            self.handle_write()

    def _refuse_overload(self, request: RequestParser, problem: Problem) -> None:
        """Refuse and keep the connection; hold the answer back for a hasty client."""
        if not request.keeps_alive:
            self.refuse(problem)
            return
        now = self.front.now
        is_hasty = now - self._refused_at < _HASTY_SECONDS
        self._refused_at = now
        if not is_hasty:
            self.refuse(problem, closes=False)
            return
        self._held = self._problem_answer(problem, request, closes=False)
        self._is_paused = True
        self.front.hold(self.release)

    def release(self) -> None:
        """Send the refusal that was held back, and read on."""
        held, self._held = self._held, b""
        if held and not self._is_ending:
            with contextlib.suppress(ClientDisconnected):
                self.write_soon(held)
        self.answered()

    def _problem_answer(
        self, problem: Problem, request: RequestParser | None, *, closes: bool
    ) -> bytes:
        path = request.path if request else ""
        request_id = (request.request_id if request else "") or identifiers.new_id()
        self.front.rejected(problem, request_id, path, self.address)
        return problem_answer(
            problem,
            self.front.problem_bytes(problem, path, request_id),
            request_id=request_id,
            closes=closes,
            is_head=request is not None and request.command == "HEAD",
        )

    # Deadlines, checked about once a second by the loop.

    def check(self, now: float) -> None:
        """Given the monotonic time, cut this connection if it is too slow or idle for too long."""
        if self.total_outbufs_len:
            self._check_reader(now)
        elif self.requests:
            self._pace.forget()  # no answer waits for its reader
        elif self.request is None:
            if self._is_late(now):
                self.handle_close() if self._is_lingering else self._cut("idle")
        else:
            self._check_request(self.request, now)

    def _check_request(self, request: RequestParser, now: float) -> None:
        http = self.front.http
        if not request.headers_finished:
            if self._is_late(now):
                self._time_out(f"The head did not arrive within {http.header_seconds:g} seconds.")
        elif self._pace.is_too_slow(
            "body",
            request.body_bytes_received,
            now,
            window_seconds=http.body_grace_seconds,
            rate=http.body_bytes_per_second,
        ):
            self._time_out(
                f"The body arrived more slowly than {http.body_bytes_per_second} bytes per second."
            )

    def _time_out(self, detail: str) -> None:
        self.front.cut("slow-request", self.address)
        self.refuse(RequestTimeout(detail))
        self.refresh()

    # The worker's side.

    def service(self) -> None:
        """Run the request in this worker thread, and leave the connection to the loop."""
        request = self.requests[0]
        closes = True
        try:
            if self.connected:
                closes = self._answer(request)
        finally:
            request.close()
            if closes:
                self.close_when_flushed = True
            self.requests = []
            if closes or self._is_paused or self.total_outbufs_len:
                self.front.loop.call_soon(self.answered)

    def _answer(self, request: RequestParser) -> bool:
        """Return whether the connection has to be closed."""
        waited_seconds = self.front.clock.monotonic() - request.received_monotonic
        if self._hung_up and waited_seconds > _HUNG_UP_SECONDS:
            return True
        most_seconds = self.front.gate.limits.waiting_seconds
        if self._lane is Lane.INFERENCE and waited_seconds > most_seconds:
            late = Overloaded(f"No thread was free within {most_seconds:g} seconds.")
            return self._answer_problem(request, late)
        task = Answer(self, request)
        try:
            task.service()
        except ClientDisconnected:
            return True
        except Exception:
            _log.exception("the application failed", extra={"route": request.path})
            if task.wrote_header:
                return True
            return self._answer_problem(
                request, Internal("The appliance failed on this request; its log has the cause.")
            )
        return bool(task.close_on_finish)

    def _answer_problem(self, request: RequestParser, problem: Problem) -> bool:
        closes = not request.keeps_alive or self.is_draining
        with contextlib.suppress(ClientDisconnected):
            self.write_soon(self._problem_answer(problem, request, closes=closes))
        return closes
