"""The manifest of a model version: everything the weights do not say about themselves."""

import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.errors import ModelInvalid
from appliance.library.checksums import version_words
from appliance.plain_text import require_plain

# Python's `$` also matches before a last newline; JSON Schema's does not.
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$(?!\n)")]


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One input tensor; `mean` and `scale` are per channel: (value - mean) / scale."""

    tensor: str
    layout: str = ""
    color_order: Literal["RGB", "BGR", "GRAY"] = "RGB"
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    resize: Literal["stretch", "letterbox", "crop"] = "stretch"
    pad_value: Annotated[int, Meta(ge=0, le=255)] = 114
    #: Where a letterbox holds the picture: YOLOX wants it in the corner, others in the middle.
    pad_position: Literal["center", "top-left"] = "center"

    def __post_init__(self) -> None:
        """Raise ValueError when mean or scale cannot be meant."""
        channels = 1 if self.color_order == "GRAY" else 3
        for name, values in (("mean", self.mean), ("scale", self.scale)):
            if len(values) not in (0, 1, channels):
                raise ValueError(f"{name} needs 1 or {channels} values, not {len(values)}")
            if not all(map(math.isfinite, values)):
                raise ValueError(f"{name} must be finite numbers")
        if 0 in self.scale:
            raise ValueError("scale must not be 0: values are divided by it")


#: What `decoder` of a detector's first output may say; `tasks/detection_decoders.py` has each.
DETECTION_DECODERS = ("yolox", "yolov5", "yolov8", "yolov8-nms", "ssd", "detr", "rtdetr", "geti")


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One output tensor, which is one head of the model."""

    tensor: str
    head: str = ""
    labels: str = ""
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    decoder: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for names that hide something: answers and pictures show them."""
        require_plain(self.head, "head")
        require_plain(self.tensor, "tensor")


class Tokenizer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a text model's texts become tokens: by a `tokenizer.json` beside the manifest."""

    file: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*[.]json$(?!\n)")] = (
        "tokenizer.json"
    )
    #: What is longer is cut there, special tokens included, and the answer says so.
    max_tokens: Annotated[int, Meta(ge=4, le=8192)] = 256


class Batching(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether several requests may share one inference."""

    most: Annotated[int, Meta(ge=1, le=1024)] = 1


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`manifest.toml`, whole."""

    manifest_version: Literal[1]
    name: Name
    version: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    task: str
    title: str = ""
    description: str = ""
    license: str = ""
    credit: str = ""
    precision: Literal["f32", "f16", "bf16", "auto"] = "f32"
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    tokenizer: Tokenizer | None = None
    batching: Batching = Batching()
    settings: dict[str, Any] = {}

    def __post_init__(self) -> None:
        """Raise ValueError for words that hide something: lists and logs show them."""
        for name in ("title", "license", "credit", "description"):
            require_plain(getattr(self, name), name, has_lines=name == "description")

    def heads(self) -> tuple[str, ...]:
        """Return the name of each output's head: its own, or that of its tensor."""
        return tuple(output.head or output.tensor for output in self.outputs)


def read_manifest(directory: Path) -> Manifest:
    """Given a version's directory, return its manifest.

    Raise ModelInvalid when there is none, it cannot be read or it is wrong.
    """
    whole = version_words(directory)
    try:
        text = (directory / "manifest.toml").read_text("utf-8")
        return msgspec.convert(tomllib.loads(text), Manifest)
    except FileNotFoundError:
        raise ModelInvalid(f"{whole} has no manifest.toml.") from None
    except OSError as fault:
        raise ModelInvalid(f"manifest.toml of {whole} cannot be read: {fault.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as fault:
        raise ModelInvalid(f"manifest.toml of {whole} is not valid: {fault}.") from None


def read_labels(directory: Path, manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """Given a version's directory and manifest, return the labels of each head, in index order.

    Raise ModelInvalid when a file of labels is missing, elsewhere or no UTF-8 text.
    """
    labels: dict[str, tuple[str, ...]] = {}
    for head, output in zip(manifest.heads(), manifest.outputs, strict=True):
        if not output.labels:
            labels[head] = ()
            continue
        path = directory / output.labels
        if path.parent != directory:
            raise ModelInvalid(f"The labels of head {head!r} must be a file beside the manifest.")
        try:
            # Editors on Windows put a byte order mark in front and blank lines at the end.
            labels[head] = tuple(path.read_text("utf-8-sig").rstrip().splitlines())
        except OSError as fault:
            raise ModelInvalid(
                f"The labels of head {head!r}, {output.labels}, cannot be read: {fault.strerror}."
            ) from None
        except UnicodeDecodeError:
            raise ModelInvalid(
                f"The labels of head {head!r}, {output.labels}, are not UTF-8 text."
            ) from None
    return labels
