import contextlib
import resource

import pytest

from tests.web.serving import eventually


def is_local(address):
    return address == "127.0.0.1"


def test_one_address_cannot_take_all_connections(serve):
    serving = serve(connections_per_address=3, is_local=is_local)
    held = [serving.client("127.0.0.2") for _ in range(3)]
    for client in held:
        assert client.ask("/live").status == 200
    with serving.client("127.0.0.2") as further:
        reply = further.reply()
        assert (reply.status, reply.slug) == (429, "rate-limited")
        assert further.is_closed()
    assert serving.get("/live").status == 200
    assert serving.reasons("turned_away") == ["rate-limited"]
    for client in held:
        client.socket.close()
    eventually(lambda: serving.server.connections().open == 0)
    with serving.client("127.0.0.2") as again:
        assert again.ask("/live").status == 200


def test_places_are_left_for_this_machine_when_all_are_taken(serve):
    serving = serve(connections=8, is_local=is_local)
    held = [serving.client("127.0.0.2") for _ in range(4)]
    for client in held:
        assert client.ask("/live").status == 200
    with serving.client("127.0.0.3") as further:
        further.send_what_is_taken(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reply = further.reply()
        assert (reply.status, reply.slug) == (503, "unavailable")
        assert "retry-after" in reply.headers
        assert further.is_closed()
    assert serving.get("/live").status == 200
    for client in held:
        client.socket.close()


def test_who_holds_a_place_without_asking_gives_way_when_all_are_taken(serve):
    serving = serve(connections=8, header_seconds=60.0, is_local=lambda address: False)
    kept = serving.client()
    assert kept.ask("/live").status == 200
    hoarders = [serving.client("127.0.0.2") for _ in range(3)]
    hoarders[0].socket.sendall(b"GET / HTTP/1.1\r\nHost: loc")
    eventually(lambda: serving.get("/live").status == 200)
    assert serving.reasons("cut") == ["hoarding"] * 3
    assert all(client.is_closed() for client in hoarders)
    assert kept.ask("/live").status == 200, "who has been served before is left alone"
    for client in (kept, *hoarders):
        client.socket.close()


def test_far_more_clients_than_places_do_no_harm(serve):
    serving = serve(connections=20, is_local=lambda address: False)
    flood = [serving.client("127.0.0.2") for _ in range(300)]
    # Who sends nothing for two seconds gives way, which lets some of the others in meanwhile.
    eventually(
        lambda: (
            len(serving.reasons("turned_away"))
            + len(serving.reasons("cut"))
            + serving.server.connections().open
            == 300
        )
    )
    assert serving.server.connections().open <= 16
    for client in flood:
        client.socket.close()
    eventually(lambda: serving.server.connections().open == 0)
    assert serving.get("/live").status == 200


def test_more_than_a_thousand_idle_connections_are_no_end(serve):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("not enough descriptors allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    try:
        serving = serve(connections=1200)
        idle = [serving.client() for _ in range(1100)]
        assert serving.get("/live").status == 200
        for client in idle:
            client.socket.close()
        eventually(lambda: serving.server.connections().open == 0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_lack_of_descriptors_refuses_clients_and_ends_with_it(serve):
    serving = serve(header_seconds=2.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [serving.client() for _ in range(5)]
    for client in held:
        assert client.ask("/live").status == 200
    spare = [serving.client() for _ in range(3)]
    eventually(lambda: serving.server.connections().open == 8)
    lowest = max(client.socket.fileno() for client in spare) + 1
    refused = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 8, hard))
        with contextlib.suppress(OSError):  # client and server share the process and its limit
            refused.extend(serving.client() for _ in range(20))
        eventually(lambda: "descriptors" in serving.reasons("turned_away"))
        assert held[0].ask("/live").status == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in [*held, *spare, *refused]:
            client.socket.close()
    eventually(lambda: serving.server.connections().open == 0)
    assert serving.get("/live").status == 200
