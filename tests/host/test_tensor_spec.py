import subprocess
import sys

from appliance.host.tensor_spec import TensorSpec, is_batchable, shape_text, tensor_specs


def test_a_model_whose_first_sizes_are_one_or_free_takes_batches() -> None:
    inputs = [TensorSpec("x", "FP32", (1, 4)), TensorSpec("n", "INT64", (-1,))]
    assert is_batchable(inputs, [TensorSpec("y", "FP32", (1,))])


def test_a_fixed_first_size_or_a_scalar_rules_batches_out() -> None:
    fine = [TensorSpec("x", "FP32", (1, 4))]
    assert not is_batchable(fine, [TensorSpec("boxes", "FP32", (100, 5))])
    assert not is_batchable([TensorSpec("x", "FP32", ())], fine)
    assert not is_batchable([TensorSpec("x", "FP32", (8, 4))], fine)


def test_descriptions_of_the_engine_become_specifications() -> None:
    (spec,) = tensor_specs([{"name": "x", "datatype": "BYTES", "shape": [-1, 2]}])
    assert spec == TensorSpec("x", "BYTES", (-1, 2))
    assert spec.element_bytes == 0
    assert shape_text(spec.shape) == "[-1,2]"


def test_the_front_can_read_specifications_without_numpy() -> None:
    code = "import sys, appliance.host.tensor_spec; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
