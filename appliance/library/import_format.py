"""What kind of model a file is, judged by its content; what is refused is refused in plain words.

Looked at before anything loads it: OpenVINO would try each of its front ends on any bytes.
"""

import enum
import re
from pathlib import Path

from appliance.errors import InvalidInput, ModelInvalid, UnsupportedMedia
from appliance.library.protobuf_walk import LENGTH, VARINT, Field, fields

HEAD_BYTES = 4096
_MOST_FIELDS = 4096
_CONVERT = "Convert the model to ONNX or OpenVINO IR where it was trained, and send that"


class Format(enum.StrEnum):
    """The kinds of file that are read."""

    ZIP = "zip"
    IR = "openvino-ir"
    ONNX = "onnx"
    TFLITE = "tflite"
    SAVED_MODEL = "tensorflow-saved-model"
    GRAPH = "tensorflow-graph"
    PADDLE = "paddle"

    @property
    def spelling(self) -> str:
        """How people write it."""
        return _TITLES[self.value]


_TITLES = {
    "zip": "ZIP",
    "openvino-ir": "OpenVINO",
    "onnx": "ONNX",
    "tflite": "TFLite",
    "tensorflow-saved-model": "TensorFlow",
    "tensorflow-graph": "TensorFlow",
    "paddle": "Paddle",
}


#: First bytes of what is not read: what it is and what to do instead.
_REFUSED: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "This is a Git LFS pointer, not the model itself. Run 'git lfs pull' where it came from"
        " and send the file that appears.",
    ),
    (
        b"\x89HDF\r\n\x1a\n",
        "This is a Keras or HDF5 file (.h5), which OpenVINO cannot read. Save it as a TensorFlow"
        " SavedModel (model.export), zip the folder and send that.",
    ),
    (
        b"GGUF",
        "This is a GGUF file of a language model, which is not served here.",
    ),
    (b"\x1f\x8b", "This is a gzip or tar.gz archive. Send a .zip instead: tar is not read here."),
    (b"BZh", "This is a bzip2 archive. Send a .zip instead."),
    (b"\xfd7zXZ", "This is an xz archive. Send a .zip instead."),
    (b"\x28\xb5\x2f\xfd", "This is a zstd archive. Send a .zip instead."),
    (b"7z\xbc\xaf\x27\x1c", "This is a 7z archive. Send a .zip instead."),
    (b"Rar!", "This is a RAR archive. Send a .zip instead."),
    (b"\x7fELF", "This is a program or library, not a model. Nothing in a model is ever run."),
    (b"MZ", "This is a program, not a model. Nothing in a model is ever run."),
    (
        b"ftrt",
        "This is a TensorRT engine, which runs on one kind of GPU only. Send its ONNX file.",
    ),
    (
        b"ptrt",
        "This is a TensorRT engine, which runs on one kind of GPU only. Send its ONNX file.",
    ),
    (b"\x93NUMPY", "This is a NumPy array, not a model."),
    (b"%PDF", "This is a PDF, not a model."),
    (b"\xff\xd8\xff", "This is a picture, not a model."),
    (b"\x89PNG", "This is a picture, not a model."),
    (b"#!", "This is a script, not a model. Nothing in a model is ever run."),
)
PICKLE_WORDS = (
    "This is a PyTorch or pickle file (.pt, .pth, .pkl). Loading one runs whatever program is in"
    " it, so it is never read here. Export the model to ONNX (torch.onnx.export, or 'yolo export"
    " format=onnx') and send that."
)
_SAFETENSORS_WORDS = (
    "This is a safetensors file: weights without the network they belong to. Export the model to"
    " ONNX and send that."
)
_TAR_WORDS = "This is a tar archive. Send a .zip instead: tar is not read here."
_PICKLE = re.compile(rb"\x80[\x02-\x05](?:[\x95\x8a\x8c\x63\x7d\x28\x58\x5d\x4b\x71]|$)")
_TEXT_BYTES = frozenset(range(32, 127)) | {9, 10, 13}


def recognise(path: Path, *, name: str = "") -> Format:
    """Given a file and what its sender called it, return its format.

    Raise UnsupportedMedia, with what to do instead, for what is not read here.
    """
    size = path.stat().st_size
    if size == 0:
        raise InvalidInput("The model is empty: no bytes arrived.")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    found = _by_first_bytes(head)
    if found is None:
        _refuse_known(head, size)
        found = _by_protobuf(path, size)
    if found is None:
        raise UnsupportedMedia(_unknown(head, name or path.name))
    return found


def _by_first_bytes(head: bytes) -> Format | None:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Format.ZIP
    if head[4:8] == b"TFL3":
        return Format.TFLITE
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"<?xml", b"<net", b"<!--")):
        return Format.IR
    return None


def _refuse_known(head: bytes, size: int) -> None:
    for prefix, words in _REFUSED:
        if head.startswith(prefix):
            raise UnsupportedMedia(words)
    if _PICKLE.match(head):
        raise UnsupportedMedia(PICKLE_WORDS)
    if head[257:262] == b"ustar":
        raise UnsupportedMedia(_TAR_WORDS)
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < size:
        raise UnsupportedMedia(_SAFETENSORS_WORDS)


def _by_protobuf(path: Path, size: int) -> Format | None:
    """Tell the protobuf formats apart by which fields they have; none of them has a signature.

    ONNX's ModelProto has its graph in field 7, a SavedModel its graphs in field 2 behind a
    version, a GraphDef nodes and Paddle's ProgramDesc blocks in field 1: a node begins with its
    name, a block with its number.
    """
    seen: dict[int, Field] = {}
    try:
        with path.open("rb") as file:
            for count, field in enumerate(fields(file, 0, size)):
                seen.setdefault(field.number, field)
                if count > _MOST_FIELDS:
                    break
            first = seen.get(1)
            if first is None or 7 in seen:
                return Format.ONNX if _is_message(seen.get(7)) else None
            if first.wire == VARINT:
                return Format.SAVED_MODEL if _is_message(seen.get(2)) else None
            inner = next(fields(file, first.start, first.end), None)
    except ModelInvalid:
        return None
    if inner is None or inner.number != 1:
        return None
    return Format.GRAPH if inner.wire == LENGTH else Format.PADDLE


def _is_message(field: Field | None) -> bool:
    return field is not None and field.wire == LENGTH


def _unknown(head: bytes, name: str) -> str:
    suffix = Path(name).suffix.lower()
    if suffix == ".bin":
        return (
            "This is only the weights half of an OpenVINO IR. Send its .xml and .bin together, in"
            " one .zip or as two files of one form."
        )
    if suffix in (".pdiparams", ".pdmodel") or Path(name).name == "__params__":
        return "Send a Paddle model's .pdmodel and .pdiparams together, in one .zip."
    if suffix in (".engine", ".plan", ".trt"):
        return "This is a TensorRT engine, which runs on one kind of GPU only. Send its ONNX file."
    if suffix in (".onnx", ".pb"):
        return f"This {suffix} file is cut off or damaged. Send the whole file again."
    if not set(head) - _TEXT_BYTES:
        kind = "JSON or text" if head.lstrip()[:1] in (b"{", b"[") else "text or program code"
        return f"This is {kind}, not a model. Nothing in a model is ever run. {_READ}"
    return f"This is no model that is read here, or only a part of one. {_READ}"


_READ = (
    "Read are OpenVINO IR, ONNX, TFLite, TensorFlow (SavedModel or frozen graph) and Paddle, alone"
    f" or in a .zip. {_CONVERT}."
)
