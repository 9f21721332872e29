"""Open a stream of steps over a WebSocket, send a walk and print the totals, as JSON.

usage: websocket_client.py ADDRESS, with the key in WEBSOCKET_KEY; certificates are not checked
"""

import json
import math
import os
import ssl
import sys

from websockets.sync.client import connect

_RATE_HZ = 100
_SECONDS = 8
_STEPS_PER_SECOND = 1.8


def main(address: str) -> None:
    """Given where to, walk there in chunks of a second and print what was counted."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = (
        ssl.CERT_NONE
    )  # it is a self-signed one, made when ssl-cert was installed
    headers = {"X-API-Key": os.environ["WEBSOCKET_KEY"]}
    with connect(address, ssl=context, additional_headers=headers, server_hostname="x") as socket:
        greeting = json.loads(socket.recv())
        answers = []
        for number in range(_SECONDS):
            chunk = {"sequence": greeting["next_sequence"] + number, "readings": _second(number)}
            socket.send(json.dumps(chunk))
            answers.append(json.loads(socket.recv()))
        socket.send(json.dumps({"end": True}))
        answers.append(json.loads(socket.recv()))
    print(json.dumps({"greeting": greeting, "answers": answers}))


def _second(number: int) -> list[dict[str, float]]:
    """Return the readings of one second of a walk, in m/s²."""
    moments = [number + index / _RATE_HZ for index in range(_RATE_HZ)]
    phases = [math.pi * _STEPS_PER_SECOND * moment for moment in moments]
    return [
        {"ax": math.sin(phase), "ay": 0.0, "az": 9.81 + 4 * max(0.0, math.sin(2 * phase)) ** 3}
        for phase in phases
    ]


if __name__ == "__main__":
    main(sys.argv[1])
