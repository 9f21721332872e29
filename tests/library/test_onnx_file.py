"""What an ONNX file keeps elsewhere is known before anything opens it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ModelInvalid
from appliance.library.onnx_file import external_files, metadata_of
from tests.tiny_formats import field, onnx_model, onnx_tensor


def written(directory: Path, content: bytes) -> Path:
    path = directory / "model.onnx"
    path.write_bytes(content)
    return path


def test_metadata_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, onnx_model(metadata={"names": "{0: 'cat'}", "stride": "32"}))
    assert metadata_of(path) == {"names": "{0: 'cat'}", "stride": "32"}


def test_a_model_with_its_weights_inside_needs_no_other_file(tmp_path: Path) -> None:
    assert external_files(written(tmp_path, onnx_model())) == frozenset()


def test_weights_in_another_file_are_found(tmp_path: Path) -> None:
    assert external_files(written(tmp_path, onnx_model(external="w.bin"))) == {"w.bin"}


def test_weights_hidden_in_a_nodes_attribute_or_a_subgraph_are_found(tmp_path: Path) -> None:
    tensor = onnx_tensor("t", [1.0], external="/etc/passwd")
    attribute = field(5, field(5, tensor))
    nested = field(5, field(6, field(1, attribute)))
    for node in (attribute, nested):
        content = field(1, 8) + field(7, field(1, node))
        assert external_files(written(tmp_path, content)) == {"/etc/passwd"}


def test_graphs_nested_without_end_are_refused(tmp_path: Path) -> None:
    graph = b""
    for _ in range(40):
        graph = field(1, field(5, field(6, graph)))
    with pytest.raises(ModelInvalid, match="nested"):
        external_files(written(tmp_path, field(1, 8) + field(7, graph)))


@given(st.integers(0, 600), st.binary(min_size=1, max_size=4))
def test_a_damaged_file_is_read_or_refused(place: int, junk: bytes) -> None:
    import tempfile

    content = bytearray(onnx_model(external="w.bin"))
    content[place % len(content) : place % len(content) + len(junk)] = junk
    with tempfile.TemporaryDirectory() as directory:
        path = written(Path(directory), bytes(content))
        for look in (external_files, metadata_of):
            try:
                look(path)
            except ModelInvalid:
                continue
