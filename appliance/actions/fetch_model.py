"""Fetch a model from a URL: only from hosts an admin has listed, and only what was announced.

The address is looked up once, checked and connected to, so that a name which answers differently
the second time leads nowhere else (OWASP, server-side request forgery).
"""

import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from urllib.parse import SplitResult, urlsplit

from appliance.actions.networks import networks_of
from appliance.config import Models
from appliance.errors import Forbidden, InvalidInput, ModelInvalid, ShuttingDown
from appliance.library.incoming import Incoming

_PIECE_BYTES = 1 << 20
_SECONDS = 10.0
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
#: RFC 6052: the last 32 bits are an IPv4 address.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """Given a host's name and a port, return its addresses; raise OSError when it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Fetcher:
    """Fetches models within the rules of the configuration. Threads: any; it holds no state."""

    def __init__(
        self,
        settings: Models,
        *,
        most_bytes: int,
        resolver: Resolve = resolve,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._networks = networks_of(settings.url_networks)
        self._most_bytes = most_bytes
        self._resolve = resolver
        self._context = context

    def check(self, url: str, *, sha256: str) -> SplitResult:
        """Given a URL and the file's announced SHA-256, return the URL in parts.

        Raise Forbidden or InvalidInput when it may not be fetched; nothing is connected yet.
        """
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise InvalidInput("The URL is not valid.", pointer="/url") from None
        if parts.scheme != "https" or not _HOST.fullmatch(host) or parts.username is not None:
            raise InvalidInput(
                "A model is fetched from an https:// URL without a user name only.", pointer="/url"
            )
        if not url.isascii() or not url.isprintable() or " " in url:
            raise InvalidInput("The URL holds characters that no URL has.", pointer="/url")
        if not sha256:
            raise InvalidInput(
                "Say the file's SHA-256 as well (sha256): what a URL leads to may change.",
                pointer="/sha256",
            )
        allowed = self._settings.url_hosts
        if not allowed:
            raise Forbidden(
                "Models are not fetched from URLs here. An administrator may list hosts in the"
                " configuration (models.url_hosts), or download the file and send it."
            )
        place = f"{host}:{port}" if port not in (None, 443) else host
        if place not in {one.lower() for one in allowed}:
            raise Forbidden(
                f"Models are not fetched from {place}. Allowed are: {', '.join(allowed)}"
                " (models.url_hosts)."
            )
        return parts

    def fetch(
        self, url: str, incoming: Incoming, *, sha256: str, stopping: threading.Event
    ) -> None:
        """Given a checked URL, write the file among those of the import.

        Raise ModelInvalid with the reason when it cannot be had or is another one.
        """
        parts = self.check(url, sha256=sha256)
        deadline = time.monotonic() + self._settings.import_seconds
        try:
            with self._answer(parts) as answer:
                name = PurePosixPath(parts.path).name or "model"
                pieces = self._pieces(answer, deadline, stopping)
                found = incoming.write(name, pieces, most_bytes=self._most_bytes)
        except (OSError, http.client.HTTPException) as fault:
            raise ModelInvalid(f"{parts.hostname} could not be fetched from: {fault}.") from None
        if found != sha256:
            raise ModelInvalid(
                f"What {parts.hostname} sent has the SHA-256 {found}, not the one announced."
            )

    @contextlib.contextmanager
    def _answer(self, parts: SplitResult) -> Iterator[http.client.HTTPResponse]:
        host, port = str(parts.hostname), parts.port or 443
        connection = _Pinned(host, port, self._address(host, port), self._context)
        with contextlib.closing(connection):
            target = parts.path or "/"
            connection.request(
                "GET",
                f"{target}?{parts.query}" if parts.query else target,
                headers={"Accept-Encoding": "identity", "User-Agent": "inference-appliance"},
            )
            answer = connection.getresponse()
            if 300 <= answer.status < 400:
                raise ModelInvalid(
                    f"{host} answers with a redirect, which is not followed. Give the URL it"
                    " leads to, if its host is allowed."
                )
            if answer.status != 200:
                raise ModelInvalid(f"{host} answers {answer.status} instead of the file.")
            if (answer.length or 0) > self._most_bytes:
                raise ModelInvalid(
                    f"The file has {answer.length:,} bytes; at most {self._most_bytes:,} are taken"
                    " (limits.body_bytes)."
                )
            yield answer

    def _address(self, host: str, port: int) -> str:
        """Return the address to connect to; every address of the name must be allowed."""
        try:
            addresses = self._resolve(host, port)
        except OSError as fault:
            raise ModelInvalid(f"{host} has no address: {fault.strerror or fault}.") from None
        for text in addresses:
            address = ipaddress.ip_address(text.partition("%")[0])
            if not _is_public(address) and not self._is_listed(address):
                raise ModelInvalid(
                    f"{host} leads to {address}, which is not a public address. An administrator"
                    " may allow its network (models.url_networks)."
                )
        return addresses[0]

    def _is_listed(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    @staticmethod
    def _pieces(
        answer: http.client.HTTPResponse, deadline: float, stopping: threading.Event
    ) -> Iterator[bytes]:
        while piece := answer.read1(_PIECE_BYTES):
            if time.monotonic() > deadline:
                raise ModelInvalid("The file took too long to arrive (models.import_seconds).")
            if stopping.is_set():
                raise ShuttingDown("The appliance is stopping; the file is fetched again later.")
            yield piece


class _Pinned(http.client.HTTPSConnection):
    """A connection to one address, proved to be the host's by its certificate."""

    def __init__(self, host: str, port: int, address: str, context: ssl.SSLContext | None) -> None:
        super().__init__(
            host, port, timeout=_SECONDS, context=context or ssl.create_default_context()
        )
        self._address = address
        self._tls = context or ssl.create_default_context()

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def _is_public(address: Address) -> bool:
    """Return whether an address is public; one that a translator leads on to IPv4 is that one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.teredo is not None:
            return False
        translated = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            translated = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = translated or address
    return address.is_global and not address.is_multicast
