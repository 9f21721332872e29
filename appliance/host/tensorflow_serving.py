"""TensorFlow Serving's REST API on the host's side: a relayed body in, an answer's body out."""

import time
from collections.abc import Mapping
from typing import Any

from appliance.host import tensorflow_request, tensorflow_response
from appliance.host.infer_request import fitted_request
from appliance.host.open_inference import TensorModel, reply_header


def answer(
    model: TensorModel, header: Mapping[str, Any], body: bytes | bytearray | memoryview
) -> tuple[dict[str, Any], bytes]:
    """Given a relayed call, run it and return the reply's header and body.

    The call's header has `verb` and `request_id`; the reply's is that of the Open Inference
    Protocol (`host/open_inference.py`). Raise MalformedRequest, InvalidInput or PayloadTooLarge.
    """
    started = time.perf_counter()
    verb = header["verb"]
    asked = tensorflow_request.read(memoryview(body), verb, model.inputs)
    request = fitted_request(
        asked.wire,
        memoryview(asked.rest),
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
    encoded = tensorflow_response.write(
        verb,
        {one.name: arrays[one.name] for one in request.outputs},
        rows=_rows(request.arrays) if asked.has_rows else None,
        labels=model.labels,
    )
    ended = time.perf_counter()
    timing = (decoded - started, inferred - decoded, ended - inferred)
    gist_of = (arrays, model.labels) if header.get("compare") else None
    return reply_header(request, timing, json_bytes=None, gist_of=gist_of), encoded


def _rows(arrays: Mapping[str, Any]) -> int:
    first = next(iter(arrays.values()))
    return int(first.shape[0]) if first.ndim else 1
