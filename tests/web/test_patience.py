"""Holding an answer: a thread is lent for it, and without one it is not held."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import falcon
import falcon.testing

from appliance.web.lanes import SparesExhausted
from appliance.web.patience import lent_thread, patience


class Lender:
    def __init__(self, *, has_one: bool) -> None:
        self.has_one = has_one
        self.lent = 0

    @contextmanager
    def lend(self) -> Iterator[None]:
        if not self.has_one:
            raise SparesExhausted
        self.lent += 1
        yield
        self.lent -= 1


def a_request(**environ: Any) -> falcon.Request:
    return falcon.Request({**falcon.testing.create_environ(), **environ})


def test_a_thread_is_lent_while_the_block_runs() -> None:
    lender = Lender(has_one=True)
    request = a_request(**{"appliance.lent_thread": lender.lend})
    with lent_thread(request) as is_lent:
        assert (is_lent, lender.lent) == (True, 1)
    assert lender.lent == 0


def test_without_a_thread_there_is_no_patience() -> None:
    request = a_request(**{"appliance.lent_thread": Lender(has_one=False).lend})
    with patience(request, 10.0) as held:
        assert held.seconds == 0
    with patience(a_request(), 0.0) as held:
        assert held.seconds == 0


def test_patience_ends_with_the_connection() -> None:
    request = a_request(**{"waitress.client_disconnected": lambda: True})
    with patience(request, 10.0) as held:
        assert held.seconds == 10.0
        assert held.is_gone()
