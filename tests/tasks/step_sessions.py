"""What the step tests share: made-up walks, their payloads, and sessions on the shipped model."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import openvino

from appliance.library.manifest import read_manifest
from appliance.tasks.contract import Model, Payload
from appliance.tasks.step_detection import TASK, StepParams, StepResult, StepState

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "appliance" / "starter" / "step-detector" / "1"
DATA = ROOT.parent / "shared" / "data" / "steps"


@cache
def shipped() -> tuple[Model, openvino.CompiledModel]:
    """Return the shipped model, as a task knows it and as OpenVINO runs it."""
    network = openvino.Core().read_model(SHIPPED / "model.xml")
    shapes = {
        port.get_any_name(): [size.get_length() if size.is_static else -1 for size in shape]
        for port in network.inputs
        for shape in [port.get_partial_shape()]
    }
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    compiled = openvino.Core().compile_model(network, "CPU", hints)
    return Model(read_manifest(SHIPPED), {"step": ()}, shapes), compiled


def infer(inputs: list[Any]) -> list[dict[str, np.ndarray]]:
    """Return the shipped model's answer to each request."""
    _, compiled = shipped()
    request = compiled.create_infer_request()
    return [{"probability": np.array(request.infer(tensors)["probability"])} for tensors in inputs]


class Session:
    """One session on the shipped model; its state goes through msgpack after each turn."""

    def __init__(self, **params: Any) -> None:
        self.params = StepParams(**params)
        self.model = shipped()[0]
        self.state = TASK.open(self.params, self.model)
        self.results: list[StepResult] = []

    def send(self, payload: Payload) -> StepResult:
        turn = TASK.decode(payload, self.params, self.state, self.model)
        return self._encode(turn)

    def flush(self) -> StepResult:
        return self._encode(TASK.flush(self.params, self.state, self.model))

    def _encode(self, turn: Any) -> StepResult:
        outputs = infer(turn.inputs)
        result = TASK.encode(outputs, turn, self.params, self.state, self.model)
        self.state = msgspec.msgpack.decode(msgspec.msgpack.encode(self.state), type=StepState)
        self.results.append(result)
        return result

    def joined(self) -> StepResult:
        return TASK.join(self.results)


def answer(payload: Payload, **params: Any) -> StepResult:
    """Return the answer to a plain request."""
    session = Session(**params)
    session.send(payload)
    session.flush()
    return session.joined()


def walk(
    steps: int = 20, rate_hz: float = 50.0, *, pace: float = 0.52, seed: int = 3
) -> np.ndarray:
    """Return [n, 4]: seconds and m/s² of somebody who stands 3 s, takes steps, and stands 3 s."""
    random = np.random.default_rng(seed)
    time = np.arange(int((6 + steps * pace) * rate_hz)) / rate_hz
    since = time[:, None] - (3.0 + pace * np.arange(steps))
    push = 4.0 * np.exp(-((since / 0.07) ** 2)) - 1.4 * np.exp(-(((since + 0.2) / 0.1) ** 2))
    sways = (time > 2.8) & (time < time[-1] - 3)
    sway = 0.8 * np.sin(math.pi * (time - 3.0) / pace) * sways
    signal = np.stack([sway, np.zeros_like(time), 9.81 + push.sum(axis=1)], axis=1)
    return np.column_stack([time, signal + random.normal(0, 0.05, signal.shape)])


def as_rows(table: np.ndarray) -> Payload:
    """Return readings [n, 4 or 7] as JSON objects."""
    names = ("t", "ax", "ay", "az", "gx", "gy", "gz")[: table.shape[1]]
    rows = [dict(zip(names, row, strict=True)) for row in table.tolist()]
    return Payload(json.dumps({"readings": rows}).encode(), "application/json")


def as_columns(table: np.ndarray) -> Payload:
    """Return readings [n, 4] as JSON columns."""
    columns = dict(zip(("t", "ax", "ay", "az"), table.T.tolist(), strict=True))
    return Payload(json.dumps(columns).encode(), "application/json")


def as_csv(table: np.ndarray) -> Payload:
    """Return readings [n, 4] as CSV."""
    lines = ["t,ax,ay,az", *(",".join(map(repr, row)) for row in table.tolist())]
    return Payload("\n".join(lines).encode(), "text/csv")


def as_binary(table: np.ndarray) -> Payload:
    """Return readings [n, k] as little-endian float32."""
    return Payload(table.astype("<f4").tobytes(), "application/octet-stream")
