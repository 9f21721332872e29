"""The head of a picture: what it is and how large, before any pixel of it is decoded."""

import contextlib
import functools
import io
import re
from typing import TYPE_CHECKING

from appliance.errors import InvalidInput, PayloadTooLarge, Problem, UnsupportedMedia
from appliance.tasks.contract import Limits, Payload

if TYPE_CHECKING:
    from PIL.Image import Image

#: The longest side a JPEG can have; a picture longer than that is a bomb, not a picture.
_LARGEST_SIDE = 65_500
_COUNT = re.compile(r"\((\d+) pixels\)")
_LFS_POINTER = b"version https://git-lfs"
#: What Pillow says, where its words would tell a client nothing.
_PLAINER = {
    "decoder error -2": "its compressed data cannot be decoded",
    "broken data stream when reading image file": "its compressed data is damaged",
    "unrecognized data stream contents when reading image file": "its compressed data is damaged",
}


def open_picture(payload: Payload, limits: Limits) -> "Image":
    """Given a payload, return the picture with its header read and no pixel decoded yet.

    The content decides what it is, not the media type or a file name. Raise UnsupportedMedia when
    it is not one of the allowed formats, PayloadTooLarge beyond the pixel limit, InvalidInput when
    the header is broken.
    """
    from PIL import Image, UnidentifiedImageError

    if not payload.body:
        raise InvalidInput("The picture is empty: the request carried no bytes.")
    main_type = payload.content_type.partition("/")[0]
    if main_type not in ("image", "") and payload.content_type != "application/octet-stream":
        raise UnsupportedMedia(
            f"{payload.content_type} is not a picture. Send the picture's own bytes as image/jpeg,"
            " image/png or another image type."
        )
    # Pillow refuses above twice this, and asks before it makes room for a GIF's first frame, which
    # may be far larger than its screen. Between once and twice it would only warn.
    Image.MAX_IMAGE_PIXELS = (limits.image_pixels + 1) // 2
    allowed = _known_formats(limits.image_formats)
    try:
        picture = Image.open(io.BytesIO(payload.body), formats=allowed)
    except UnidentifiedImageError:
        raise _unidentified(bytes(payload.body[:32]), allowed) from None
    except Image.DecompressionBombError as fault:
        raise _too_many_pixels(fault, limits) from None
    except MemoryError:
        raise too_much_memory() from None
    except Exception as fault:
        raise InvalidInput(f"The picture's header is broken: {pillow_words(fault)}.") from None
    _check_size(picture, limits)
    return picture


def _check_size(picture: "Image", limits: Limits) -> None:
    width, height = picture.size
    if width < 1 or height < 1:
        raise InvalidInput("The picture has no pixels: its width or height is 0.")
    if width * height > limits.image_pixels:
        raise PayloadTooLarge(
            f"The picture has {width}×{height} pixels; at most {limits.image_pixels:,} are decoded"
            " here (limits.image_pixels). Send a smaller one."
        )
    if max(width, height) > _LARGEST_SIDE:
        raise PayloadTooLarge(
            f"The picture has {width}×{height} pixels; no side may be longer than"
            f" {_LARGEST_SIDE:,}. Send a smaller one."
        )


def _too_many_pixels(fault: Exception, limits: Limits) -> PayloadTooLarge:
    count = _COUNT.search(str(fault))
    has = f"has {int(count[1]):,} pixels" if count else "is too large"
    return PayloadTooLarge(
        f"The picture {has}; at most {limits.image_pixels:,} are decoded here"
        " (limits.image_pixels). Send a smaller one."
    )


@functools.lru_cache(maxsize=16)
def _known_formats(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the wanted formats that this Pillow can read; an unknown one would break them all."""
    from PIL import Image

    Image.init()
    return tuple(name for name in (name.upper() for name in wanted) if name in Image.OPEN)


def _unidentified(prefix: bytes, allowed: tuple[str, ...]) -> Problem:
    """Given the first bytes of what Pillow could not open, return the problem with the reason."""
    from PIL import Image

    if prefix.startswith(_LFS_POINTER):
        return UnsupportedMedia(
            "This is a Git LFS pointer, not the picture itself. Send the picture."
        )
    names = ", ".join(allowed)
    for name, (_, accepts) in Image.OPEN.items():
        is_alike = False
        with contextlib.suppress(Exception):  # written for prefixes of 16 bytes or more
            is_alike = accepts is not None and accepts(prefix[:16]) is True
        if is_alike and name in allowed:
            return InvalidInput(
                f"This begins like a {name} picture, but its header is broken or cut off."
                " Send the whole file."
            )
        if is_alike:
            return UnsupportedMedia(
                f"{name} pictures are not accepted here. Allowed formats: {names}."
            )
    return UnsupportedMedia(f"This is not a picture that is decoded here. Allowed: {names}.")


def too_much_memory() -> PayloadTooLarge:
    """Return the problem of a picture whose decoder ran out of memory."""
    return PayloadTooLarge(
        "The picture needs more memory than its decoder may use. Send a smaller one."
    )


def pillow_words(fault: Exception) -> str:
    """Given an error of Pillow, return what it says, or what that means."""
    text = " ".join(str(fault).split())[:200].rstrip(".")
    return _PLAINER.get(text, text) or type(fault).__name__
