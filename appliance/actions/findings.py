"""What the doctor looks at, and what it says of each thing."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from appliance.config import Config

OK, WARNING, FAULT = "ok", "warning", "fault"
#: It could not be looked at, or could not be decided.
UNKNOWN = "unknown"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at; `advice` says what to do about it, empty when it is fine."""

    subject: str
    level: str
    text: str
    advice: str = ""


def _says_nothing(command: Sequence[str]) -> str | None:
    return None


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What the doctor looks at: directories, answers and facts, so that tests can set them."""

    config: Config
    state: Path
    backups: Path
    cache: Path
    #: The running appliance's /health, or None when nobody answers.
    health: dict[str, object] | None
    #: When the newest backup was made (seconds since 1970 UTC), or None.
    newest_backup_seconds: float | None
    #: Given a property of the service's unit, systemd's value of it; empty without systemd.
    unit: Callable[[str], str]
    now_seconds: float
    #: Whether this user may use the admin socket; without that, silence means nothing.
    may_ask: bool = True
    #: Whether this user may see the backups.
    may_see_backups: bool = True
    #: Whether everything may be looked at.
    is_root: bool = True
    #: Given a command that only lists things, what it says; None when it is missing or refuses.
    ask: Callable[[Sequence[str]], str | None] = _says_nothing
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")
