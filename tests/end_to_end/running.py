"""One real appliance in a process of its own, and the few verbs tests need of it."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from appliance.host.confinement import die_with_parent

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
#: Only a hang takes as long; nothing is ever asserted to be quicker than this.
HANG_SECONDS = 60.0
#: Stands for the key of the appliance's admin.
ADMIN = "the admin's"
#: No test means to meet a rate limit unless it says so.
GENEROUS = {
    "APPLIANCE_HTTP__HOST": "127.0.0.1",
    "APPLIANCE_HTTP__PORT": "0",
    "APPLIANCE_MODELS__STARTER": "false",
    "APPLIANCE_STATE__RESERVE_BYTES": "1048576",
    "APPLIANCE_ACCESS__REQUESTS_PER_SECOND": "1000000",
    "APPLIANCE_ACCESS__BURST": "1000000",
    "APPLIANCE_ACCESS__ANONYMOUS_REQUESTS_PER_SECOND": "1000000",
    "APPLIANCE_ACCESS__ANONYMOUS_BURST": "1000000",
    "APPLIANCE_ACCESS__FAILED_KEYS_PER_SECOND": "1000000",
    "APPLIANCE_ACCESS__FAILED_KEYS_BURST": "1000000",
}


@dataclass(frozen=True)
class Answer:
    """A whole response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The slug of the problem this is, after checking that it is a whole one."""
        assert self.headers["content-type"] == "application/problem+json", self
        document = self.json()
        assert document["status"] == self.status
        assert document["detail"]
        assert document["request_id"] == self.headers["x-request-id"]
        slug: str = document["type"].removeprefix("/problems/")
        return slug


@dataclass
class Running:
    """A started appliance. The test that holds it ends it."""

    state: Path
    process: "subprocess.Popen[bytes]"
    output: Path
    log_from: int
    settings: Mapping[str, str]
    port: int = 0
    key: str = field(default="", repr=False)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        key: str | None = ADMIN,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = HANG_SECONDS,
    ) -> Answer:
        """Send one request as it is written; `key` is the admin's unless given, None for none."""
        sent = dict(headers or {})
        shown = self.key if key is ADMIN else key
        if shown is not None:
            sent.setdefault("X-API-Key", shown)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_seconds)
        with contextlib.closing(connection):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # A body that is refused by its head is not taken to its end.
                connection.request(method, path, body=body, headers=sent)
            return read_answer(connection)

    def raw(self, request: bytes) -> bytes:
        """Send these very bytes and return all that comes until the connection is closed."""
        with socket.create_connection(("127.0.0.1", self.port), HANG_SECONDS) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as answer:
                return answer.read()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **more: Any) -> Answer:
        return self.call("GET", path, **more)

    def post_json(self, path: str, value: Any, **more: Any) -> Answer:
        headers = {"Content-Type": "application/json", **more.pop("headers", {})}
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.call("POST", path, body, headers=headers, **more)

    def predict(
        self, body: bytes, *, model: str = "colour", content_type: str = "image/png", **more: Any
    ) -> Answer:
        headers = {"Content-Type": content_type, **more.pop("headers", {})}
        return self.call("POST", f"/api/v1/models/{model}/predict", body, headers=headers, **more)

    def new_key(self, name: str = "camera", role: str = "device", **more: Any) -> tuple[str, str]:
        """Issue a key; return its id and text."""
        answer = self.post_json("/api/v1/keys", {"name": name, "role": role, **more})
        assert answer.status == 201, answer
        issued = answer.json()
        return issued["id"], issued["key"]

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/ready", key=None).status == 200
        return False

    def reasons(self) -> list[str]:
        reasons: list[str] = self.get("/ready").json()["reasons"]
        return reasons

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.log()
            return self.is_ready() or self._has_given_up()

        wait_for(ready, "readiness", also=self.log_of_faults)
        assert self.is_ready(), self.reasons()

    def _has_given_up(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            # Without the key: a test of its limit must not find it spent by this.
            reasons = self.get("/ready", key=None).json()["reasons"]
            return any(" is failed" in reason for reason in reasons)
        return False

    def host_process_id(self, model: str = "colour") -> int | None:
        """The process that runs the model's active version now; None while there is none."""
        for found in self.get("/health").json()["models"]:
            if found["model"] == model and found["is_active"]:
                process_id: int | None = found["process_id"]
                return process_id
        return None

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels; 0 without any."""
        total = 0.0
        for line in self.get("/metrics").body.decode().splitlines():
            match = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            if match and all(f'{k}="{v}"' in (match[1] or "") for k, v in labels.items()):
                total += float(match[2])
        return total

    def log(self) -> str:
        """What this process wrote, without that of its predecessors on the same state."""
        return self.output.read_bytes()[self.log_from :].decode(errors="replace")

    def log_of_faults(self) -> str:
        """The log without the answers to those who ask whether it is ready."""
        lines = self.log().splitlines()
        return "\n".join(line for line in lines if '"path":"/ready"' not in line)

    def command(self, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run the command line with this appliance's settings, and `more` of them."""
        return command(*words, settings={**self.settings, **more})

    def stop(self) -> int:
        """Ask it to end; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(HANG_SECONDS)

    def kill(self) -> None:
        """End it as a power cut would, hosts and all."""
        self.process.kill()
        self.process.wait(HANG_SECONDS)


def read_answer(connection: http.client.HTTPConnection) -> Answer:
    """Read the response that is due on a connection."""
    response = connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def wait_for(condition: Callable[[], T], what: str, *, also: Callable[[], str] = str) -> T:
    """Ask until the answer is true and return it; fail after a time that only a hang takes."""
    deadline = time.monotonic() + HANG_SECONDS
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come within {HANG_SECONDS:g} s\n{also()}")


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: ours without any setting of the caller's own appliance."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("APPLIANCE_")}
    return {**kept, **settings}


def command(
    *words: str, settings: Mapping[str, str], timeout_seconds: float = 2 * HANG_SECONDS
) -> "subprocess.CompletedProcess[str]":
    """Run `appliance …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "appliance", *words],
        env=environment(settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


def launch(state: Path, settings: Mapping[str, str], **more: Any) -> Running:
    """Start `appliance serve` without waiting for anything."""
    settings = {**GENEROUS, "APPLIANCE_STATE__DIR": str(state), **settings}
    output = state.parent / f"{state.name}.log"
    with output.open("ab") as sink:
        log_from = sink.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "serve"],
            env=environment(settings),
            cwd=ROOT,
            stdout=sink,
            stderr=sink,
            preexec_fn=die_with_parent,  # tests that are killed leave nothing running
            **more,
        )
    return Running(
        state=state, process=process, output=output, log_from=log_from, settings=settings
    )


def start(
    state: Path, settings: Mapping[str, str], *, is_ready_awaited: bool = True, **more: Any
) -> Running:
    """Start an appliance and wait until it listens and, unless told otherwise, is ready."""
    running = launch(state, settings, **more)

    def port() -> "re.Match[str] | None":
        assert running.process.poll() is None, running.log()
        return re.search(r"http://127\.0\.0\.1:(\d+)", running.log())

    try:
        running.port = int(wait_for(port, "a listener", also=running.log)[1])
        running.key = (state / "admin-key").read_text().strip()
        if is_ready_awaited:
            running.wait_until_ready()
    except BaseException:
        running.kill()
        raise
    return running


@contextlib.contextmanager
def ended(running: Running) -> Iterator[Running]:
    """Yield the appliance and make sure that it is gone afterwards."""
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.kill()
