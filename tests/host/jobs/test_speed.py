from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.host.jobs.contract import Cancelled
from appliance.host.jobs.speed import Contender, compiled_for, race
from appliance.host.openvino_import import ov


def compiled(kind: Any = np.float32, shape: Any = (1, 4)) -> Any:
    ops = ov.opset13
    values = ops.parameter(list(shape), kind)
    model = ov.Model([ops.add(values, ops.constant(np.ones(1, kind)))], [values], "plus one")
    return compiled_for(model, streams=1, threads=1, precision="f32")


def test_everybody_runs_in_turns_and_has_a_rate(tmp_path: Path) -> None:
    shares: list[float] = []
    contenders = [Contender(compiled(), in_flight=count) for count in (1, 2)]
    rates = race(contenders, rounds=2, seconds=0.02, report=shares.append)
    assert shares == [0.0, 0.25, 0.5, 0.75]
    for rate in rates:
        assert rate.per_second > 0
        assert 0 < rate.p50_ms <= rate.p95_ms


def test_rows_of_a_batch_count_one_by_one() -> None:
    whole = Contender(compiled(), in_flight=1, rows=1000)
    (rate,) = race([whole], rounds=1, seconds=0.02, report=lambda share: None)
    assert rate.per_second > 1000 / rate.p95_ms


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float16])
def test_inputs_of_any_kind_and_variable_size_are_filled(kind: Any) -> None:
    contender = Contender(compiled(kind, (-1, -1)), in_flight=1)
    contender.run(0.01)
    assert contender.rate().per_second > 0


def test_a_wish_to_cancel_ends_a_race() -> None:
    def report(share: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        race([Contender(compiled(), in_flight=1)], rounds=1, seconds=0.01, report=report)
