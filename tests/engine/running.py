"""An engine with real hosts, and what tests do with it."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil

from appliance.config import Config, Limits, Models
from appliance.engine.engine import Engine
from appliance.engine.served import Served
from appliance.engine.status import ModelStatus
from tests.tiny_models import picture, write_colour_model

HANG_SECONDS = 60.0
CONFIG = Config(
    models=Models(
        deadline_seconds=3.0,
        start_seconds=30.0,
        restart_backoff_seconds=1.0,
        in_flight=2,
        memory_bytes=4 * 1024**3,
    ),
    limits=Limits(waiting=2, waiting_seconds=0.5),
)


def changed(**sections: dict[str, Any]) -> Config:
    """Return the tests' configuration with some keys changed, by section."""
    return msgspec.structs.replace(
        CONFIG,
        **{
            name: msgspec.structs.replace(getattr(CONFIG, name), **keys)
            for name, keys in sections.items()
        },
    )


def eventually(condition: Callable[[], Any], words: str = "it did not come true") -> Any:
    """Wait until a condition holds and return what it returned; fail when that takes too long."""
    give_up_at = time.monotonic() + HANG_SECONDS
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < give_up_at, words
        time.sleep(0.01)


class Running:
    """A running engine over a directory of models, and what it told its surroundings."""

    def __init__(self, directory: Path, config: Config = CONFIG) -> None:
        self.models_directory = directory / "models"
        self.cache_directory = directory / "cache"
        for path in (self.models_directory, self.cache_directory):
            path.mkdir(exist_ok=True)
        self.calls: list[tuple[str, str]] = []
        self.restarts: list[tuple[str, str]] = []
        self.failures: list[str] = []
        self.engine = Engine(
            config,
            models_directory=self.models_directory,
            cache_directory=self.cache_directory,
            threads=1,
            on_call=lambda served, outcome, _: self.calls.append((served.name, outcome)),
            on_restart=lambda served, words: self.restarts.append((served.name, words)),
            on_load_failed=lambda served: self.failures.append(served.name),
        )
        self.engine.supervisor.start()

    def install(self, name: str, **options: Any) -> None:
        """Write a colour model and load it."""
        write_colour_model(self.models_directory, name=name, **options)
        self.engine.load(name)

    def predict(
        self, name: str, colour: str = "red", *, version: int | None = None, body: bytes = b""
    ) -> tuple[str | None, int]:
        """Return the label of a picture of one colour, and the version that said so."""
        header = {"method": "predict", "params": {}, "content_type": "image/png"}
        reply, answer = self.engine.call(name, version, header, body or picture(colour))
        label = json.loads(bytes(answer))["predictions"][0]["label"]
        assert reply["label"] == label
        return label, reply["version"]

    def served(self, name: str, version: int = 1) -> Served:
        """Return the engine's own record of a version."""
        return self.engine._by_version[name, version]

    def status(self, name: str, version: int = 1) -> ModelStatus:
        """Return what health is told of a version."""
        return self.engine.status(name, version)

    def process_of(self, name: str, version: int = 1, *, after: int | None = None) -> int:
        """Return the process id of a version's host once it is ready; `after` is one it ends."""

        def other() -> int | None:
            found = self.status(name, version).process_id
            return None if found == after else found

        return int(eventually(other, f"{name} did not become ready"))

    def nursery_process(self) -> int:
        """Return the process id of the nursery once there is one."""
        supervisor = self.engine.supervisor
        return int(eventually(lambda: supervisor._nursery and supervisor._nursery.process_id))


@contextlib.contextmanager
def running(directory: Path, config: Config = CONFIG) -> Iterator[Running]:
    """Run an engine until the block ends."""
    found = Running(directory, config)
    try:
        yield found
    finally:
        found.engine.stop()


@contextlib.contextmanager
def stopped(process_id: int) -> Iterator[None]:
    """Keep a process from running, as if it hung, until the block ends."""
    os.kill(process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGCONT)


def is_gone(process_id: int) -> bool:
    """Return whether no process with that id runs; a zombie does not."""
    try:
        return psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
