"""Reload: read the configuration again and let what can change do so while everything runs on."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from appliance.actions import audit
from appliance.actions.callers import Caller
from appliance.clock import Clock
from appliance.config import Config
from appliance.config_file import Loaded, as_toml
from appliance.config_keys import all_keys
from appliance.store.database import Database

_log = logging.getLogger(__name__)
#: What takes effect without a restart: whole sections, or single keys of them.
LIVE_SETTINGS: Mapping[str, frozenset[str] | None] = {
    "access": None,
    "metrics": None,
    "log": frozenset({"level", "requests", "lines_per_second"}),
    "history": frozenset(
        {"enabled", "required", "keep_days", "keep_rows", "full_disk_keep_days"}
        | {"keep_inputs", "keep_inputs_share", "keep_inputs_bytes", "keep_inputs_days"}
    ),
    "backup": frozenset({"daily", "weekly", "monthly"}),
}


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """Dotted names of the settings that changed in the files since they were last in force."""

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]


class Reload:
    """What is in force, and who has to be told when it changes.

    Threads: any; one reload at a time, under its lock.
    """

    def __init__(
        self, config: Config, database: Database, clock: Clock, *, read: Callable[[], Loaded]
    ) -> None:
        """Given what is in force and how to read the files again, reload when asked to."""
        self._in_force = config  # guarded by _lock
        self._database = database
        self._clock = clock
        self._read = read
        self._lock = threading.Lock()
        self._listeners: list[tuple[str, Callable[[Any], None]]] = []
        self._text_listeners: list[Callable[[str], None]] = []

    def tell(self, section: str, listener: Callable[[Any], None]) -> None:
        """Given a section's name, have a listener called with it when one of its keys changed.

        Call it while the appliance is assembled only.
        """
        self._listeners.append((section, listener))

    def tell_text(self, listener: Callable[[str], None]) -> None:
        """Have a listener called with the whole configuration as TOML after each reload."""
        self._text_listeners.append(listener)

    def reload(self, caller: Caller) -> Reloaded:
        """Given who asks, read the configuration and put into force what needs no restart.

        Raise ConfigInvalid with every fault found; then everything stays as it is.
        """
        with self._lock:
            loaded = self._read()
            wanted = loaded.config
            changed, waiting = _differences(self._in_force, wanted)
            found = Reloaded(changed=changed, needs_restart=waiting)
            if changed or waiting:
                audit.record(
                    self._database,
                    caller,
                    action="settings.reload",
                    subject="configuration",
                    detail=msgspec.to_builtins(found),
                    clock=self._clock,
                )
            self._put_into_force(wanted, changed)
            for text_listener in self._text_listeners:
                text_listener(as_toml(loaded))
        _log.info("reloaded", extra={"changed": changed, "needs_restart": waiting})
        return found

    def _put_into_force(self, wanted: Config, changed: tuple[str, ...]) -> None:
        for section in sorted({name.partition(".")[0] for name in changed}):
            values = {
                name.partition(".")[2]: _value(wanted, name)
                for name in changed
                if name.startswith(f"{section}.")
            }
            fresh = msgspec.structs.replace(getattr(self._in_force, section), **values)
            self._in_force = msgspec.structs.replace(self._in_force, **{section: fresh})
            for name, listener in self._listeners:
                if name == section:
                    listener(fresh)


def is_live(section: str, name: str) -> bool:
    """Given a setting, return whether it takes effect by a reload."""
    names = LIVE_SETTINGS.get(section, frozenset())
    return names is None or name in names


def _differences(old: Config, new: Config) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of what changed and can change now, and of what waits for a restart."""
    differing = [key for key in all_keys() if _value(old, key.dotted) != _value(new, key.dotted)]
    live = tuple(key.dotted for key in differing if is_live(key.section, key.name))
    return live, tuple(key.dotted for key in differing if key.dotted not in live)


def _value(config: Config, dotted: str) -> Any:
    section, _, name = dotted.partition(".")
    return getattr(getattr(config, section), name)
