"""Which version a path of TensorFlow Serving means."""

import pytest

from tests.web.dialects.tensorflow_here import Here, M


@pytest.mark.parametrize(
    "place", ["", "/versions/3", "/versions/0", "/labels/stable", "/labels/latest"]
)
def test_a_version_may_be_named_labelled_or_nought(here: Here, place: str) -> None:
    assert here.post(f"/scores{place}:predict", {"inputs": [[1] * 5]}).status_code == 200
    assert here.routed.get(f"{M}/scores{place}").status_code == 200
    assert here.routed.get(f"{M}/scores{place}/metadata").status_code == 200


def test_an_unknown_model_version_or_label_is_not_found(here: Here) -> None:
    body = {"instances": [[1] * 5]}
    assert here.refusal("/no:predict", body, 404) == "Model with requested name is not found"
    version = here.refusal("/scores/versions/9:predict", body, 404)
    assert version == "Model with requested version is not found"
    for place in ("/versions/x", "/versions/-1", "/versions/99999999999", "/labels/canary"):
        assert "is not found" in here.refusal(f"/scores{place}:predict", body, 404)
    for path in ("/no", "/no/metadata", "/scores/versions/9", "/scores:predict:predict"):
        answer = here.routed.get(M + path)
        assert (answer.status_code, list(answer.json)) in ((404, ["error"]), (405, ["error"]))
