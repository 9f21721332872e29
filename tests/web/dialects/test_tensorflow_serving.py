"""TensorFlow Serving's REST API as a whole: scope, and no body that is our fault."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.web.operation import Access, operation_of
from tests.actions.examples import a_device
from tests.tensor_models import MOST_BATCH
from tests.web.dialects.tensorflow_here import Here, M


def test_every_route_is_for_devices_and_of_this_dialect(here: Here) -> None:
    found = set()
    for route in here.table:
        for method in ("GET", "POST"):
            described = operation_of(route.resource, method, route.suffix)
            if described is not None:
                assert (described.access, described.dialect) == (
                    Access.DEVICE,
                    "tensorflow-serving",
                )
                found.add((method, route.path))
    assert len(found) == 1 + 3 * 5


def test_a_key_out_of_scope_is_refused_and_sees_nothing(here: Here) -> None:
    here.routed.caller = a_device(models=("add",))
    assert "may use only" in here.refusal("/scores:predict", {"instances": [[1] * 5]}, 403)
    assert here.routed.get(f"{M}/scores").status_code == 403
    assert list(here.routed.get("/v1/config").json) == ["add"]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["b64", "a", "features", "text"]), inner, max_size=2)
    ),
    max_leaves=12,
)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    document=st.fixed_dictionaries(
        {},
        optional={
            "instances": _VALUES,
            "inputs": _VALUES,
            "examples": _VALUES,
            "context": _VALUES,
            "signature_name": _VALUES,
        },
    ),
    model=st.sampled_from(["scores", "add", "upper", "picture", "mirror-fp16", "mirror-bool"]),
    verb=st.sampled_from(["predict", "classify", "regress"]),
)
def test_no_body_is_our_fault(here: Here, document: Any, model: str, verb: str) -> None:
    answer = here.post(f"/{model}:{verb}", document)
    assert answer.status_code in (200, 400, 413)
    assert answer.status_code == 200 or list(answer.json) == ["error"]


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(body=st.binary(max_size=200))
def test_no_bytes_are_our_fault(here: Here, body: bytes) -> None:
    for sent in (body, b'{"instances":' + body, b'{"inputs":[' + body + b"]}"):
        assert here.post("/scores:predict", sent).status_code in (200, 400)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.lists(
        st.lists(st.floats(-(2.0**90), 2.0**90, width=32), min_size=5, max_size=5),
        min_size=1,
        max_size=MOST_BATCH,
    )
)
def test_rows_and_columns_are_the_same_numbers(here: Here, rows: list[list[float]]) -> None:
    doubled = [[2 * value for value in row] for row in rows]
    assert here.post("/scores:predict", {"instances": rows}).json == {"predictions": doubled}
    assert here.post("/scores:predict", {"inputs": rows}).json == {"outputs": doubled}
