"""`appliance metrics-textfile`: facts for node_exporter, written also while the service is down.

And `appliance scheduler`, which does what systemd's timers do where there is no systemd.
"""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import click
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily

from appliance import __version__
from appliance.cli.backups import own_command
from appliance.cli.connection import Connection, connection_of
from appliance.cli.drill import last_drill
from appliance.cli.unit import systemd_property
from appliance.clock import SystemClock
from appliance.config import Config
from appliance.places import places_of
from appliance.store import rotation

_PREFIX = "inference_appliance_box_"
_ANSWER_SECONDS = 5.0
_MINUTE_SECONDS = 60.0
_DAY_SECONDS = 86400.0
_WEEK_SECONDS = 7 * _DAY_SECONDS


@click.command(name="metrics-textfile")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def metrics_textfile(context: click.Context, path: Path) -> None:
    """Write facts for node_exporter's textfile collector to PATH; the service need not run."""
    config = context.find_object(Config) or Config()
    connection = Connection(connection_of(context).socket_path, timeout_seconds=_ANSWER_SECONDS)
    write_textfile(path, exposition(config, connection))


@click.command()
@click.option(
    "--textfile", type=click.Path(dir_okay=False, path_type=Path), help="Facts for node_exporter."
)
@click.pass_context
def scheduler(context: click.Context, textfile: Path | None) -> None:
    """Do what systemd's timers do: a backup a day, a drill a week, facts a minute."""
    config = context.find_object(Config) or Config()
    connection = Connection(connection_of(context).socket_path, timeout_seconds=_ANSWER_SECONDS)
    path = context.meta.get("config_path")
    ended = _until_signal()

    def write_facts() -> None:
        # Nobody reads the facts where the collector's directory is not there.
        if textfile is not None and textfile.parent.is_dir():
            write_textfile(textfile, exposition(config, connection))

    turns = [
        Turn(_MINUTE_SECONDS, lambda: 0.0, write_facts),
        Turn(_DAY_SECONDS, lambda: _newest_backup_seconds(config), lambda: _run(path, "backup")),
        Turn(_WEEK_SECONDS, lambda: _last_drill_seconds(config), lambda: _run(path, "drill")),
    ]
    while not ended.wait(timeout=min(turn.seconds_left() for turn in turns)):
        for turn in turns:
            turn.take()


class Turn:
    """Something to do every so often; threads: one.

    When it was done last is asked of what it leaves behind, so that a restart neither forgets a
    missed turn nor repeats one; after a failure it waits a minute at least.
    """

    def __init__(
        self, every_seconds: float, last_seconds: Callable[[], float], act: Callable[[], object]
    ) -> None:
        self._every_seconds = every_seconds
        self._last_seconds = last_seconds
        self._act = act
        self._not_before = time.monotonic() + min(10.0, every_seconds)  # the service starts first

    def seconds_left(self) -> float:
        """Return how long it can still wait, at most a minute, since the wall clock may jump."""
        due = self._last_seconds() + self._every_seconds - SystemClock().wall_seconds()
        pause = self._not_before - time.monotonic()
        return min(max(due, pause, 0.1), _MINUTE_SECONDS)

    def take(self) -> None:
        """Act if it is time."""
        now = SystemClock().wall_seconds()
        # A last time in the future means a clock that was wrong then: not a reason to wait for it.
        is_due = not 0 <= now - self._last_seconds() < self._every_seconds
        if is_due and time.monotonic() >= self._not_before:
            self._not_before = time.monotonic() + _MINUTE_SECONDS
            self._act()


def exposition(config: Config, connection: Connection) -> bytes:
    """Given the configuration and a way to the service, return the facts as text."""
    registry = CollectorRegistry()
    clock = SystemClock()
    _gauge(registry, "info", "What is installed; always 1.", {"version": __version__}, 1)
    readiness = _readiness(connection)
    _gauge(
        registry,
        "up",
        "1 while the service answers on its admin socket.",
        {},
        readiness is not None,
    )
    _gauge(
        registry,
        "ready",
        "1 while the service says that requests should be sent to it.",
        {},
        bool(readiness),
    )
    _backup_facts(registry, config)
    _drill_facts(registry, config)
    _disk_facts(registry, config)
    _restarts(registry)
    _gauge(
        registry,
        "textfile_generated_timestamp_seconds",
        "When these facts were written.",
        {},
        clock.wall_seconds(),
    )
    return generate_latest(registry)


def write_textfile(path: Path, content: bytes) -> None:
    """Given a path and facts, put them there in one step, readable by everybody.

    The unfinished file's name must not end in .prom, or node_exporter would read it.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(unfinished, "xb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _gauge(
    registry: CollectorRegistry, name: str, text: str, labels: dict[str, str], value: float
) -> None:
    gauge = Gauge(_PREFIX + name, text, tuple(labels), registry=registry)
    (gauge.labels(**labels) if labels else gauge).set(value)


def _readiness(connection: Connection) -> bool | None:
    """Return whether the service is ready; None when nobody answers."""
    try:
        return bool(connection.get("/ready").get("ready"))
    except click.ClickException as fault:
        # A refusal is an answer: 503 says that it is not ready.
        return False if getattr(fault, "status", None) else None


def _backup_facts(registry: CollectorRegistry, config: Config) -> None:
    found = rotation.listed(places_of(config).backups)
    _gauge(registry, "backups", "Finished backups on the disk.", {}, len(found))
    newest = found[0] if found else None
    _gauge(
        registry,
        "backup_last_success_timestamp_seconds",
        "When the newest backup was made; 0 for none.",
        {},
        newest.made_seconds if newest else 0,
    )
    _gauge(
        registry,
        "backup_last_size_bytes",
        "Size of the newest backup.",
        {},
        newest.bytes if newest else 0,
    )


def _drill_facts(registry: CollectorRegistry, config: Config) -> None:
    last = last_drill(places_of(config).state)
    if last is None:
        return  # a box of today is not one whose drill failed
    _gauge(
        registry, "drill_success", "1 if the last restore drill succeeded.", {}, last.is_success
    )
    _gauge(
        registry,
        "drill_last_success_timestamp_seconds",
        "When a restore drill succeeded last; 0 for never.",
        {},
        last.last_success_seconds,
    )


def _disk_facts(registry: CollectorRegistry, config: Config) -> None:
    places = places_of(config)
    free = Gauge(f"{_PREFIX}disk_free_bytes", "Free space.", ("directory",), registry=registry)
    size = Gauge(
        f"{_PREFIX}disk_size_bytes", "Size of the disk.", ("directory",), registry=registry
    )
    for name, path in (("state", places.state), ("backups", places.backups)):
        try:
            usage = shutil.disk_usage(path)
        except OSError:
            continue  # not there yet
        free.labels(name).set(usage.free)
        size.labels(name).set(usage.total)


class _Restarts:
    """A counter whose value comes from systemd."""

    def __init__(self, value: int) -> None:
        self._value = value

    def collect(self) -> list[CounterMetricFamily]:
        family = CounterMetricFamily(
            f"{_PREFIX}restarts", "Restarts of the service by systemd since the machine started."
        )
        family.add_metric([], self._value)
        return [family]


def _restarts(registry: CollectorRegistry) -> None:
    text = systemd_property("NRestarts")
    if text.isdigit():
        registry.register(_Restarts(int(text)))


def _newest_backup_seconds(config: Config) -> float:
    found = rotation.listed(places_of(config).backups)
    return found[0].made_seconds if found else 0.0


def _last_drill_seconds(config: Config) -> float:
    last = last_drill(places_of(config).state)
    return last.last_success_seconds if last else 0.0


def _run(config_path: str | None, verb: str) -> int:
    """Run a verb of the program as a process of its own: a fault of it ends nothing else."""
    options = ["--config", config_path] if config_path else []
    return subprocess.run([*own_command(), *options, verb], check=False).returncode


def _until_signal() -> threading.Event:
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return ended


COMMANDS = (metrics_textfile, scheduler)
