"""What a model's own file says of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.host.embedded_description import model_info_in
from appliance.host.openvino_import import ov


@pytest.fixture
def model() -> Any:
    ops = ov.opset13
    given = ops.parameter([1, 3], np.float32, name="a")
    return ov.Model([ops.relu(given)], [given], "m")


def test_a_model_that_says_nothing_has_none(model: Any) -> None:
    assert model_info_in(model) == {}


def test_what_was_exported_is_read_back_as_text(model: Any, tmp_path: Path) -> None:
    told = {
        "model_type": "SSD",
        "labels": "a b",
        "mean_values": [1.0, 2.0],
        "reverse_input_channels": True,
    }
    for name, value in told.items():
        model.set_rt_info(value, ["model_info", name])
    ov.save_model(model, tmp_path / "m.xml")
    found = model_info_in(ov.Core().read_model(tmp_path / "m.xml"))
    assert found["model_type"] == "SSD"
    assert found["labels"] == "a b"
    assert [float(one) for one in found["mean_values"].split()] == [1.0, 2.0]
    assert found["reverse_input_channels"] in ("YES", "True")


def test_model_info_that_is_no_table_is_left_out(model: Any) -> None:
    model.set_rt_info("flat", ["model_info"])
    assert model_info_in(model) == {}
