"""Weights that lie in a file as small integers, made numbers again before a model is compiled.

Left as they are, OpenVINO's CPU plugin (2026.4.1) turns them into numbers while it compiles, in
each stream at once and into memory that the streams share. With two or more streams the model then
answers nonsense after some compilations and rightly after others: a YOLOX-nano whose TFLite file
has 71 such weights, after two of three.
"""

from typing import Any

from appliance.host.openvino_import import ConstantFolding, Manager, ov

_SMALL_BITS = 8


def with_plain_weights(model: "ov.Model") -> "ov.Model":
    """Given a model as its file has it, return it with its small weights as the numbers they mean.

    A model whose activations are quantised too is left alone: it computes with its integers.
    """
    operations = model.get_ops()
    if any(map(_is_small_weight, operations)) and not any(map(_quantises, operations)):
        passes = Manager()
        passes.register_pass(ConstantFolding())
        passes.run_passes(model)
    return model


def _is_small_weight(operation: Any) -> bool:
    if operation.get_type_name() != "Convert" or not operation.get_element_type().is_real():
        return False
    source = operation.input_value(0).get_node()
    kind = source.get_element_type()
    return bool(source.get_type_name() == "Constant" and kind.get_bitwidth() <= _SMALL_BITS)


def _quantises(operation: Any) -> bool:
    return bool(operation.get_type_name() == "FakeQuantize")
