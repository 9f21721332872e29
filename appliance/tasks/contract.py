"""What a kind of task is: open → per turn decode → infer → encode → flush.

A plain request is one turn, a stream many turns from a client, a job many turns from a file. The
host runs the loop (`host/turns.py`); a task only says how bytes become arrays and arrays answers.
The front imports these modules for their schemas, so nothing here or in a task module imports
numpy, Pillow or OpenVINO when the module is imported: each function that needs one imports it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    import numpy as np

    from appliance.library.manifest import Manifest

    Tensors = Mapping[str, "np.ndarray[Any, Any]"]


class Payload(msgspec.Struct, frozen=True):
    """The bytes of one turn and the media type they were sent as (lower case, no parameters)."""

    body: bytes | bytearray | memoryview
    content_type: str


@dataclass(slots=True)
class Turn:
    """What decoding made of a payload: inference requests, and what encoding needs to remember.

    Each request maps input tensor names to arrays with their batch dimension; there may be none.
    """

    inputs: "list[Tensors]"
    context: Any = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds a task must keep while decoding, from the configuration."""

    image_pixels: int = 25_000_000
    image_formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "TIFF")
    texts: int = 100
    text_bytes: int = 1024 * 1024


class Tokens(NamedTuple):
    """A text as the numbers of its tokens, and whether it was cut to fit."""

    ids: Sequence[int]
    is_truncated: bool


class Tokenizer(Protocol):
    """What turns texts into tokens; the host loads it, because it parses untrusted bytes natively.

    Threads: any number at once.
    """

    @property
    def most_tokens(self) -> int:
        """The most tokens of one text."""

    def tokens(self, texts: Sequence[str], *, most: int) -> list[Tokens]:
        """Given texts, return the tokens of each, cut to `most`, special tokens included."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a task may know of the model it works for.

    `labels` maps each head to its labels in index order; `input_shapes` maps each input tensor to
    its shape as the compiled model takes it (pictures: N, H, W, C), `output_shapes` each output
    tensor to its own, -1 where variable.
    """

    manifest: "Manifest"
    labels: Mapping[str, Sequence[str]]
    input_shapes: Mapping[str, Sequence[int]]
    limits: Limits = field(default_factory=Limits)
    output_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    tokenizer: Tokenizer | None = None


class Task(Protocol):
    """A kind of inference.

    Its `Params` and `Result` give it routes, OpenAPI, history and metrics.
    """

    @property
    def name(self) -> str:
        """How manifests name it."""

    @property
    def title(self) -> str:
        """How people name it."""

    @property
    def media_types(self) -> tuple[str, ...]:
        """Media types of a payload, first the one used in examples."""

    @property
    def Params(self) -> type[msgspec.Struct]:
        """What a caller may choose."""

    @property
    def Result(self) -> type[msgspec.Struct]:
        """What a turn answers."""

    @property
    def State(self) -> type[msgspec.Struct]:
        """What a session remembers between turns; must survive a msgpack round trip."""

    def check(self, model: Model) -> None:
        """Raise ModelInvalid when the manifest does not describe a model this task can use."""

    def open(self, params: Any, model: Model) -> Any:
        """Return the state of a new session."""

    def decode(self, payload: Payload, params: Any, state: Any, model: Model) -> Turn:
        """Turn bytes into arrays.

        Raise InvalidInput, UnsupportedMedia or PayloadTooLarge, and then leave the state as it
        was.
        """

    def encode(
        self, outputs: "list[Tensors]", turn: Turn, params: Any, state: Any, model: Model
    ) -> Any:
        """Turn the outputs of each inference request into a result."""

    def flush(self, params: Any, state: Any, model: Model) -> Turn:
        """Return what is still to be inferred at the end of a session; no inputs when nothing."""

    def join(self, results: Sequence[Any]) -> Any:
        """Return one result for the turns of a whole session."""

    def summary(self, result: Any) -> tuple[str | None, float | None]:
        """Return the label and confidence by which a recorded prediction is found again."""


@runtime_checkable
class Draws(Protocol):
    """A task that can also answer with the picture itself, its result drawn on it."""

    @property
    def drawn_types(self) -> tuple[str, ...]:
        """Media types it can answer so, the one for `image/*` first."""

    def draw(self, payload: Payload, result: Any, model: Model, media_type: str) -> bytes:
        """Given a payload and its result, return the picture with that drawn on it, encoded."""


class NoState(msgspec.Struct):
    """The state of tasks whose turns know nothing of each other."""
