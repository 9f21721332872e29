"""What a model's own file says of it: the `model_info` of its runtime information."""

from collections.abc import Mapping
from typing import Any

_NAME = "model_info"


def model_info_in(model: Any) -> dict[str, str]:
    """Given a model as OpenVINO read it, return its `rt_info.model_info` as texts, or nothing."""
    try:
        if not model.has_rt_info([_NAME]):
            return {}
        found = model.get_rt_info([_NAME])
        told = getattr(found, "value", found)
        if not isinstance(told, Mapping):
            return {}
        return {str(name): _text(value) for name, value in told.items()}
    except (RuntimeError, TypeError):  # a value of a kind that OpenVINO's Python does not know
        return {}


def _text(value: Any) -> str:
    plain = getattr(value, "value", value)
    if isinstance(plain, list | tuple):
        return " ".join(str(one) for one in plain)
    return str(plain)
