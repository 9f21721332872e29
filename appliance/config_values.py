"""What a value of the configuration can be: its types with their bounds."""

from typing import Annotated

import msgspec
from msgspec import Meta

MEBIBYTE = 1024 * 1024


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One section of the configuration; a key it does not know is refused."""


Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=86400 * 3650)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Bytes = Annotated[int, Meta(ge=1, le=1 << 50)]
Ratio = Annotated[float, Meta(gt=0, lt=1)]
Share = Annotated[float, Meta(gt=0, le=1)]
Weight = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}=[1-9][0-9]{0,3}$")]

#: What is decoded, by Pillow's names; `limits.image_formats` can only narrow it.
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "TIFF")

#: The machine itself and the networks that are never routed on the Internet (RFC 1918, RFC 4193,
#: RFC 4291).
PRIVATE_NETWORKS = (
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
    "fe80::/10",
)
