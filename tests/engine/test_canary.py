import os
import signal
import threading
from pathlib import Path

import pytest

from appliance.engine.canary import CanaryRounds
from appliance.errors import Problem
from tests.engine.running import Running, changed, eventually, is_gone, running, stopped


def test_a_canary_that_sings_is_noted_with_its_latency(shared: Running) -> None:
    shared.install("sings")
    CanaryRounds(shared.engine, interval_seconds=1).run_round()
    status = shared.status("sings")
    assert status.canary_ok
    assert status.canary_seconds is not None
    assert status.canary_seconds > 0


def test_the_canary_needs_no_place_in_the_line(shared: Running) -> None:
    shared.install("crowded")
    admission = shared.served("crowded").admission
    with admission.enter(), admission.enter():
        shared.served("crowded").canary.ok = None
        CanaryRounds(shared.engine, interval_seconds=1).run_round()
        assert shared.status("crowded").canary_ok


def test_a_model_without_golden_samples_is_asked_with_zeros(shared: Running) -> None:
    shared.install("sampleless", has_golden=False)
    CanaryRounds(shared.engine, interval_seconds=1).run_round()
    assert shared.status("sampleless").canary_ok


def test_a_wrong_answer_is_noted_with_what_differs(shared: Running) -> None:
    shared.install("lies")
    served = shared.served("lies")
    rounds = CanaryRounds(shared.engine, interval_seconds=1)

    def lie(*_: object, **__: object) -> None:
        raise Problem("The model does not answer as it should: expected 'red', got 'blue'.")

    host = served.host
    assert host is not None
    host.call = lie  # type: ignore[assignment, method-assign]
    rounds.run_round()
    assert served.canary.reason.endswith("expected 'red', got 'blue'.")
    assert shared.status("lies").canary_ok is False
    del host.call  # type: ignore[method-assign]
    rounds.run_round()
    assert shared.status("lies").canary_ok


def test_a_hung_host_fails_its_canary_and_is_replaced_after_two(tmp_path: Path) -> None:
    with running(tmp_path, changed(models={"deadline_seconds": 0.3})) as engine:
        engine.install("stuck")
        host = engine.process_of("stuck")
        rounds = CanaryRounds(engine.engine, interval_seconds=1)
        with stopped(host):
            rounds.run_round()
            assert engine.status("stuck").canary_ok is False
            assert "did not answer" in engine.served("stuck").canary.reason
            rounds.run_round()
            eventually(lambda: is_gone(host))
        engine.process_of("stuck", after=host)
        assert engine.status("stuck").canary_ok


def test_a_dead_host_is_left_to_the_supervisor(shared: Running) -> None:
    shared.install("gone")
    host = shared.process_of("gone")
    os.kill(host, signal.SIGKILL)
    CanaryRounds(shared.engine, interval_seconds=1).run_round()
    shared.process_of("gone", after=host)


def test_rounds_go_on_at_their_interval_until_stopped(shared: Running) -> None:
    shared.install("rounds")
    canary = shared.served("rounds").canary
    first = canary.at_monotonic
    rounds = CanaryRounds(shared.engine, interval_seconds=0.02)
    rounds.start()
    eventually(lambda: canary.at_monotonic != first)
    rounds.stop()
    rounds._thread.join(60)
    assert not rounds._thread.is_alive()


def test_a_round_that_breaks_is_not_the_last(
    shared: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Semaphore(0)

    def broken() -> None:
        asked.release()
        raise KeyError("seconds")

    rounds = CanaryRounds(shared.engine, interval_seconds=0.01)
    monkeypatch.setattr(rounds, "run_round", broken)
    rounds.start()
    for _ in range(3):
        assert asked.acquire(timeout=60)
    rounds.stop()
