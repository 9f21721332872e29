"""What somebody says about a model they install; all but its name may be left to be found."""

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.library.manifest import Name
from appliance.plain_text import pattern, require_plain

#: The pattern is only told in the schema: `__post_init__` says it in words.
_Text = Annotated[
    str, Meta(max_length=2000, extra_json_schema={"pattern": pattern(least=0, most=2000)})
]


class ImportRequest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """The words of one installation; what is empty is found out from the model itself."""

    name: Annotated[
        Name, Meta(description="What the model will be called in addresses and commands.")
    ]
    version: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000_000)] | None,
        Meta(description="Its version; the next free one unless given."),
    ] = None
    task: Annotated[
        str, Meta(max_length=64, description="Kind of task, such as image-classification.")
    ] = ""
    decoder: Annotated[
        str, Meta(max_length=32, description="How a detector's output is read, such as yolox.")
    ] = ""
    activation: Literal["", "none", "softmax", "sigmoid"] = ""
    mean: Annotated[
        tuple[float, ...], Meta(max_length=3, description="Subtracted from each channel.")
    ] = ()
    scale: Annotated[
        tuple[float, ...], Meta(max_length=3, description="Each channel is divided by it.")
    ] = ()
    layout: Annotated[
        str,
        Meta(
            pattern=r"^[A-Z?.]{0,8}$(?!\n)", description="Order of the dimensions, such as NCHW."
        ),
    ] = ""
    color: Annotated[
        Literal["", "RGB", "BGR", "GRAY"], Meta(description="Order of the colours it was taught.")
    ] = ""
    resize: Annotated[
        Literal["", "stretch", "letterbox", "crop"],
        Meta(description="How a picture is brought to the model's size."),
    ] = ""
    size: Annotated[
        str,
        Meta(
            pattern=r"^([1-9][0-9]{0,4}x[1-9][0-9]{0,4})?$(?!\n)",
            description="WIDTHxHEIGHT of the picture, for a model that takes any.",
        ),
    ] = ""
    title: _Text = ""
    license: _Text = ""
    credit: _Text = ""
    sha256: Annotated[
        str,
        Meta(
            pattern=r"^([0-9a-f]{64})?$(?!\n)",
            description="SHA-256 that the uploaded file must have.",
        ),
    ] = ""
    file_name: Annotated[
        str,
        Meta(
            max_length=255,
            description="What the uploaded file was called.",
            extra_json_schema={"pattern": pattern(least=0, most=255)},
        ),
    ] = ""
    activate: Annotated[
        bool, Meta(description="Let it answer as soon as it has proved itself.")
    ] = False

    def __post_init__(self) -> None:
        """Raise ValueError when mean or scale cannot be meant, or words hide something."""
        for name in ("title", "license", "credit", "file_name"):
            require_plain(getattr(self, name), name)
        if not all(map(math.isfinite, (*self.mean, *self.scale))):
            raise ValueError("mean and scale must be finite numbers")
        if 0 in self.scale:
            raise ValueError("scale must not be 0: values are divided by it")
