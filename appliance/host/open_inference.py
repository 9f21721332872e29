"""The Open Inference Protocol V2 on the host's side: a relayed body in, an answer's body out.

The front relays the bytes unread, because reading them takes numpy and trust.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.host.infer_request import (
    DecodePicture,
    InferRequest,
    PlacePixels,
    decode_request,
)
from appliance.host.infer_response import encode_response
from appliance.host.tensor_codec import Array
from appliance.host.tensor_gist import gist
from appliance.host.tensor_spec import TensorSpec

__all__ = [
    "DecodePicture",
    "InferRequest",
    "TensorModel",
    "TensorSpec",
    "answer",
    "decode_request",
    "encode_response",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorModel:
    """A model as tensor requests see it.

    `infer` takes an array for each input, with any batch up to `most_batch`, and returns one for
    each output; `labels` holds the class labels of an output by its name.
    """

    name: str
    version: int
    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    most_batch: int
    infer: Callable[[Mapping[str, Array]], Mapping[str, Array]]
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    decode_picture: DecodePicture | None = None
    place_pixels: PlacePixels | None = None


def answer(
    model: TensorModel, header: Mapping[str, Any], body: bytes | bytearray | memoryview
) -> tuple[dict[str, Any], bytes]:
    """Given a relayed call, run it and return the reply's header and body.

    The call's header has `json_bytes` (Inference-Header-Content-Length, or None) and `request_id`,
    the id of an answer to a client that gave none. The reply's has `json_bytes`, `batch`, `id` and
    `timing`: the seconds of decode, infer and encode; with `compare` in the call's, it has `label`
    and `confidence` too: what the answer says in a few words. Raise MalformedRequest, InvalidInput
    or PayloadTooLarge for a wrong request.
    """
    started = time.perf_counter()
    request = decode_request(
        memoryview(body),
        header.get("json_bytes"),
        model.inputs,
        model.outputs,
        most_batch=model.most_batch,
        request_id=header.get("request_id", ""),
        decode_picture=model.decode_picture,
        place_pixels=model.place_pixels,
    )
    decoded = time.perf_counter()
    arrays = model.infer(request.arrays)
    inferred = time.perf_counter()
    encoded, json_bytes = encode_response(
        request, arrays, model=model.name, version=str(model.version), labels=model.labels
    )
    ended = time.perf_counter()
    timing = (decoded - started, inferred - decoded, ended - inferred)
    gist_of = (arrays, model.labels) if header.get("compare") else None
    return reply_header(request, timing, json_bytes=json_bytes, gist_of=gist_of), encoded


def reply_header(
    request: InferRequest,
    timing: tuple[float, float, float],
    *,
    json_bytes: int | None,
    gist_of: tuple[Mapping[str, Array], Mapping[str, Sequence[str]]] | None,
) -> dict[str, Any]:
    """Given a request, the seconds its three parts took and, where the answer is to be compared,
    its arrays and labels, return the header of the reply as `answer` describes it.
    """
    reply: dict[str, Any] = {
        "json_bytes": json_bytes,
        "batch": request.batch,
        "id": request.id,
        "timing": timing,
    }
    if gist_of is not None:
        reply["label"], reply["confidence"] = gist(*gist_of)
    return reply
