import json

import numpy as np
import pytest

from appliance.errors import InvalidInput
from appliance.host.open_inference import answer
from tests.tensor_models import ADD, MIRROR, SCORES


def test_a_relayed_call_is_decoded_run_and_encoded() -> None:
    body = json.dumps(
        {
            "inputs": [
                {"name": "a", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]},
                {"name": "b", "shape": [1, 4], "datatype": "FP32", "data": [4, 3, 2, 1]},
            ]
        }
    ).encode()
    reply, encoded = answer(ADD, {"json_bytes": None, "request_id": "r1"}, bytearray(body))
    found = json.loads(encoded)
    assert [one["data"] for one in found["outputs"]] == [[5, 5, 5, 5], [-3, -1, 1, 3]]
    assert (found["id"], found["model_name"], found["model_version"]) == ("r1", "add", "3")
    assert (reply["json_bytes"], reply["batch"], reply["id"]) == (None, 1, "r1")
    assert len(reply["timing"]) == 3
    assert all(seconds >= 0 for seconds in reply["timing"])


def test_a_raw_call_comes_back_in_binary() -> None:
    reply, encoded = answer(
        SCORES, {"json_bytes": 0, "request_id": "r"}, np.arange(5, dtype="<f4").tobytes()
    )
    rest = encoded[reply["json_bytes"] :]
    assert np.frombuffer(rest, "<f4").tolist() == [0, 2, 4, 6, 8]


def test_every_datatype_passes_through_side_by_side_in_binary() -> None:
    inputs, parts = [], []
    for spec in MIRROR.inputs:
        data = (
            b"\x01\x00\x00\x00x" * 3 if spec.datatype == "BYTES" else bytes(3 * spec.element_bytes)
        )
        inputs.append(
            {
                "name": spec.name,
                "shape": [1, 3],
                "datatype": spec.datatype,
                "parameters": {"binary_data_size": len(data)},
            }
        )
        parts.append(data)
    text = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    reply, encoded = answer(MIRROR, {"json_bytes": len(text)}, text + b"".join(parts))
    assert encoded[reply["json_bytes"] :] == b"".join(parts)


def test_a_wrong_call_is_refused_before_the_model_runs() -> None:
    with pytest.raises(InvalidInput, match="features missing"):
        answer(SCORES, {"json_bytes": None}, b'{"inputs":[]}')
