"""Requests that two readers may understand differently: cases 34, 35, 109 and 110 of the
catalogue, against the whole product."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import ROOT, Running, wait_for

HOST = b"Host: localhost\r\n"
NEXT = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
STRACE = shutil.which("strace")


@pytest.mark.parametrize(
    "head",
    [
        HOST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
        HOST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
        HOST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
        HOST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
        HOST + b"Content-Length: 5, 5\r\n\r\nhello",
        HOST + b"Content-Length: +5\r\n\r\nhello",
        HOST + b"Content-Length: 0x5\r\n\r\nhello",
        HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HOST + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        HOST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        HOST + CHUNKED + b"\r\n0\n\r\n",
        HOST + CHUNKED + b"\r\n-1\r\n\r\n",
        HOST + CHUNKED + b"\r\n1;a\rb\r\nx\r\n0\r\n\r\n",
        HOST + b"X-A: a\r\n b\r\n\r\n",
        HOST + b"X-A: a\rb\r\n\r\n",
        HOST + b"X-A: a\x00b\r\n\r\n",
        HOST.replace(b"\r\n", b"\n") + b"\n",
        HOST + HOST + b"\r\n",
        b"\r\n",
    ],
)
def test_c110_a_request_behind_an_ambiguous_one_never_runs(
    appliance: Running, head: bytes
) -> None:
    served = appliance.metric("inference_appliance_requests_total", route="/live")
    answer = appliance.raw(b"POST /live HTTP/1.1\r\n" + head + NEXT)
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 501"), answer
    assert re.findall(rb"^HTTP/1\.1 ", answer, re.MULTILINE) == [b"HTTP/1.1 "]
    assert b"\r\nConnection: close\r\n" in answer
    assert appliance.metric("inference_appliance_requests_total", route="/live") == served


@pytest.mark.parametrize("more", [b"X-A: " + b"a" * 300_000, b"\r\n".join([b"X-A: a"] * 5000)])
def test_c34_large_heads_are_refused(appliance: Running, more: bytes) -> None:
    answer = appliance.raw(b"GET /live HTTP/1.1\r\n" + HOST + more + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_c35_nobody_is_told_to_go_on_with_a_body_that_is_too_large(appliance: Running) -> None:
    head = (
        f"POST /api/v1/models/colour/predict HTTP/1.1\r\nHost: localhost\r\n"
        f"X-API-Key: {appliance.key}\r\nContent-Length: 999999999999\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    answer = appliance.raw(head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer


#: Where a running front may open files: the machine's own accounts of itself, and the program.
_PLACES = ("/proc/", "/sys/", "/dev/", sys.prefix, sys.base_prefix, str(ROOT / "appliance"))
_NAMES = [
    *("../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%252e%252e%252fetc%252fpasswd"),
    *("..%5c..%5cetc%5cpasswd", "%2fetc%2fpasswd", "a%00b", "%ef%bc%8e%ef%bc%8e%ef%bc%8fetc"),
]
_TEMPLATES = [
    "/api/v1/models/{}",
    "/api/v1/models/{}/versions/1",
    "/api/v1/models/colour/versions/{}",
    "/api/v1/predictions/{}",
    "/api/v1/jobs/{}",
    "/api/v1/jobs/{}/result/{}",
    "/api/v1/backups/{}",
    "/api/v1/streams/{}",
    "/docs/{}",
    "/problems/{}",
    "/v2/models/{}/config",
    "/v1/models/{}/metadata",
]


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_c109_no_name_opens_a_file_outside_of_the_state(
    start_one: Start, short_path: Path
) -> None:
    assert STRACE is not None
    appliance = start_one(HISTORY__ENABLED="false")
    trace = short_path / "trace"
    command = [STRACE, "-f", "-qq", "-s", "4096", "-o", str(trace), "-e", "trace=%file"]
    with subprocess.Popen([*command, "-p", str(appliance.process.pid)]) as tracer:
        status = Path(f"/proc/{appliance.process.pid}/status")
        wait_for(lambda: "TracerPid:\t0" not in status.read_text(), "the tracer")
        for template in _TEMPLATES:
            for name in _NAMES:
                answer = appliance.get(template.replace("{}", name))
                assert answer.status in (400, 404, 405, 422), (template, name, answer)
        tracer.send_signal(signal.SIGTERM)
    assert appliance.get("/live").status == 200
    touched = set(re.findall(r'(?:AT_FDCWD, |\()"([^"]*)"', trace.read_text()))
    allowed = (str(appliance.state), *_PLACES)
    assert [path for path in sorted(touched) if not path.startswith(allowed)] == []
    assert not [path for path in touched if "passwd" in path or ".." in path]
