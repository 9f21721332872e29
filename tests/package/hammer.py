"""Send predictions on new connections for a while and print how they fared, as JSON.

usage: hammer.py SECONDS THREADS PICTURE, with the key in HAMMER_KEY
"""

import http.client
import itertools
import json
import os
import sys
import threading
import time
from pathlib import Path

_TIMEOUT_SECONDS = 60.0


def main(seconds: float, threads: int, picture: bytes) -> None:
    """Given how long, how many at once and what to send, send it and print the counts."""
    until = time.monotonic() + seconds
    moments: list[tuple[float, float, str]] = []  # when it ended, how long it took, how it ended
    workers = [
        threading.Thread(target=_send_until, args=(until, picture, moments))
        for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    good = sorted(at for at, _, outcome in moments if outcome == "200")
    outcomes: dict[str, int] = {}
    for _, _, outcome in moments:
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(
        json.dumps(
            {
                "answered": len(good),
                "failed": len(moments) - len(good),
                "outcomes": outcomes,
                "longest_wait_seconds": round(max((took for _, took, _ in moments), default=0), 3),
                "gap_seconds": round(
                    max((b - a for a, b in itertools.pairwise(good)), default=0), 3
                ),
            }
        )
    )


def _send_until(until: float, picture: bytes, moments: list[tuple[float, float, str]]) -> None:
    while (began := time.monotonic()) < until:
        outcome = _outcome(picture)
        ended = time.monotonic()
        moments.append((ended, ended - began, outcome))  # list.append is atomic
        if outcome != "200":
            time.sleep(0.05)  # a refused client that tries again at once only counts refusals


def _outcome(picture: bytes) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=_TIMEOUT_SECONDS)
    headers = {"X-API-Key": os.environ["HAMMER_KEY"], "Content-Type": "image/jpeg"}
    try:
        connection.request("POST", "/api/v1/models/vehicle-type/predict", picture, headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as fault:
        return type(fault).__name__
    finally:
        connection.close()
    return str(answer.status)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).read_bytes())
