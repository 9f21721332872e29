"""Facts about the machine, asked of the operating system whenever Prometheus scrapes."""

import platform
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version

import psutil

from appliance import __version__

Labels = tuple[str, ...]
#: One value, or one for each set of label values; None when there is nothing to tell.
Reading = float | Mapping[Labels, float] | None

_SENSORS_PER_CHIP = 32


def readings() -> dict[str, Reading]:
    """Return what this machine tells; a fact it does not tell (containers hide some) is None."""
    return {name: _told(ask) for name, ask in _QUESTIONS.items()}


def temperatures() -> dict[Labels, float]:
    """Return degrees Celsius by `chip/sensor`; empty where there are no sensors."""
    found: dict[Labels, float] = {}
    for chip, sensors in psutil.sensors_temperatures().items():
        for number, sensor in enumerate(sensors[:_SENSORS_PER_CHIP]):
            found[(f"{chip}/{sensor.label or number}",)] = float(sensor.current)
    return found


def _told(ask: Callable[[], Reading]) -> Reading:
    try:
        return ask()
    except (OSError, AttributeError, psutil.Error):  # /proc is not all there, or another system
        return None


def _cpu_seconds() -> Reading:
    return {(mode,): seconds for mode, seconds in psutil.cpu_times()._asdict().items()}


def _load() -> Reading:
    return dict(zip((("1",), ("5",), ("15",)), psutil.getloadavg(), strict=True))


_QUESTIONS: dict[str, Callable[[], Reading]] = {
    "up": lambda: 1,
    "build_info": lambda: {(__version__, platform.python_version()): 1},
    "machine_cpu_seconds_total": _cpu_seconds,
    "machine_cores": psutil.cpu_count,
    "machine_load_average": _load,
    "machine_memory_bytes": lambda: psutil.virtual_memory().total,
    "machine_memory_available_bytes": lambda: psutil.virtual_memory().available,
    "machine_temperature_celsius": temperatures,
    "process_threads": threading.active_count,
}


def fingerprint(cores: int) -> str:
    """Given the cores that may be used, return what measurements of speed are valid for.

    CPU model, cores, and the version of OpenVINO: another of any makes them worthless.
    """
    return f"{cpu_model()}; {cores} cores; OpenVINO {_engine_version()}"


def cpu_model() -> str:
    """Return what the CPU calls itself, or its architecture where it says nothing."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return " ".join(value.split())
    except OSError:
        pass
    return platform.machine() or "unknown"


def _engine_version() -> str:
    try:
        return version("openvino")
    except PackageNotFoundError:  # a bundle without metadata: a release has one OpenVINO only
        return f"of appliance {__version__}"
