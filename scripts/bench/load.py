"""Load over loopback: wrk where it is installed, as it costs little, else our own threads."""

import http.client
import re
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles

_LUA = """\
local files = {%(files)s}
local bodies = {}
for i, name in ipairs(files) do
  local f = io.open(name, "rb"); bodies[i] = f:read("*a"); f:close()
end
local requests = {}
local at = 0
-- Put together once: to do so for each request would cost the generator, whose time counts too,
-- 0.2 ms for a tensor of 600 kB.
init = function(args)
  for i, body in ipairs(bodies) do
    requests[i] = wrk.format("POST", nil, {%(headers)s}, body)
  end
end
request = function()
  at = at %% #requests + 1
  return requests[at]
end
done = function(summary, latency, requests)
  io.write(string.format("RESULT %%d %%d %%d %%d %%f %%f %%f\\n",
    summary.requests, summary.duration,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.mean))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run of the load found; latencies of all answers, in milliseconds."""

    generator: str
    connections: int
    requests_per_second: float
    good_per_second: float
    refused: int
    broken: int
    p50_ms: float
    p99_ms: float
    mean_ms: float

    def plain(self) -> dict[str, object]:
        """Return the run as plain values, rounded."""
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class _Plan:
    """Where to send what, how much at once and how long."""

    port: int
    path: str
    bodies: list[bytes]
    headers: dict[str, str]
    connections: int
    seconds: float


def drive(
    port: int,
    path: str,
    bodies: list[bytes],
    headers: dict[str, str],
    *,
    connections: int,
    seconds: float,
) -> Load:
    """Given where to send and what, keep `connections` busy so long and return what came back."""
    plan = _Plan(port, path, bodies, headers, connections, seconds)
    return _wrk(plan) if shutil.which("wrk") else _threads(plan)


def _wrk(plan: _Plan) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        script = _script(Path(folder), plan)
        options = [
            "-t1",
            f"-c{plan.connections}",
            f"-d{max(1, round(plan.seconds))}s",
            "--timeout",
            "30s",
        ]
        done = subprocess.run(
            ["wrk", *options, "-s", script, f"http://127.0.0.1:{plan.port}{plan.path}"],
            capture_output=True,
            text=True,
            check=True,
        )
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)", done.stdout)
    if found is None:
        raise RuntimeError(f"wrk said nothing that is understood: {done.stdout} {done.stderr}")
    requests, microseconds, refused, broken = (int(found[index]) for index in range(1, 5))
    p50, p99, mean = (float(found[index]) / 1000 for index in range(5, 8))
    return Load(
        generator="wrk",
        connections=plan.connections,
        requests_per_second=requests / (microseconds / 1e6),
        good_per_second=(requests - refused) / (microseconds / 1e6),
        refused=refused,
        broken=broken,
        p50_ms=p50,
        p99_ms=p99,
        mean_ms=mean,
    )


def _script(folder: Path, plan: _Plan) -> Path:
    files = []
    for number, body in enumerate(plan.bodies):
        file = folder / f"{number}.bin"
        file.write_bytes(body)
        files.append(f'"{file}"')
    script = folder / "load.lua"
    pairs = ", ".join(f'["{name}"] = "{value}"' for name, value in plan.headers.items())
    script.write_text(_LUA % {"files": ", ".join(files), "headers": pairs})
    return script


def _threads(plan: _Plan) -> Load:
    times: list[float] = []
    refused: list[int] = []
    deadline = time.monotonic() + plan.seconds
    threads = [
        threading.Thread(target=_send_until, args=(plan, deadline, number, times, refused))
        for number in range(plan.connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cuts = quantiles(times, n=100)
    return Load(
        generator="threads",
        connections=plan.connections,
        requests_per_second=len(times) / plan.seconds,
        good_per_second=(len(times) - len(refused)) / plan.seconds,
        refused=len(refused),
        broken=0,
        p50_ms=cuts[49],
        p99_ms=cuts[98],
        mean_ms=sum(times) / len(times),
    )


def _send_until(
    plan: _Plan, deadline: float, number: int, times: list[float], refused: list[int]
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", plan.port, timeout=30)
    while time.monotonic() < deadline:
        started = time.perf_counter()
        body = plan.bodies[number % len(plan.bodies)]
        connection.request("POST", plan.path, body, plan.headers)
        answer = connection.getresponse()
        answer.read()
        times.append((time.perf_counter() - started) * 1000)
        if answer.status != 200:
            refused.append(answer.status)
        number += 1
