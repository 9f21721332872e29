"""A relayed body in, an answer's body out."""

import json

from appliance.host.tensorflow_serving import answer
from tests.tensor_models import SCORES


def test_an_answer_has_what_the_front_measures_and_records() -> None:
    body = json.dumps({"instances": [[1] * 5, [2] * 5]}).encode()
    reply, encoded = answer(SCORES, {"verb": "predict", "request_id": "r1"}, body)
    assert json.loads(encoded) == {"predictions": [[2.0] * 5, [4.0] * 5]}
    assert (reply["batch"], reply["id"], reply["json_bytes"]) == (2, "r1", None)
    assert len(reply["timing"]) == 3
    assert min(reply["timing"]) >= 0
