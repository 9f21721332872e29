"""Pictures: from untrusted bytes to an upright RGB array, or a sentence that names the fault.

Runs in a host process only. The rules, which the documentation repeats: the content decides what a
picture is; the first frame counts; EXIF orientation is applied, and EXIF that cannot be read is
ignored; transparency is laid on white; CMYK, YCbCr, Lab and palettes become RGB by Pillow's
conversion; 16-bit colour loses its low bytes; 16-bit grey is divided by 257; floating point and
wider grey is stretched from its own darkest and brightest value to 0–255.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from appliance.errors import InvalidInput
from appliance.tasks.picture_head import open_picture, pillow_words, too_much_memory
from appliance.tasks.placement import Crop, Placement, Size, part_of, place

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    Pixels = np.ndarray[Any, np.dtype[np.uint8]]

MEDIA_TYPES = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/bmp",
    "image/gif",
    "image/avif",
    "image/tiff",
    "application/octet-stream",
)
_EXIF_ORIENTATION = 0x0112
#: Formats that can be decoded at a half, a quarter or an eighth of their size for less work.
_REDUCIBLE = ("JPEG", "MPO")

__all__ = ["MEDIA_TYPES", "decode_picture", "open_picture", "placed", "upright_for", "upright_rgb"]


def decode_picture(
    picture: "Image",
    target: Size,
    *,
    crop: Crop | None = None,
    resize: str = "stretch",
    pad_value: int = 114,
    pad_position: str = "center",
) -> "Pixels":
    """Given an opened picture, return upright RGB pixels u8[height, width, 3] of size `target`.

    `target` is width, height; `crop` is x, y, width, height in pixels of the upright picture.
    `resize` is `stretch`, `crop` (the middle, at the target's aspect ratio) or `letterbox` (all of
    it, on `pad_value`, at `pad_position`). Raise InvalidInput when the pixels are broken or the
    crop lies outside, PayloadTooLarge when decoding takes too much memory.
    """
    import numpy as np

    upright = upright_rgb(picture, None if crop else target)
    if crop is None and upright.size == target:
        return np.asarray(upright)
    part = part_of(upright.size, crop)
    placement = place(part, target, resize=resize, pad_position=pad_position)
    return placed(upright, placement, target, pad_value=pad_value)


def placed(
    upright: "Image",
    placement: Placement,
    target: Size,
    *,
    pad_value: int = 114,
    reduced_by: float = 1,
) -> "Pixels":
    """Given an upright picture, return its part as u8[height, width, 3] of the target's size.

    `reduced_by` says how many times smaller the picture is than that which the placement means.
    """
    import numpy as np
    from PIL import Image

    left, top, right, bottom = (edge / reduced_by for edge in placement.source)
    box = (left, top, min(right, upright.width), min(bottom, upright.height))
    resized = upright.resize(placement.inner, Image.Resampling.BILINEAR, box=box)
    if placement.inner == target:
        return np.asarray(resized)
    pixels = np.full((target[1], target[0], 3), pad_value, np.uint8)
    x, y = placement.offset
    pixels[y : y + resized.height, x : x + resized.width] = np.asarray(resized)
    return pixels


def upright_for(picture: "Image", needed: Callable[[Size], Size]) -> "tuple[Image, Size]":
    """Given an opened picture, return it upright as RGB, perhaps reduced, and its full size.

    `needed` is asked for the least width and height that will do, given the full ones. Raise what
    `upright_rgb` raises.
    """
    if picture.format not in _REDUCIBLE:
        upright = upright_rgb(picture)
        return upright, upright.size
    full = picture.size[::-1] if _orientation(picture) >= 5 else picture.size
    return upright_rgb(picture, needed(full)), full


def upright_rgb(picture: "Image", smallest: Size | None = None) -> "Image":
    """Given an opened picture, return it decoded, turned upright and as RGB.

    With `smallest` (width, height) a JPEG is decoded at the smallest of its own reduced sizes that
    is no smaller, which saves most of the time and memory. Raise InvalidInput when the pixels are
    broken, PayloadTooLarge when they take too much memory.
    """
    from PIL import Image

    try:
        orientation = 0
        if smallest and picture.format in _REDUCIBLE:
            orientation = _orientation(picture)
            picture.draft(None, smallest[::-1] if orientation >= 5 else smallest)
        picture.load()
        # Others are asked after loading: only then has a PNG read all its chunks, and a TIFF is
        # upright already and says so.
        return _turned(_rgb(picture), orientation or _orientation(picture))
    except (MemoryError, Image.DecompressionBombError):
        raise too_much_memory() from None
    except Exception as fault:
        raise InvalidInput(f"The picture is broken or cut off: {pillow_words(fault)}.") from None


def _orientation(picture: "Image") -> int:
    """Return EXIF's orientation, 1 (upright) when it has none or one that cannot be read."""
    try:
        orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # Pillow raises whatever the bytes make it stumble over
        return 1
    return orientation if orientation in range(1, 9) else 1


def _turned(picture: "Image", orientation: int) -> "Image":
    """Given EXIF's orientation (its table "Orientation", tag 274), return the picture upright."""
    if orientation == 1:
        return picture
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return picture.transpose(turns[orientation])


def _rgb(picture: "Image") -> "Image":
    from PIL import Image

    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        return _grey_to_rgb(picture)
    if not picture.has_transparency_data:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    layered = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    flat = Image.new("RGB", layered.size, (255, 255, 255))
    flat.paste(layered, mask=layered)
    return flat


def _grey_to_rgb(picture: "Image") -> "Image":
    import numpy as np
    from PIL import Image

    values = np.asarray(picture).astype(np.float32)  # in place from here: 25 MP are 100 MB
    with np.errstate(all="ignore"):
        np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        low, high = float(values.min()), float(values.max())
        if picture.mode == "F" or low < 0 or high > 65_535:
            scale = 255.0 / (high - low) if high > low else 0.0
            values *= scale  # before subtracting, so that the widest range does not overflow
            values -= low * scale
        else:
            values /= 257.0
        np.nan_to_num(values, copy=False, nan=0.0)
        np.clip(np.rint(values, out=values), 0, 255, out=values)
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")
