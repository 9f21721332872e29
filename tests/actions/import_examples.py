"""A library with a real database and real children, and no engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from appliance.actions.callers import Caller
from appliance.actions.import_work import ImportPlaces
from appliance.actions.install_model import ModelLibrary
from appliance.clock import ManualClock
from appliance.config import Config
from appliance.library.import_request import ImportRequest
from appliance.library.incoming import Incoming
from appliance.store.database import Database
from appliance.store.disk import DiskWatch
from appliance.store.models import Version
from tests.actions.examples import ADMIN

HANG_SECONDS = 100.0


class Library:
    """One library and what it was asked to activate. The test that holds it stops it."""

    def __init__(
        self,
        database: Database,
        directory: Path,
        *,
        activate: Callable[[Caller, str, int], None] | None = None,
        **models: Any,
    ) -> None:
        clock = ManualClock()
        self.database = database
        self.models = directory / "models"
        self.models.mkdir(parents=True, exist_ok=True)
        self.activated: list[tuple[str, int]] = []
        settings = msgspec.structs.replace(Config().models, **models)
        self.library = ModelLibrary(
            msgspec.structs.replace(Config(), models=settings),
            clock,
            database=database,
            disk=DiskWatch(directory, reserve_bytes=0, clock=clock),
            places=ImportPlaces(models=self.models, cache=directory / "cache", threads=1),
            activate=activate or (lambda _, name, version: self.activated.append((name, version))),
        )

    def received(self, files: dict[str, bytes]) -> Incoming:
        """Return room that holds these files."""
        incoming = self.library.receive()
        for name, content in files.items():
            incoming.write(name, [content], most_bytes=1 << 30)
        return incoming

    def send(self, files: dict[str, bytes], **said: Any) -> Version:
        """Take an import in and return at once."""
        request = msgspec.convert({"name": "m", **said}, ImportRequest)
        return self.library.accept(ADMIN, self.received(files), request)

    def install(self, files: dict[str, bytes], **said: Any) -> Version:
        """Take an import in and return how it ended."""
        begun = self.send(files, **said)
        return self.library.wait(begun.name, begun.version, seconds=HANG_SECONDS)

    def left_behind(self) -> list[str]:
        """Return what lies among the incoming."""
        return [path.name for path in (self.models / ".incoming").glob("*")]
