from appliance.config import Http
from appliance.web.front import adjustments


def test_waitress_is_set_as_measured():
    settings = adjustments(Http(), 1000)
    assert settings.asyncore_use_poll
    assert settings.threads == 8
    assert settings.connection_limit == 256
    assert settings.backlog == 128
    assert settings.channel_timeout == 30
    assert settings.cleanup_interval == 1
    assert settings.max_request_header_size == 16384
    assert settings.max_request_body_size == 1000
    assert settings.outbuf_high_watermark == 4 << 20
    assert settings.channel_request_lookahead == 0
    assert settings.trusted_proxy is None
    assert settings.clear_untrusted_proxy_headers
    assert not settings.expose_tracebacks
    assert not settings.ident


def test_the_address_of_the_peer_is_the_sockets(serving):
    serving.get()
    environ = serving.application.environs[0]
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["REMOTE_PORT"].isdigit()
    assert environ["SERVER_PORT"] == str(serving.port)


def test_what_the_server_refuses_is_reported_with_its_cause(serving):
    serving.get("/x", Host="evil.example")
    name, labels = serving.events[0]
    assert name == "rejected"
    assert labels["reason"] == "misdirected-request"
    assert labels["status"] == "421"
    assert labels["address"] == "127.0.0.1"
    assert labels["path"] == "/x"
    assert labels["request_id"]
