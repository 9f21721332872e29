import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.errors import ModelInvalid
from appliance.library.safetensors import TensorPlace, read_places


def write(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(kind: str = "F32", shape: tuple[int, ...] = (2,), end: int = 8) -> dict[str, object]:
    return {"dtype": kind, "shape": shape, "data_offsets": [0, end]}


def test_each_tensor_has_its_place(tmp_path: Path) -> None:
    header = {"__metadata__": {"a": "b"}, "x": entry()}
    path = write(tmp_path / "x", header, b"\0" * 8)
    length = len(json.dumps(header))
    assert read_places(path) == {"x": TensorPlace("F32", (2,), 8 + length, 8)}


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"x": entry()}, b"\0" * 7),
        ({"x": entry(end=4)}, b"\0" * 8),
        ({"x": entry(shape=(1 << 40, 1 << 40))}, b"\0" * 8),
        ({"x": entry(shape=(-2,))}, b"\0" * 8),
        ({"x": entry(kind="BOOL")}, b"\0" * 8),
        ({"x": 3}, b""),
        (b"not json", b""),
        (b"[" * 3000, b""),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    tmp_path: Path, header: object, data: bytes
) -> None:
    with pytest.raises(ModelInvalid, match=r"x.safetensors cannot be read"):
        read_places(write(tmp_path / "x.safetensors", header, data))


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"\xff" * 8, (9).to_bytes(8, "little")])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ModelInvalid, match="longer than the file"):
        read_places(tmp_path / "x.safetensors")


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=60), length=st.integers(0, 60))
def test_garbage_is_refused_or_holds_nothing(tmp_path: Path, content: bytes, length: int) -> None:
    path = write(tmp_path / "x.safetensors", content, length=length)
    with contextlib.suppress(ModelInvalid):
        assert read_places(path) == {}
