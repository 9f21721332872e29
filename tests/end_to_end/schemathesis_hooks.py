"""Loaded by schemathesis in its own process: bodies that get past the first look at them."""

import schemathesis
from hypothesis import strategies as st

from tests.tiny_models import picture

_COLOURS = ("red", "lime", "navy")
_READINGS = b"timestamp,x,y,z\n" + b"".join(
    b"%d,0.1,0.2,%d.5\n" % (i * 20, i % 9) for i in range(64)
)


def _pictures(kind: str) -> "st.SearchStrategy[bytes]":
    whole = st.sampled_from([picture(colour, format=kind) for colour in _COLOURS])
    cut = st.builds(lambda body, share: body[: len(body) * share // 20], whole, st.integers(0, 19))
    return whole | cut | st.binary(max_size=64)


for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"):
    schemathesis.openapi.media_type(f"image/{kind.lower()}", _pictures(kind))
schemathesis.openapi.media_type("text/csv", st.just(_READINGS) | st.binary(max_size=200))
