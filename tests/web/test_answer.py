from appliance.errors import Unauthenticated, Unavailable
from appliance.web.answer import http_date, problem_answer
from tests.web.serving import Reply


def answer(problem, **how):
    settings = {"request_id": "r-1", "closes": False, "is_head": False} | how
    data = problem_answer(problem, (problem.status, "a/b", b"text"), **settings)
    head, _, body = data.partition(b"\r\n\r\n")
    return Reply(head, body)


def test_a_problem_is_a_whole_response():
    reply = answer(Unavailable("Later."))
    assert (reply.status, reply.body) == (503, b"text")
    assert reply.headers == {
        "content-type": "a/b",
        "content-length": "4",
        "date": reply.headers["date"],
        "x-request-id": "r-1",
        "cache-control": "no-store",
        "retry-after": "1",
    }


def test_closing_and_keys_are_announced():
    reply = answer(Unauthenticated("Key."), closes=True, is_head=True)
    assert reply.headers["connection"] == "close"
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert (reply.headers["content-length"], reply.body) == ("4", b"")


def test_the_date_is_in_the_form_http_wants():
    assert http_date().endswith(" GMT")
    assert http_date() is not None


def application_with(status, headers, pieces):
    def application(environ, start):
        environ["wsgi.input"].read()
        start(status, headers)
        return pieces

    return application


def test_answers_without_a_body_keep_the_connection(serve):
    for status in ("204 No Content", "304 Not Modified"):
        serving = serve(application=application_with(status, [], []))
        with serving.client() as client:
            for _ in range(2):
                reply = client.ask()
                assert reply.status == int(status[:3])
                assert "transfer-encoding" not in reply.headers
                assert "connection" not in reply.headers


def test_head_has_the_headers_of_get_and_no_body(serve):
    serving = serve(application=application_with("200 OK", [("Content-Length", "5")], [b"hello"]))
    with serving.client() as client:
        for _ in range(2):
            client.send(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.reply(has_body=False).headers["content-length"] == "5"
    serving = serve(application=application_with("200 OK", [], iter([b"a", b"b"])))
    with serving.client() as client:
        client.send(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.reply(has_body=False)
        assert client._held == b""


def test_old_clients_get_plain_bodies(serve):
    serving = serve(application=application_with("200 OK", [], iter([b"ab", b"cd"])))
    with serving.client() as client:
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        reply = client.reply(has_body=False)
        assert "transfer-encoding" not in reply.headers
        assert reply.headers["connection"] == "close"
        while len(client._held) < 4:
            client._more()
        assert client._held == b"abcd"
        assert client.is_closed()


def test_old_clients_may_keep_the_connection(serve):
    serving = serve(application=application_with("200 OK", [], [b"abcd"]))
    with serving.client() as client:
        for _ in range(2):
            client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            reply = client.reply()
            assert (reply.headers["connection"], reply.body) == ("Keep-Alive", b"abcd")


def test_close_is_honoured(serve):
    serving = serve(application=application_with("200 OK", [], [b"abcd"]))
    with serving.client() as client:
        reply = client.ask(Connection="close")
        assert (reply.headers["connection"], reply.body) == ("close", b"abcd")
        assert client.is_closed()


def test_an_answer_that_is_too_short_ends_the_connection(serve):
    serving = serve(application=application_with("200 OK", [("Content-Length", "9")], [b"abc"]))
    with serving.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.reply(has_body=False)
        assert client.is_closed()


def test_no_more_than_the_announced_length_is_sent(serve):
    serving = serve(application=application_with("200 OK", [("Content-Length", "2")], [b"abc"]))
    with serving.client() as client:
        assert [client.ask().body for _ in range(2)] == [b"ab", b"ab"]


def test_a_stream_that_fails_half_way_is_cut_off_visibly(serve, caplog):
    def pieces():
        yield b"a" * 10
        raise RuntimeError("half way")

    serving = serve(application=application_with("200 OK", [], pieces()))
    with serving.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.reply(has_body=False)
        assert client.is_closed()
        assert not client._held.endswith(b"0\r\n\r\n")
    assert "half way" in caplog.text


def test_an_oserror_of_the_application_is_an_answer_not_a_hang_up(serve, caplog):
    def application(environ, start):
        raise OSError("the application's own")

    serving = serve(application=application)
    assert serving.get().status == 500
    assert "the application's own" in caplog.text
