"""Facts about the machine."""

import platform
from typing import Any

import psutil
import pytest

from appliance import __version__, machine


def test_the_machine_tells_what_an_admin_wants_to_see() -> None:
    told = machine.readings()
    assert told["build_info"] == {(__version__, platform.python_version()): 1}
    memory, available = told["machine_memory_bytes"], told["machine_memory_available_bytes"]
    assert isinstance(memory, int)
    assert isinstance(available, int)
    assert 0 < available <= memory
    assert set(told["machine_load_average"] or {}) == {("1",), ("5",), ("15",)}  # type: ignore[arg-type]


def test_a_fact_that_cannot_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden() -> Any:
        raise FileNotFoundError("/proc/stat")

    monkeypatch.setattr(psutil, "cpu_times", hidden)
    told = machine.readings()
    assert told["machine_cpu_seconds_total"] is None
    assert told["up"] == 1


def test_temperatures_are_named_by_chip_and_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sensor:
        def __init__(self, label: str, current: float) -> None:
            self.label = label
            self.current = current

    sensors = {"coretemp": [Sensor("Core 0", 51.0), Sensor("", 40.5)]}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    assert machine.temperatures() == {("coretemp/Core 0",): 51.0, ("coretemp/1",): 40.5}


def test_measurements_are_valid_for_this_machine_with_so_many_cores() -> None:
    assert machine.fingerprint(2) == machine.fingerprint(2) != machine.fingerprint(3)
    assert machine.cpu_model() in machine.fingerprint(2)
    assert "2 cores; OpenVINO 2" in machine.fingerprint(2)
