"""Giving way: at once when it is quiet, bounded when it never is."""

from pathlib import Path

import pytest

from appliance.host.jobs.courtesy import Courtesy, runnable


class Machine:
    """A machine on which others run until some time."""

    def __init__(self, quiet_at: float) -> None:
        self.now = 100.0
        self.quiet_at = quiet_at

    def count(self) -> int:
        return 3 if self.now < self.quiet_at else 1

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def courtesy(self) -> Courtesy:
        return Courtesy(self.count, lambda: self.now, self.sleep)


def test_nobody_is_waited_for_where_nobody_runs() -> None:
    machine = Machine(quiet_at=0.0)
    courtesy = machine.courtesy()
    machine.now += 1.0
    assert courtesy.give_way() == 0.0


def test_work_goes_on_when_it_becomes_quiet() -> None:
    machine = Machine(quiet_at=100.015)
    courtesy = machine.courtesy()
    machine.now += 0.010
    assert courtesy.give_way() == pytest.approx(0.005, abs=0.0015)


def test_who_is_never_quiet_gets_four_fifths_of_the_time() -> None:
    machine = Machine(quiet_at=1e9)
    courtesy = machine.courtesy()
    machine.now += 0.010
    assert courtesy.give_way() == pytest.approx(0.040, abs=0.002)
    machine.now += 60.0
    assert courtesy.give_way() == pytest.approx(0.25, abs=0.002)


def test_what_the_kernel_tells_is_read_and_silence_is_taken_for_quiet(tmp_path: Path) -> None:
    assert runnable() >= 0
    (tmp_path / "load").write_text("0.10 0.20 0.30 5/123 4567\n")
    assert runnable(tmp_path / "load") == 5
    (tmp_path / "load").write_text("odd")
    assert runnable(tmp_path / "load") == 0
    assert runnable(tmp_path / "none") == 0
