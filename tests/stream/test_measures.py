"""What the gateway counts, read as Prometheus reads it."""

import http.client
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from appliance.config import Metrics
from appliance.stream.close_codes import CloseCode
from appliance.stream.measures import Measures
from tests.stream.conftest import HANG_SECONDS, Running, hear, hear_end, say
from tests.web.serving import eventually

PREFIX = "inference_appliance_gateway_"
NEW = "/ws/streams?model=letters"


def scraped(gateway: Running) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=HANG_SECONDS)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def values(text: str) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            code = sample.labels.get("code", "")
            found[sample.name.removeprefix(PREFIX) + code] = sample.value
    return found


def test_every_series_is_there_from_the_beginning() -> None:
    found = values(Measures().exposition().decode())
    assert found["up"] == 1
    assert found["connections"] == found["connections_opened_total"] == 0
    assert {f"connections_closed_total{int(code)}" for code in CloseCode} < set(found)
    assert found["connections_closed_totalclient"] == 0


def test_what_happens_on_the_way_is_counted(gateway: Running) -> None:
    with gateway.connect(NEW) as socket:
        stream = hear(socket)["id"]
        say(socket, b"abc")
        hear(socket)
        assert values(scraped(gateway)[1])["connections"] == 1
    with gateway.connect(f"/ws/streams/{stream}") as socket:
        hear(socket)
        say(socket, {"end": True})
        hear(socket)
        assert hear_end(socket)[0] == 1000
    with gateway.connect(NEW, key="iak_wrong") as socket:
        assert hear_end(socket)[0] == 4401

    def all_are_gone() -> bool:
        return values(scraped(gateway)[1])["connections"] == 0

    eventually(all_are_gone)
    status, text = scraped(gateway)
    found = values(text)
    assert status == 200
    assert found["connections_opened_total"] == 3
    assert found["reconnects_total"] == 1
    assert found["messages_received_total"] == 2
    assert found["messages_sent_total"] == 4
    assert found["received_bytes_total"] == len(b"abc") + len('{"end": true}')
    assert found["key_failures_total"] == found["connections_closed_total4401"] == 1
    assert found["connections_closed_total1000"] == 1
    assert found["connections_closed_totalclient"] == 1


def test_a_front_that_does_not_answer_is_seen_in_the_retries(
    start_gateway: Callable[..., Running],
) -> None:
    gateway = start_gateway(gateway_patience_seconds=0.2)
    gateway.door.stop()
    with gateway.connect(NEW) as socket:
        assert hear_end(socket)[0] == 1013
    assert values(scraped(gateway)[1])["front_retries_total"] >= 1


def test_metrics_are_for_the_networks_that_may_read_them(
    start_gateway: Callable[..., Running],
) -> None:
    gateway = start_gateway(metrics=Metrics(public=("192.0.2.0/24",)))
    status, text = scraped(gateway)
    assert status == 403
    assert "metrics.public" in text
    assert PREFIX not in text
