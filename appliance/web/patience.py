"""Requests that take long in a thread of their lane: another is lent for as long as they do."""

import contextlib
from collections.abc import Iterator

import falcon

from appliance.actions.jobs import Patience
from appliance.web.lanes import SparesExhausted


@contextlib.contextmanager
def lent_thread(request: falcon.Request) -> Iterator[bool]:
    """Given a request, lend its lane a thread while the block runs.

    Yield whether that could be: False when too many are lent already, and then the block should
    not wait. Where the server lends none, as in tests, it is True.
    """
    lend = request.env.get("appliance.lent_thread")
    if lend is None:
        yield True
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lend())
        except SparesExhausted:
            is_lent = False
        else:
            is_lent = True
        yield is_lent


@contextlib.contextmanager
def patience(request: falcon.Request, seconds: float) -> Iterator[Patience]:
    """Given a request and how long its answer may be held, yield that, with a thread lent.

    The patience ends with the client's connection, and is none when no thread could be lent.
    """
    if seconds <= 0:
        yield Patience()
        return
    is_gone = request.env.get("waitress.client_disconnected", lambda: False)
    with lent_thread(request) as is_lent:
        yield Patience(seconds, is_gone) if is_lent else Patience()
