import socket
import threading
from pathlib import Path

import pytest

from appliance.engine.admission import Admission
from appliance.engine.host import Host
from appliance.engine.served import FAILED, READY, STARTING, STOPPED, Canary, Served
from appliance.errors import ModelUnavailable
from appliance.library.manifest import Manifest
from appliance.library.versions import VersionDirectory
from tests.engine.running import HANG_SECONDS


@pytest.fixture
def served() -> Served:
    return Served(
        place=VersionDirectory("m", 2, Path("m/2")),
        manifest=Manifest(manifest_version=1, name="m", version=2, task="t"),
        admission=Admission(most=1, most_waiting=1, waiting_seconds=1),
    )


@pytest.fixture
def host() -> Host:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        return Host(ours, 7, deadline_seconds=1)


def test_a_call_enters_the_host_that_answers(served: Served, host: Host) -> None:
    assert served.become(READY, host=host)
    assert served.enter() is host
    assert host.in_flight == served.status(is_active=True).in_flight == 1
    host.close()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (STARTING, r"m@2 is being started: it died. Try again"),
        (FAILED, r"m@2 could not be started: it died. An administrator"),
        (STOPPED, r"m@2 is not loaded: it died. An administrator"),
    ],
)
def test_without_a_host_the_reason_is_told(served: Served, state: str, words: str) -> None:
    served.become(state, "it died.")
    with pytest.raises(ModelUnavailable, match=words):
        served.enter()


def test_a_retired_version_never_comes_back(served: Served, host: Host) -> None:
    served.become(READY, host=host)
    assert served.retire() is host
    assert not served.become(READY, host=host)
    assert (served.state, served.host, served.is_retired) == (STOPPED, None, True)
    with pytest.raises(ModelUnavailable, match="not loaded"):
        served.enter()
    assert served.retire() is None
    host.close()


def test_whoever_waits_is_woken_when_it_is_settled(served: Served, host: Host) -> None:
    served.become(STARTING)
    assert not served.wait_until_settled(0.01)
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(served.wait_until_settled(HANG_SECONDS)))
    thread.start()
    served.become(READY, host=host)
    thread.join(HANG_SECONDS)
    assert found == [True]
    served.become(FAILED)
    assert not served.wait_until_settled(HANG_SECONDS)
    host.close()


def test_a_status_tells_the_canarys_age(served: Served) -> None:
    assert served.status(is_active=False).canary_age_seconds is None
    served.canary.note(seconds=0.5)
    status = served.status(is_active=False)
    assert (status.canary_ok, status.canary_seconds) == (True, 0.5)
    assert status.canary_age_seconds is not None
    assert status.canary_age_seconds >= 0


def test_a_canary_with_a_reason_failed() -> None:
    canary = Canary()
    canary.note(reason="wrong")
    assert (canary.ok, canary.reason, canary.seconds) == (False, "wrong", None)
    canary.note(seconds=1.0)
    assert (canary.ok, canary.reason) == (True, "")
