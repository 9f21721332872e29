"""TensorFlow Serving's dialect in the process of a test, with toy models."""

import base64
import json
from typing import Any

import falcon.testing

from appliance.config import Limits
from appliance.web.dialects import tensorflow_serving
from appliance.web.dialects.tensor_relay import Relay
from tests.tensor_models import ALL, MOST_BATCH, InProcessEngine
from tests.web.dialects.open_inference_server import Served
from tests.web.routed import Routed

M = "/v1/models"


class Here:
    """The dialect in this process, with toy models."""

    def __init__(self) -> None:
        self.engine = InProcessEngine(*ALL)
        self.told = Served()
        relay = Relay(self.engine, Limits(tensor_batch=MOST_BATCH), self.told)
        shapes = {
            tensorflow_serving.PREFIX: tensorflow_serving.error_body,
            tensorflow_serving.CONFIG_PATH: tensorflow_serving.error_body,
        }
        self.table = tensorflow_serving.routes(self.engine, relay)
        self.routed = Routed(*self.table, dialects=shapes)

    def post(self, path: str, document: Any) -> falcon.testing.Result:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.routed.post(M + path, body)

    def refusal(self, path: str, document: Any, status: int = 400) -> str:
        """Return the text of an answer that must be the API's error."""
        answer = self.post(path, document)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert list(answer.json) == ["error"]
        return str(answer.json["error"])


def b64(octets: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(octets).decode()}
