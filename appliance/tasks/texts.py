"""Texts in a request, and how they become the tensors of a text model.

A request is one text as text/plain, or JSON with `text` or `texts`. Texts of like length share an
inference, so that little of it is padding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from appliance.errors import InvalidInput, ModelInvalid, PayloadTooLarge, UnsupportedMedia
from appliance.tasks.contract import Limits, Model, Payload, Tokens, Turn

if TYPE_CHECKING:
    import numpy as np

    from appliance.tasks.contract import Tensors

MEDIA_TYPES = ("text/plain", "application/json")
_PLAIN_TYPES = ("text/plain", "application/octet-stream", "")
#: Tokens of one inference, padding included: from there on more texts at once are no faster
#: (measured with a network of 6 layers of 384 on one core), and other cores would wait.
_GROUP_TOKENS = 256
#: Lengths are rounded up to this, because OpenVINO prepares anew for each shape it meets.
_LENGTH_STEP = 8
#: Without a tokenizer a model that takes numbers gets the UTF-8 bytes, at most so many.
_MOST_RAW_BYTES = 4096


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str | UnsetType = UNSET
    texts: Annotated[tuple[str, ...], Meta(min_length=1)] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Texts:
    """What was sent; `is_list` says whether as a list, which is answered as one."""

    texts: tuple[str, ...]
    is_list: bool


class TextRead(msgspec.Struct, frozen=True, kw_only=True):
    """What the model read of a text: how many tokens, and whether it was cut to them."""

    tokens: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What encoding needs to remember: what was read of each text, and which went where."""

    reads: tuple[TextRead, ...]
    groups: tuple[tuple[int, ...], ...]
    is_list: bool
    labels: tuple[str, ...] = ()


def read_texts(payload: Payload, limits: Limits) -> Texts:
    """Given a payload, return its texts.

    Raise UnsupportedMedia for another kind of content, PayloadTooLarge beyond the bounds, and
    InvalidInput for what is no text or empty.
    """
    if len(payload.body) > limits.text_bytes:
        raise PayloadTooLarge(
            f"The texts have {len(payload.body):,} bytes; at most {limits.text_bytes:,} are read"
            " in one request (limits.text_bytes). Send them in several."
        )
    if payload.content_type == "application/json":
        return _json_texts(payload, limits)
    if payload.content_type in _PLAIN_TYPES:
        text = _utf8(payload.body)
        _check_text(text, "")
        return Texts((text,), is_list=False)
    raise UnsupportedMedia(
        f"{payload.content_type} is not a text. Send it as text/plain, or as application/json with"
        ' "text" or "texts".'
    )


def _utf8(body: bytes | bytearray | memoryview) -> str:
    try:
        return str(body, "utf-8-sig")
    except UnicodeDecodeError as fault:
        raise InvalidInput(
            f"The text is not UTF-8: byte {fault.start} cannot be read. Send it as UTF-8."
        ) from None


def _json_texts(payload: Payload, limits: Limits) -> Texts:
    try:
        body = msgspec.json.decode(payload.body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise InvalidInput(
            f'The JSON must be {{"text": "…"}} or {{"texts": ["…", …]}}: {fault}.'
        ) from None
    if isinstance(body.text, str) == isinstance(body.texts, tuple):
        raise InvalidInput('The JSON must have either "text" or "texts".')
    if isinstance(body.text, str):
        _check_text(body.text, "/text")
        return Texts((body.text,), is_list=False)
    assert isinstance(body.texts, tuple)
    if len(body.texts) > limits.texts:
        raise PayloadTooLarge(
            f"There are {len(body.texts):,} texts; at most {limits.texts:,} are read in one"
            " request (limits.texts). Send them in several."
        )
    for number, text in enumerate(body.texts):
        _check_text(text, f"/texts/{number}")
    return Texts(body.texts, is_list=True)


def _check_text(text: str, pointer: str) -> None:
    if not text.strip():
        raise InvalidInput("The text is empty.", pointer=pointer or None)
    if "\0" in text:
        raise InvalidInput(
            "The text holds a zero character, so it is no text but some other kind of file.",
            pointer=pointer or None,
        )


def takes_text(model: Model) -> bool:
    """Given a model, return whether it takes texts: no input of it is a picture."""
    return not any({"H", "W", "C"} <= set(one.layout) for one in model.manifest.inputs)


def check_text_inputs(model: Model, *, called: str) -> None:
    """Given a model, raise ModelInvalid unless it takes texts: as tokens, bytes or strings.

    `called` says in an error what the model is taken for, such as "A text classifier".
    """
    shapes = model.input_shapes
    roles = [_role(tensor) for tensor in shapes]
    if roles.count("ids") != 1:
        raise ModelInvalid(
            f"{called} has one input for tokens, and may have others whose names hold 'mask' or"
            f" 'type'; this model has {', '.join(map(repr, shapes)) or 'none'}."
        )
    ids = _ids_shape(model)
    if len(ids) == 1 and model.tokenizer is None and len(shapes) == 1:
        return
    if any(len(shape) != 2 for shape in shapes.values()):
        raise ModelInvalid(
            f"{called} takes tokens as [texts, tokens], but the shapes of its inputs are"
            f" {', '.join(str(list(shape)) for shape in shapes.values())}."
        )
    if any(shape[0] not in (-1, 1) or 0 <= shape[1] < 4 for shape in shapes.values()):
        raise ModelInvalid(
            f"{called} takes one text or any number at once, of at least 4 tokens; the shapes of"
            f" its inputs are {', '.join(str(list(shape)) for shape in shapes.values())}."
        )


def text_turn(
    texts: Texts, model: Model, *, labels: Sequence[str] = (), more: Sequence[str] = ()
) -> Turn:
    """Given texts, and more that the model must see beside them, return the turn.

    `labels` are only remembered. The rows of `more` follow those of the texts.
    """
    every = [*texts.texts, *more]
    if len(_ids_shape(model)) == 1:
        return _string_turn(every, texts, model, labels)
    fixed = _ids_shape(model)[1]
    found = _tokens(every, model, fixed)
    groups = _groups([len(one.ids) for one in found], model)
    return Turn(
        inputs=[_tensors([found[row].ids for row in rows], model, fixed) for rows in groups],
        context=Reading(
            reads=tuple(
                TextRead(tokens=len(one.ids), truncated=one.is_truncated)
                for one in found[: len(texts.texts)]
            ),
            groups=groups,
            is_list=texts.is_list,
            labels=tuple(labels),
        ),
    )


def rows_of(outputs: "Sequence[Tensors]", reading: Reading, tensor: str) -> "np.ndarray[Any, Any]":
    """Given the outputs of a turn, return one output [texts, values], in the order of the texts.

    The values of a row with further dimensions follow one another.
    """
    import numpy as np

    count = sum(map(len, reading.groups))
    rows: np.ndarray[Any, Any] | None = None
    for group, output in zip(reading.groups, outputs, strict=True):
        values = np.asarray(output[tensor]).reshape(len(group), -1)
        if rows is None:
            rows = np.empty((count, values.shape[1]), values.dtype)
        rows[list(group)] = values
    assert rows is not None
    return rows


def _role(tensor: str) -> str:
    name = tensor.lower()
    if "mask" in name:
        return "mask"
    return "types" if "type" in name or "segment" in name else "ids"


def _ids_shape(model: Model) -> Sequence[int]:
    return next(shape for name, shape in model.input_shapes.items() if _role(name) == "ids")


def _tokens(texts: Sequence[str], model: Model, fixed: int) -> list[Tokens]:
    """Return the tokens of each text: the tokenizer's, or without one its UTF-8 bytes."""
    if model.tokenizer is not None:
        most = model.tokenizer.most_tokens
        return model.tokenizer.tokens(texts, most=min(most, fixed) if fixed > 0 else most)
    most = fixed if fixed > 0 else _MOST_RAW_BYTES
    raw = [text.encode("utf-8") for text in texts]
    return [Tokens(one[:most], len(one) > most) for one in raw]


def _groups(lengths: Sequence[int], model: Model) -> tuple[tuple[int, ...], ...]:
    """Return which texts share an inference: those of like length, the longest first."""
    takes_one = _ids_shape(model)[0] == 1
    groups: list[list[int]] = []
    longest = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if not groups or takes_one or (len(groups[-1]) + 1) * longest > _GROUP_TOKENS:
            groups.append([])
            longest = max(1, lengths[row])
        groups[-1].append(row)
    return tuple(map(tuple, groups))


def _tensors(rows: Sequence[Sequence[int]], model: Model, fixed: int) -> "Tensors":
    import numpy as np

    longest = max(1, *map(len, rows))
    length = fixed if fixed > 0 else -(-longest // _LENGTH_STEP) * _LENGTH_STEP
    ids = np.zeros((len(rows), length), np.int64)
    mask = np.zeros((len(rows), length), np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = list(row)
        mask[number, : len(row)] = 1
    by_role = {"ids": ids, "mask": mask, "types": np.zeros_like(ids)}
    return {name: by_role[_role(name)] for name in model.input_shapes}


def _string_turn(every: Sequence[str], texts: Texts, model: Model, labels: Sequence[str]) -> Turn:
    """Give the model the texts themselves; how it reads them only it knows."""
    import numpy as np

    (tensor,) = model.input_shapes
    reads = tuple(TextRead(tokens=len(text), truncated=False) for text in texts.texts)
    inputs: list[Mapping[str, np.ndarray[Any, Any]]]
    groups: tuple[tuple[int, ...], ...]
    if model.input_shapes[tensor][0] == 1:
        inputs = [{tensor: np.array([text])} for text in every]
        groups = tuple((row,) for row in range(len(every)))
    else:
        inputs = [{tensor: np.array(every)}]
        groups = (tuple(range(len(every))),)
    return Turn(inputs=inputs, context=Reading(reads, groups, texts.is_list, tuple(labels)))
