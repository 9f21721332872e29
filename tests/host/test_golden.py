import json
import re
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import InvalidInput, ModelInvalid
from appliance.host.golden import Check, Sample, failure, read_samples, run_sample
from appliance.tasks.contract import Payload

RESULT = {"predictions": [{"label": "red", "confidence": 0.9, "a/b": {"~": None}}], "n": 3}


def sample(*checks: Check) -> Sample:
    return Sample(input="a.png", content_type="image/png", checks=checks)


@pytest.mark.parametrize(
    "check",
    [
        Check(pointer="/predictions/0/label", equals="red"),
        Check(pointer="/predictions/0/confidence", equals=0.905, tolerance=0.01),
        Check(pointer="/predictions/0/confidence", equals=0.9),
        Check(pointer="/predictions/0/a~1b/~0", equals=None),
        Check(pointer="/n", equals=3),
        Check(pointer="/n", equals=4, tolerance=1),
        Check(pointer="", equals=RESULT),
    ],
)
def test_what_is_as_expected_passes(check: Check) -> None:
    assert failure(sample(check), RESULT) is None


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (Check(pointer="/predictions/0/label", equals="blue"), "expected 'blue' at.*got 'red'"),
        (Check(pointer="/predictions/0/confidence", equals=0.8, tolerance=0.05), "0.8 ± 0.05"),
        (Check(pointer="/predictions/1/label", equals="red"), "got None"),
        (Check(pointer="/predictions/x", equals=1), "got None"),
        (Check(pointer="/n/deeper", equals=1), "got None"),
        (Check(pointer="/predictions/0/label", equals=1.0), "got 'red'"),
    ],
)
def test_what_differs_is_told(check: Check, words: str) -> None:
    assert re.search(words, failure(sample(check), RESULT) or "")


def test_not_a_number_equals_nothing() -> None:
    check = Check(pointer="/n", equals=0.5, tolerance=100)
    assert failure(sample(check), {"n": float("nan")})


def test_a_sample_that_passes_raises_nothing_and_one_that_fails_says_why() -> None:
    payload = Payload(b"x", "image/png")
    check = Check(pointer="/n", equals=3)
    run_sample(sample(check), payload, lambda params, body: RESULT)
    with pytest.raises(ModelInvalid, match=r"does not answer as it should: .*expected 4"):
        run_sample(sample(Check(pointer="/n", equals=4)), payload, lambda params, body: RESULT)


def test_a_sample_the_model_refuses_fails_with_its_words() -> None:
    def refuse(params: Any, payload: Any) -> Any:
        raise InvalidInput("The picture is broken.")

    with pytest.raises(ModelInvalid, match=r"golden sample a\.png: The picture is broken\.$"):
        run_sample(sample(), Payload(b"x", ""), refuse)


def write(directory: Path, document: object) -> None:
    golden = directory / "golden"
    golden.mkdir(exist_ok=True)
    (golden / "samples.json").write_text(json.dumps(document))
    (golden / "a.png").write_bytes(b"bytes")


def test_samples_come_with_their_inputs(tmp_path: Path) -> None:
    assert read_samples(tmp_path) == ()
    write(tmp_path, {"samples": [{"input": "a.png", "content_type": "image/png"}]})
    ((found, payload),) = read_samples(tmp_path)
    assert found.input == "a.png"
    assert (payload.body, payload.content_type) == (b"bytes", "image/png")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"samples": [{"input": "b.png", "content_type": ""}]}, "cannot be read: No such file"),
        ({"samples": [{"input": "../a", "content_type": ""}]}, "must lie beside"),
        ({"samples": [{"input": "/etc/passwd", "content_type": ""}]}, "must lie beside"),
        ({"samples": [{"input": "..", "content_type": ""}]}, "cannot be read: Is a directory"),
        ({"samples": [{"inputs": "a"}]}, "not valid"),
        ([1], "not valid"),
    ],
)
def test_samples_that_cannot_be_read_are_told(
    tmp_path: Path, document: object, words: str
) -> None:
    write(tmp_path, document)
    with pytest.raises(ModelInvalid, match=words):
        read_samples(tmp_path)
