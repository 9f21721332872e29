"""The gateway's port, and clients that never finish their request."""

import contextlib
import socket
from collections.abc import Callable

import pytest

from appliance.config import Config, Http
from appliance.errors import ConfigInvalid, StateUnusable
from appliance.stream.gateway import MOST_FRAME_BYTES, bind, server_settings
from tests.stream.conftest import HANG_SECONDS, Running


def test_a_port_that_is_taken_and_an_address_that_is_none_are_named() -> None:
    with bind("127.0.0.1", 0) as taken, pytest.raises(StateUnusable, match="gateway_port"):
        bind("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(ConfigInvalid, match="gateway_host"):
        bind("no.such.host.invalid", 0)


def test_frames_are_bounded_and_never_unpacked() -> None:
    settings = server_settings(lambda: None, Config())
    assert settings.ws_max_size == MOST_FRAME_BYTES
    assert not settings.ws_per_message_deflate
    assert not settings.proxy_headers


def test_a_client_that_never_finishes_its_request_is_cut(
    start_gateway: Callable[..., Running],
) -> None:
    gateway = start_gateway(http=Http(header_seconds=0.2))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=HANG_SECONDS) as slow:
        slow.sendall(b"GET /live HTTP/1.1\r\nHost: a")
        with contextlib.suppress(ConnectionResetError):
            assert slow.recv(100) == b""
