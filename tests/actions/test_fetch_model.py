"""A model is fetched from listed hosts only, from the address that was checked, as announced."""

import hashlib
import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.actions.fetch_model import Fetcher, resolve
from appliance.config import Config
from appliance.errors import (
    ConfigInvalid,
    Forbidden,
    InvalidInput,
    ModelInvalid,
    PayloadTooLarge,
    ShuttingDown,
)
from appliance.library.incoming import Incoming

BODY = b"a model" * 1000
SUM = hashlib.sha256(BODY).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "https://127.0.0.1/secret")
            self.end_headers()
            return
        if self.path == "/none":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Site:
    """A listed host with a certificate of its own."""

    def __init__(self, directory: Path) -> None:
        self.certificate = directory / "cert.pem"
        key = directory / "key.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *("-subj", "/CN=models.test", "-addext", "subjectAltName=DNS:models.test"),
                *("-keyout", str(key), "-out", str(self.certificate)),
            ],
            check=True,
            capture_output=True,
        )
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def url(self, path: str = "/m.onnx") -> str:
        return f"https://models.test:{self.port}{path}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    try:
        site = Site(tmp_path_factory.mktemp("tls"))
    except OSError:
        pytest.skip("openssl is not here to make a certificate")
    yield site
    site.server.shutdown()
    site.server.server_close()
    site.thread.join()


def a_fetcher(
    site: Site | None = None,
    *,
    hosts: tuple[str, ...] | None = None,
    networks: tuple[str, ...] = ("127.0.0.0/8",),
    addresses: tuple[str, ...] = ("127.0.0.1",),
    most_bytes: int = 1 << 20,
) -> Fetcher:
    allowed = hosts if hosts is not None else (f"models.test:{site.port}" if site else "h",)
    settings = msgspec.structs.replace(Config().models, url_hosts=allowed, url_networks=networks)
    context = ssl.create_default_context(cafile=site.certificate) if site else None
    return Fetcher(
        settings,
        most_bytes=most_bytes,
        resolver=lambda host, port: list(addresses),
        context=context,
    )


def fetched(fetcher: Fetcher, url: str, directory: Path, *, sha256: str = SUM) -> Incoming:
    incoming = Incoming.create(directory)
    fetcher.fetch(url, incoming, sha256=sha256, stopping=threading.Event())
    return incoming


def test_a_file_is_fetched_from_a_listed_host(site: Site, tmp_path: Path) -> None:
    incoming = fetched(a_fetcher(site), site.url("/models/m.onnx?x=1"), tmp_path)
    (path,) = incoming.files.iterdir()
    assert path.name == "m.onnx"
    assert path.read_bytes() == BODY


def test_another_file_than_announced_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="announced"):
        fetched(a_fetcher(site), site.url(), tmp_path, sha256="0" * 64)


def test_redirects_are_not_followed(site: Site, tmp_path: Path) -> None:
    """C-117."""
    with pytest.raises(ModelInvalid, match="redirect"):
        fetched(a_fetcher(site), site.url("/moved"), tmp_path)


def test_what_is_not_there_and_what_is_too_large_is_said(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="404"):
        fetched(a_fetcher(site), site.url("/none"), tmp_path)
    with pytest.raises((ModelInvalid, PayloadTooLarge), match="bytes"):
        fetched(a_fetcher(site, most_bytes=100), site.url(), tmp_path)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.1.1", "::1", "fd00::1"),
        *("0.0.0.0", "::ffff:127.0.0.1", "100.64.0.1", "224.0.0.1", "fe80::1%eth0"),
        *("64:ff9b::169.254.169.254", "2002:a00:1::1", "2001:0:a00:1::1"),  # IPv4 inside IPv6
    ],
)
def test_no_address_that_is_not_public_is_connected_to(
    site: Site, tmp_path: Path, address: str
) -> None:
    """C-117: loopback, the cloud's metadata, private networks."""
    fetcher = a_fetcher(site, networks=(), addresses=(address,))
    with pytest.raises(ModelInvalid, match="not a public address"):
        fetched(fetcher, site.url(), tmp_path)


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    site: Site, tmp_path: Path
) -> None:
    """C-117: a name that answers differently the second time."""
    fetcher = a_fetcher(site, networks=(), addresses=("93.184.216.34", "127.0.0.1"))
    with pytest.raises(ModelInvalid, match=r"127\.0\.0\.1"):
        fetched(fetcher, site.url(), tmp_path)


def test_a_host_that_cannot_prove_itself_is_refused(site: Site, tmp_path: Path) -> None:
    fetcher = a_fetcher(site, hosts=(f"other.test:{site.port}",))
    with pytest.raises(ModelInvalid, match="could not be fetched"):
        fetched(fetcher, f"https://other.test:{site.port}/m", tmp_path)


def test_a_stop_interrupts(site: Site, tmp_path: Path) -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(ShuttingDown):
        a_fetcher(site).fetch(site.url(), Incoming.create(tmp_path), sha256=SUM, stopping=stopping)


@pytest.mark.parametrize(
    "url",
    [
        "http://h/m",
        "file:///etc/passwd",
        "ftp://h/m",
        "https://user:pass@h/m",
        "https:///m",
        "https://h:99999/m",
        "https://h/\r\nX: y",
        "https://[::1]/m",
        "h/m",
        "https://h/mödel",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        a_fetcher(hosts=("h", "[::1]", "::1")).check(url, sha256=SUM)


def test_hosts_must_be_listed_and_sums_announced() -> None:
    with pytest.raises(Forbidden, match=r"models\.url_hosts"):
        a_fetcher(hosts=()).check("https://h/m", sha256=SUM)
    with pytest.raises(Forbidden, match="Allowed are: h"):
        a_fetcher(hosts=("h",)).check("https://evil/m", sha256=SUM)
    with pytest.raises(Forbidden, match="h:8443"):
        a_fetcher(hosts=("h",)).check("https://h:8443/m", sha256=SUM)
    with pytest.raises(InvalidInput, match="SHA-256"):
        a_fetcher(hosts=("h",)).check("https://h/m", sha256="")
    assert a_fetcher(hosts=("H",)).check("https://h:443/m", sha256=SUM).path == "/m"


def test_a_network_that_is_none_is_a_wrong_configuration() -> None:
    with pytest.raises(ConfigInvalid):
        a_fetcher(networks=("intranet",))


def test_a_name_without_an_address_is_said(tmp_path: Path) -> None:
    def nowhere(host: str, port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    settings = msgspec.structs.replace(Config().models, url_hosts=("h",))
    fetcher = Fetcher(settings, most_bytes=10, resolver=nowhere)
    with pytest.raises(ModelInvalid, match="no address"):
        fetched(fetcher, "https://h/m", tmp_path)


def test_loopback_has_an_address() -> None:
    assert "127.0.0.1" in resolve("127.0.0.1", 443)
