"""One appliance under measurement: start it, ask what it costs, stop it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil


class Running:
    """`appliance serve` on a free port with a state directory of its own; a context manager."""

    def __init__(self, state: Path, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.state = state
        self._environment = {
            **os.environ,
            "APPLIANCE_HTTP__HOST": "127.0.0.1",
            "APPLIANCE_HTTP__PORT": str(self.port),
            "APPLIANCE_STATE__DIR": str(state),
            "APPLIANCE_ACCESS__REQUESTS_PER_SECOND": "1000000",
            "APPLIANCE_ACCESS__BURST": "1000000",
            **settings,
        }
        self.ready_seconds = 0.0

    def __enter__(self) -> "Running":
        started = time.perf_counter()
        with (self.state / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "appliance", "serve"], env=self._environment, stderr=log
            )
        while not self._is_ready():
            if self._process.poll() is not None:
                raise RuntimeError((self.state / "serve.log").read_text()[-2000:])
            time.sleep(0.01)
        self.ready_seconds = time.perf_counter() - started
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    @property
    def key(self) -> str:
        """The admin key."""
        return (self.state / "admin-key").read_text().strip()

    def cpu_seconds(self) -> float:
        """Return the CPU time of the whole process tree so far."""
        return sum(
            times.user + times.system
            for times in (process.cpu_times() for process in self._tree())
        )

    def memory_bytes(self) -> int:
        """Return the memory of the whole tree, shared pages counted once (PSS)."""
        return sum(process.memory_full_info().pss for process in self._tree())

    def _tree(self) -> list[psutil.Process]:
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/ready", timeout=5
            ) as answer:
                return bool(json.load(answer)["ready"])
        except (urllib.error.URLError, ConnectionError):
            return False
