"""States and signatures, byte for byte as they are documented."""

import pytest

from tests.web.dialects.tensorflow_here import Here, M


def test_the_state_is_the_documented_one(here: Here) -> None:
    assert here.routed.get(f"{M}/scores").text == (
        '{"model_version_status":[{"version":"3","state":"AVAILABLE",'
        '"status":{"error_code":"OK","error_message":""}}]}'
    )


@pytest.mark.parametrize(
    ("state", "told", "code"),
    [("starting", "LOADING", "OK"), ("stopped", "END", "OK"), ("failed", "END", "UNKNOWN")],
)
def test_what_does_not_answer_says_so(here: Here, state: str, told: str, code: str) -> None:
    here.engine.states["scores"] = (state, "why")
    (one,) = here.routed.get(f"{M}/scores").json["model_version_status"]
    assert (one["state"], one["status"]["error_code"]) == (told, code)


def test_metadata_is_a_signature_in_both_spellings(here: Here) -> None:
    document = here.routed.get(f"{M}/scores/metadata").json
    assert document["model_spec"] == {"name": "scores", "signature_name": "", "version": "3"}
    assert document["modelSpec"] == {"name": "scores", "signatureName": "", "version": "3"}
    signature = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    dim = [{"size": "-1", "name": ""}, {"size": "5", "name": ""}]
    assert signature["inputs"] == {
        "features": {
            "dtype": "DT_FLOAT",
            "tensor_shape": {"dim": dim, "unknown_rank": False},
            "name": "features",
        }
    }
    assert signature["method_name"] == "tensorflow/serving/predict"
    camel = document["metadata"]["signature_def"]["signatureDef"]["serving_default"]
    assert camel["outputs"]["scores"]["tensorShape"] == {"dim": dim, "unknownRank": False}


def test_metadata_of_a_model_that_never_ran_is_not_there_yet(here: Here) -> None:
    here.engine.states["scores"], here.engine.hides_tensors = ("starting", ""), True
    assert here.routed.get(f"{M}/scores/metadata").status_code == 503
