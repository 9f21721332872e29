"""What evaluate, quantise and tune may be told; apart from what runs them, because the front reads
only this.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.library.manifest import Name

_Items = Annotated[
    int,
    Meta(ge=1, le=100_000, description="Most items to measure; of more, a fixed sample is taken."),
]
_Seconds = Annotated[
    float, Meta(ge=1, le=4 * 3600, description="Longest time to measure; the rest is left out.")
]
_Head = Annotated[
    str, Meta(max_length=64, description="Which of the model's heads the labels are for.")
]
_TaskParams = Annotated[
    dict[str, Any], Meta(description="Parameters of the model's task, as in a prediction.")
]


class EvaluateParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which version is measured; the active one by default."""

    model: Name
    version: int | None = None
    head: _Head = ""
    params: _TaskParams = {}
    most_items: _Items = 10_000
    most_seconds: _Seconds = 3600.0


class QuantiseParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which version becomes INT8, and how much worse its answers may be."""

    model: Name
    version: int | None = None
    head: _Head = ""
    params: _TaskParams = {}
    max_drop: Annotated[
        float,
        Meta(
            ge=0,
            le=100,
            description="Most points (of 100) that the accuracy may lose; a version that loses"
            " more is not kept.",
        ),
    ] = 1.0
    calibration: Annotated[
        Literal["given", "recorded"],
        Meta(
            description="Calibrate with what is sent, or with inputs of this model that were kept"
            " (history.keep_inputs); then what is sent, if anything, only measures."
        ),
    ] = "given"
    calibration_items: Annotated[
        int, Meta(ge=8, le=5000, description="Items to see the range of each layer's values.")
    ] = 300
    most_items: _Items = 2_000
    most_seconds: Annotated[
        float,
        Meta(
            ge=1,
            le=4 * 3600,
            description="Longest time for all of it; a version that is not made by then is given"
            " up.",
        ),
    ] = 3600.0


class TuneParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which version is tuned on this machine, and how long an answer may take."""

    model: Name
    version: int | None = None
    latency_ms: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=600_000,
                description="Longest time that 95 of 100 inferences may take; without it the"
                " highest rate wins.",
            ),
        ]
        | None
    ) = None
    most_seconds: Annotated[
        float, Meta(ge=5, le=900, description="Longest time to measure, all settings together.")
    ] = 120.0
