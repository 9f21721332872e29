"""One thread's inference request with its tensors bound once, where their shapes allow it.

OpenVINO's Python call turns every array into a tensor and binds it anew, about 0.1 ms each time
(measured with a 0.7 ms model, 2026.2): as much as the front spends on the whole request. A small
input is copied into the request's own tensor instead, and outputs are read where they always lie.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from appliance.host.openvino_import import ov

    Array = np.ndarray[Any, Any]

#: Above this, copying an input would cost more than binding it.
_MOST_COPIED_BYTES = 256 * 1024


class BoundRequest:
    """An inference request. Threads: one only, that which made it."""

    def __init__(
        self, compiled: "ov.CompiledModel", inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        self._request = compiled.create_infer_request()
        self._outputs = tuple(outputs)
        self._own_inputs: dict[str, Array] = {}
        self._own_outputs: dict[str, Array] = {}
        ports = [*compiled.inputs, *compiled.outputs]
        if all(_is_plain(port) for port in ports):
            self._own_outputs = {
                name: self._request.get_output_tensor(position).data
                for position, name in enumerate(outputs)
            }
            own = {
                name: self._request.get_input_tensor(position).data
                for position, name in enumerate(inputs)
            }
            if sum(array.nbytes for array in own.values()) <= _MOST_COPIED_BYTES:
                self._own_inputs = own

    def infer(self, arrays: "Mapping[str, Array]") -> "dict[str, Array]":
        """Given an array for each input tensor, return an array for each output tensor by name.

        Those are valid until the next call. Raise RuntimeError when the tensors do not fit.
        """
        if self._own_inputs and self._fit(arrays):
            for name, own in self._own_inputs.items():
                np.copyto(own, arrays[name])
            self._request.infer()
        else:
            results = self._request.infer(arrays, share_inputs=True, share_outputs=True)
            self._own_inputs = {}  # the request is bound to the caller's arrays from here on
            if not self._own_outputs:
                return {name: results[place] for place, name in enumerate(self._outputs)}
        return dict(self._own_outputs)

    def _fit(self, arrays: "Mapping[str, Array]") -> bool:
        return all(
            name in arrays and arrays[name].shape == own.shape and arrays[name].dtype == own.dtype
            for name, own in self._own_inputs.items()
        )


def _is_plain(port: Any) -> bool:
    """Return whether a port has one fixed shape and numbers that numpy has too."""
    kind = port.get_element_type().get_type_name()
    return bool(port.get_partial_shape().is_static) and kind not in ("string", "bf16", "boolean")
