"""Tiny models in other formats, written byte by byte: each answers the mean of every channel."""

import struct
import zipfile
from collections.abc import Mapping
from io import BytesIO

FLOAT = 1


def varint(value: int) -> bytes:
    """Encode a number as protobuf does."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes | str) -> bytes:
    """Encode one protobuf field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def zipped(files: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a ZIP archive of these files."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def onnx_tensor(name: str, values: list[float], *, external: str = "") -> bytes:
    """Return a TensorProto, with its values inside or, as it says, in another file."""
    head = field(1, len(values)) + field(2, FLOAT) + field(8, name)
    if not external:
        return head + field(9, struct.pack(f"<{len(values)}f", *values))
    location = field(13, field(1, "location") + field(2, external))
    return head + location + field(14, 1)


def onnx_model(
    *,
    size: int = 8,
    factor: float = 10.0,
    metadata: Mapping[str, str] | None = None,
    external: str = "",
    classes: int = 3,
    operation: str = "Mul",
) -> bytes:
    """Return an ONNX model f32[1, classes, size, size] `image` → f32[1, classes] `colour`."""

    def tensor(name: str, *sizes: int) -> bytes:
        shape = b"".join(field(1, field(1, each)) for each in sizes)
        return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, shape)))

    def node(kind: str, inputs: list[str], output: str) -> bytes:
        names = b"".join(field(1, each) for each in inputs)
        return field(1, names + field(2, output) + field(3, output) + field(4, kind))

    graph = (
        node("GlobalAveragePool", ["image"], "pooled")
        + node("Flatten", ["pooled"], "flat")
        + node(operation, ["flat", "factor"], "colour")
        + field(2, "tiny")
        + field(5, onnx_tensor("factor", [factor], external=external))
        + field(11, tensor("image", 1, classes, size, size))
        + field(12, tensor("colour", 1, classes))
    )
    words = b"".join(
        field(14, field(1, key) + field(2, value)) for key, value in (metadata or {}).items()
    )
    return field(1, 8) + field(2, "tests") + field(7, graph) + field(8, field(2, 13)) + words


def tensorflow_graph(*, size: int = 8) -> bytes:
    """Return a GraphDef f32[1, size, size, 3] `image` → f32[1, 3] `colour`."""

    def attribute(name: str, value: bytes) -> bytes:
        return field(5, field(1, name) + field(2, value))

    def node(name: str, kind: str, inputs: tuple[str, ...], *attributes: bytes) -> bytes:
        names = b"".join(field(3, each) for each in inputs)
        return field(1, field(1, name) + field(2, kind) + names + b"".join(attributes))

    floats, integers = field(6, 1), field(6, 3)
    shape = b"".join(field(2, field(1, each)) for each in (1, size, size, 3))
    axes = field(1, 3) + field(2, field(2, field(1, 2))) + field(4, struct.pack("<2i", 1, 2))
    return (
        node(
            "image",
            "Placeholder",
            (),
            attribute("dtype", floats),
            attribute("shape", field(7, shape)),
        )
        + node(
            "axes", "Const", (), attribute("dtype", integers), attribute("value", field(8, axes))
        )
        + node(
            "colour",
            "Mean",
            ("image", "axes"),
            attribute("T", floats),
            attribute("Tidx", integers),
            attribute("keep_dims", field(5, 0)),
        )
    )


def saved_model() -> bytes:
    """Return the saved_model.pb around the same graph."""

    def end(name: str) -> bytes:
        return field(1, name) + field(2, field(1, f"{name}:0") + field(2, 1))

    signature = field(1, end("image")) + field(2, end("colour"))
    named = field(1, "serving_default") + field(
        2, signature + field(3, "tensorflow/serving/predict")
    )
    meta = field(1, field(4, "serve")) + field(2, tensorflow_graph()) + field(5, named)
    return field(1, 1) + field(2, meta)


def paddle_model(*, version: int = 2_000_000) -> bytes:
    """Return a Paddle program f32[1, 3, 8, 8] `image` → f32[1, 3] `colour`; it has no weights."""

    def variable(name: str, kind: int, sizes: tuple[int, ...] = ()) -> bytes:
        held = b""
        if sizes:
            dims = b"".join(field(2, each) for each in sizes)
            held = field(3, field(1, field(1, 5) + dims))
        return field(3, field(1, name) + field(2, field(1, kind) + held))

    def ends(number: int, parameter: str, argument: str) -> bytes:
        return field(number, field(1, parameter) + field(2, argument))

    def operation(kind: str, source: str, target: str, *attributes: bytes) -> bytes:
        named = b"".join(field(4, each) for each in attributes)
        return field(4, ends(1, "X", source) + ends(2, "Out", target) + field(3, kind) + named)

    def integer(name: str, value: int) -> bytes:
        return field(1, name) + field(2, 0) + field(3, value)

    def boolean(name: str, value: int) -> bytes:
        return field(1, name) + field(2, 6) + field(10, value)

    axes = field(1, "dim") + field(2, 3) + field(6, 2) + field(6, 3)
    block = (
        field(1, 0)
        + field(2, 0)
        + variable("feed", 9)
        + variable("fetch", 10)
        + variable("image", 7, (1, 3, 8, 8))
        + variable("colour", 7, (1, 3))
        + operation("feed", "feed", "image", integer("col", 0))
        + operation(
            "reduce_mean",
            "image",
            "colour",
            axes,
            boolean("keep_dim", 0),
            boolean("reduce_all", 0),
        )
        + operation("fetch", "colour", "fetch", integer("col", 0))
    )
    return field(1, block) + field(4, field(1, version))
