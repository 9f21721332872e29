"""The Open Inference Protocol, served once for all its tests and made new for each."""

from collections.abc import Iterator

import pytest
import tritonclient.http as triton

from appliance.actions.callers import Caller, Role
from tests.tensor_models import ALL, InProcessEngine
from tests.web.dialects.open_inference_server import Served, serving
from tests.web.dialects.tensorflow_here import Here


@pytest.fixture(scope="package")
def v2_running() -> Iterator[Served]:
    with serving() as served:
        yield served


@pytest.fixture
def v2(v2_running: Served) -> Served:
    """The server, as if just started."""
    v2_running.engine.__dict__.update(InProcessEngine(*ALL).__dict__)
    v2_running.caller = Caller(key_name="k", address="127.0.0.1", role=Role.ADMIN)
    v2_running.unrecordable = None
    v2_running.records.clear()
    v2_running.changes.clear()
    return v2_running


@pytest.fixture
def client(v2: Served) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(v2.address) as found:
        yield found


@pytest.fixture
def here() -> Here:
    """TensorFlow Serving's dialect, as if just started."""
    return Here()
