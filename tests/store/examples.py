"""Rows to test with, and waiting for a condition."""

import json
import time
from collections.abc import Callable
from typing import Any

from appliance.identifiers import new_id
from appliance.store.keys import StoredKey
from appliance.store.models import Version
from appliance.store.predictions import Prediction

NOON = 1_790_000_000.0


def a_prediction(**changes: Any) -> Prediction:
    fields: dict[str, Any] = {
        "id": new_id(),
        "received_seconds": NOON,
        "model": "vehicle-type",
        "version": 1,
        "task": "image-classification",
        "key_id": "k1",
        "key_name": "gate",
        "label": "truck",
        "confidence": 0.9,
        "content_type": "image/jpeg",
        "input_bytes": 1234,
        "result": json.dumps({"predictions": [{"label": "truck"}]}).encode(),
        "duration_ms": 1.5,
        "request_id": "r1",
        **changes,
    }
    return Prediction(**fields)


def a_key(key_id: str = "k1", **changes: Any) -> StoredKey:
    fields: dict[str, Any] = {
        "id": key_id,
        "name": "gate",
        "role": "device",
        "secret_sha256": bytes(32),
        "created_seconds": NOON,
        **changes,
    }
    return StoredKey(**fields)


def a_version(version: int = 1, **changes: Any) -> Version:
    fields: dict[str, Any] = {
        "name": "vehicle-type",
        "version": version,
        "state": "ready",
        "sha256": "0" * 64,
        "size_bytes": 1000,
        "created_seconds": NOON,
        **changes,
    }
    return Version(**fields)


def wait_until(is_so: Callable[[], bool], *, within_seconds: float = 15.0) -> None:
    """Poll a condition; the time is a guard against hanging, not an expectation."""
    deadline = time.monotonic() + within_seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError("the condition did not come true")
        time.sleep(0.01)
