"""Which Host headers this appliance answers for, so that no web page on another name can use it.

A page that points its own name at this machine (DNS rebinding) would otherwise speak to it from
the visitor's place in the network. Names are compared as text; nothing is ever resolved.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\s]+)(?::(?P<port>[0-9]{0,5}))?")
_MOST_REMEMBERED = 256


def machine_names(hostname: str | None = None) -> frozenset[str]:
    """Given a host name (default: this machine's), return what it is called on a local network."""
    full = (hostname if hostname is not None else socket.gethostname()).lower().rstrip(".")
    first = full.partition(".")[0]
    return frozenset({"localhost", full, first, f"{first}.local"}) - {"", ".local"}


class HostNames:
    """The Host headers that are answered.

    Threads: only the serving loop asks; the memory of accepted values is not locked.
    """

    def __init__(self, configured: Iterable[str], machine: frozenset[str] | None = None) -> None:
        names = [name.lower().rstrip(".") for name in configured]
        self._accepts_all = "*" in names
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*."))
        self._names = frozenset(names) | (machine_names() if machine is None else machine)
        self._remembered: set[str] = set()

    def accepts(self, authority: str) -> bool | None:
        """Given a Host value, return whether it is answered here, or None when it is malformed."""
        if authority in self._remembered:
            return True
        shape = _AUTHORITY.fullmatch(authority)
        if shape is None or int(shape["port"] or 0) > 65535:
            return None
        is_ours = self._accepts_all or self._is_ours(shape["host"].lower())
        if is_ours and len(self._remembered) < _MOST_REMEMBERED:
            self._remembered.add(authority)
        return is_ours

    def _is_ours(self, host: str) -> bool:
        name = host.rstrip(".")
        if name in self._names or name.endswith(self._suffixes or ("\x00",)):
            return True
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return False
        return True
