"""The settings themselves."""

import msgspec
import pytest

from appliance.config import Config, Http


def test_every_default_keeps_its_own_bounds() -> None:
    plain = msgspec.to_builtins(Config())
    assert msgspec.convert(plain, Config) == Config()


def test_settings_cannot_be_changed_while_running() -> None:
    with pytest.raises(AttributeError):
        Config().http.port = 1  # type: ignore[misc]


def test_a_key_that_does_not_exist_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="prot"):
        msgspec.convert({"prot": 1}, Http)


def test_a_slow_client_is_cut_before_a_stop_gives_up_on_it() -> None:
    http = Config().http
    assert http.header_seconds + http.body_grace_seconds <= http.drain_seconds
