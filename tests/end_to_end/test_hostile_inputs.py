"""Pictures and addresses that are meant to do harm (C-113, C-117)."""

import contextlib
import socket
from collections.abc import Iterator

import psutil
import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import Running
from tests.tasks.test_picture_head import BOMBS
from tests.tiny_models import picture

SHA256 = "0" * 64


@pytest.mark.parametrize("bomb", BOMBS)
def test_c113_a_bomb_is_refused_and_the_host_stays_small(appliance: Running, bomb: str) -> None:
    host = psutil.Process(appliance.host_process_id())
    before = host.memory_info().rss
    answer = appliance.predict(BOMBS[bomb]())
    assert answer.status in (413, 415, 422), answer
    assert host.is_running()
    assert appliance.host_process_id() == host.pid
    assert host.memory_info().rss - before < 64 * 1024 * 1024
    assert appliance.predict(picture("red")).status == 200


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port of this machine that nobody may be made to connect to."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.setblocking(False)
        yield found


def test_c117_a_models_url_leads_nowhere_inside(start_one: Start, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    inside = ("127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "0.0.0.0")
    hosts = ", ".join(f'"{host}:{port}"' for host in inside)
    running = start_one(MODELS__URL_HOSTS=f"[{hosts}]")
    urls = [f"https://{host}:{port}/m.onnx" for host in inside]
    urls += [
        "file:///etc/passwd",
        f"http://127.0.0.1:{port}/m.onnx",
        f"ftp://127.0.0.1:{port}/m.onnx",
        f"https://user:word@127.0.0.1:{port}/m.onnx",
        f"https://models.example.com@127.0.0.1:{port}/m.onnx",
        f"https://127.1:{port}/m.onnx",
        f"https://2130706433:{port}/m.onnx",
    ]
    for url in urls:
        answer = running.post_json(
            "/api/v1/models?name=fetched&wait=60", {"url": url, "sha256": SHA256}
        )
        assert answer.status in (403, 422), (url, answer)
        assert answer.json()["detail"], url
    with contextlib.suppress(BlockingIOError):
        pytest.fail(f"{listener.accept()[1]} was let in")
    assert running.get("/api/v1/models/fetched").status in (200, 404)


def test_c117_no_url_is_fetched_unless_its_host_is_listed(
    start_one: Start, listener: socket.socket
) -> None:
    running = start_one()
    url = f"https://127.0.0.1:{listener.getsockname()[1]}/m.onnx"
    answer = running.post_json("/api/v1/models?name=m", {"url": url, "sha256": SHA256})
    assert answer.status in (403, 422)
    assert "models.url_hosts" in answer.json()["detail"]
    with contextlib.suppress(BlockingIOError):
        pytest.fail(f"{listener.accept()[1]} was let in")
