"""INT8 by NNCF (Neural Network Compression Framework): the one place that touches it.

It is imported when a job needs it: that takes more than a second.
"""

import contextlib
import importlib.util
import io
import logging
import os
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from appliance.errors import ModelInvalid, NotImplementedHere
from appliance.host.network import first_words, is_picture, single_batch, with_preprocessing
from appliance.host.openvino_import import ov
from appliance.library.manifest import Manifest

if TYPE_CHECKING:
    from appliance.tasks.contract import Tensors

#: Given a compiled model, return its score from 0 to 1.
Judge = Callable[["ov.CompiledModel"], float]
#: Tasks whose networks are transformers, which NNCF treats in their own way.
_TRANSFORMER_TASKS = frozenset({"text-classification", "embedding"})


def require_nncf() -> Any:
    """Return NNCF; raise NotImplementedHere, saying what to do, where it is not installed."""
    # It would report each use to Google Analytics; this variable is its own way to switch that
    # off. Nothing about a private appliance leaves it.
    os.environ["NNCF_CI"] = "1"
    _stand_in_for_scipy()
    try:
        import nncf
    except ImportError as fault:
        raise NotImplementedHere(
            f"Making INT8 models needs NNCF, which cannot be loaded here ({fault}). Install what"
            " requirements/runtime.txt lists into the appliance's Python environment ('pip install"
            " --no-deps -r requirements/runtime.txt'), then send the job again."
        ) from None
    nncf.set_log_level(logging.ERROR)
    return nncf


def _stand_in_for_scipy() -> None:
    """Make `scipy.linalg.lstsq` importable where SciPy is not installed.

    NNCF imports that one function when it is loaded, and calls it only to compress the weights of
    language models, which nothing here does; SciPy would be 110 MB for it.
    """
    if "scipy" in sys.modules or importlib.util.find_spec("scipy") is not None:
        return
    package, linear = types.ModuleType("scipy"), types.ModuleType("scipy.linalg")

    def lstsq(a: Any, b: Any, **_: Any) -> Any:
        return np.linalg.lstsq(a, b, rcond=None)

    vars(linear)["lstsq"] = lstsq
    vars(package)["linalg"] = linear
    sys.modules["scipy"], sys.modules["scipy.linalg"] = package, linear


class Preparation:
    """Turns what a task decodes into what the model's own inputs take. Threads: one.

    The model is quantised as its file has it; colour order, mean and scale come before it.
    """

    def __init__(self, model: "ov.Model", manifest: Manifest) -> None:
        self._pictures = [one.tensor for one in manifest.inputs if is_picture(one)]
        self._request: Any = None
        if self._pictures:
            self._request = (
                ov.Core()
                .compile_model(_same_again(model, manifest, self._pictures), "CPU")
                .create_infer_request()
            )

    def __call__(self, tensors: "Tensors") -> dict[str, Any]:
        """Given the arrays of one inference by input, return them as the model takes them."""
        arrays = {name: np.asarray(array) for name, array in tensors.items()}
        if self._request is None:
            return arrays
        given = {place: arrays[name] for place, name in enumerate(self._pictures)}
        self._request.infer(given)
        for place, name in enumerate(self._pictures):
            arrays[name] = self._request.get_output_tensor(place).data.copy()
        return arrays


def _same_again(model: "ov.Model", manifest: Manifest, names: Sequence[str]) -> "ov.Model":
    """Return a model of the same picture inputs that answers with them, after preprocessing."""
    ops = ov.opset13
    fixed = single_batch(model.clone())
    inputs, outputs = [], []
    for name in names:
        port = fixed.input(name)
        entry = ops.parameter(port.get_partial_shape(), port.get_element_type())
        entry.output(0).set_names({name})
        inputs.append(entry)
        outputs.append(ops.result(entry))
    kept = tuple(one for one in manifest.inputs if one.tensor in names)
    described = Manifest(
        manifest_version=1, name=manifest.name, version=1, task=manifest.task, inputs=kept
    )
    return with_preprocessing(ov.Model(outputs, inputs, "preparation"), described)


def quantised(
    model: "ov.Model", samples: Sequence[Any], transform: Callable[[Any], Any], *, task: str
) -> "ov.Model":
    """Given a model, samples and what makes one into its inputs, return the model in INT8.

    Raise ModelInvalid when NNCF cannot.
    """
    nncf = require_nncf()
    return _tried(
        lambda: nncf.quantize(
            model,
            nncf.Dataset(samples, transform),
            subset_size=len(samples),
            **_choices(nncf, task),
        )
    )


def quantised_with_care(
    model: "ov.Model",
    samples: Sequence[Any],
    checks: Sequence[Any],
    transform: Callable[[Any], Any],
    judge: Judge,
    *,
    task: str,
    max_drop: float,
) -> "ov.Model":
    """Given the same, what to check on, a judge and the most its score may drop (0 to 1), return
    the model with so many layers left in floating point as that takes.
    """
    nncf = require_nncf()

    def validate(compiled: "ov.CompiledModel", _: Iterable[Any]) -> tuple[float, None]:
        return judge(compiled), None

    return _tried(
        lambda: nncf.quantize_with_accuracy_control(
            model,
            nncf.Dataset(samples, transform),
            nncf.Dataset(checks, transform),
            validate,
            max_drop=max_drop,
            subset_size=len(samples),
            **_choices(nncf, task),
        )
    )


def _choices(nncf: Any, task: str) -> dict[str, Any]:
    """Return how to quantise: activations asymmetric, as after SiLU and hard-swish they are."""
    kind = nncf.ModelType.TRANSFORMER if task in _TRANSFORMER_TASKS else None
    return {
        "preset": nncf.QuantizationPreset.MIXED,
        "target_device": nncf.TargetDevice.CPU,
        "model_type": kind,
    }


def _tried(work: Callable[[], "ov.Model"]) -> "ov.Model":
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # its progress bars are for a terminal
            return work()
    except RuntimeError as fault:
        raise ModelInvalid(f"NNCF cannot quantise this model: {first_words(fault)}.") from None
