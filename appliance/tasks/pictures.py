"""Pictures: from untrusted bytes to an upright RGB array, or a sentence that names the fault.

Runs in a host process only. The rules, which the documentation repeats:
the first frame counts; EXIF orientation is applied; transparency is laid on white; CMYK, YCbCr,
Lab and palettes become RGB by Pillow's conversion; 16-bit grey is divided by 257; floating point and 32-bit grey
is stretched from its own darkest and brightest value to 0–255.
"""

import io
import warnings
from typing import TYPE_CHECKING, Any

from appliance.errors import InvalidInput, PayloadTooLarge, UnsupportedMedia
from appliance.tasks.contract import Limits, Payload

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    Pixels = np.ndarray[Any, np.dtype[np.uint8]]
    Box = tuple[int, int, int, int]

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
_LARGEST_SIDE = 65_500


def open_picture(payload: Payload, limits: Limits) -> "Image":
    """Given a payload, return the picture with its header read and no pixel decoded yet.

    The content decides what it is, not the media type or a file name. Raise UnsupportedMedia when it is not one of
    the allowed formats, PayloadTooLarge beyond the pixel limit, InvalidInput when the header is broken.
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
    Image.MAX_IMAGE_PIXELS = None  # the limit below answers with our own words
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(payload.body), formats=limits.image_formats)
    except UnidentifiedImageError:
        raise _unidentified(payload.body, limits) from None
    except Exception as fault:
        raise InvalidInput(f"The picture's header is broken: {_words(fault)}.") from None
    _check_size(picture, limits)
    return picture


def decode_picture(
    picture: "Image",
    target: "tuple[int, int]",
    *,
    crop: "Box | None" = None,
    resize: str = "stretch",
) -> "Pixels":
    """Given an opened picture, return upright RGB pixels u8[height, width, 3] of the `target` (width, height).

    `crop` is x, y, width, height in pixels of the upright picture. `resize` is `stretch` or `crop` (the middle,
    at the target's aspect ratio). Raise InvalidInput when the pixels are broken or the crop lies outside.
    """
    import numpy as np
    from PIL import Image

    upright = upright_rgb(picture, None if crop else target)
    box = _box(upright.size, target, crop, resize)
    if box is None and upright.size == target:
        return np.asarray(upright)
    return np.asarray(upright.resize(target, Image.Resampling.BILINEAR, box=box))


def upright_rgb(picture: "Image", smallest: "tuple[int, int] | None" = None) -> "Image":
    """Given an opened picture, return it decoded, turned upright and as RGB.

    With `smallest` (width, height) a JPEG is decoded at the smallest of its own reduced sizes that is no smaller,
    which saves most of the time and memory. Raise InvalidInput when the pixels are broken.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
            if smallest and picture.format in ("JPEG", "MPO"):
                turned = orientation in (5, 6, 7, 8)
                picture.draft(None, smallest[::-1] if turned else smallest)  # type: ignore[arg-type]
            picture.load()
            if orientation in range(2, 9):
                picture = ImageOps.exif_transpose(picture)
            return picture if picture.mode == "RGB" else _rgb(picture)
    except Image.DecompressionBombError as fault:
        raise PayloadTooLarge(f"The picture unpacks to too much: {_words(fault)}.") from None
    except MemoryError:
        raise PayloadTooLarge("The picture needs more memory than a decoder may use.") from None
    except Exception as fault:
        raise InvalidInput(f"The picture is broken or cut off: {_words(fault)}.") from None


def _rgb(picture: "Image") -> "Image":
    from PIL import Image

    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        return _grey_to_rgb(picture)
    has_alpha = (
        picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info
    )
    if not has_alpha:
        return picture.convert("RGB")
    layered = picture.convert("RGBA")
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def _grey_to_rgb(picture: "Image") -> "Image":
    import numpy as np
    from PIL import Image

    values = np.asarray(picture).astype(np.float64)
    values = np.where(np.isfinite(values), values, 0.0)
    low, high = float(values.min()), float(values.max())
    if picture.mode == "F" or low < 0 or high > 65_535:
        values = (values - low) * (255.0 / (high - low) if high > low else 0.0)
    else:
        values = values / 257.0
    return Image.fromarray(np.round(values).astype(np.uint8)).convert("RGB")


def _box(
    size: "tuple[int, int]", target: "tuple[int, int]", crop: "Box | None", resize: str
) -> "tuple[float, float, float, float] | None":
    left, top, width, height = 0, 0, *size
    if crop:
        left, top, width, height = crop
        if left < 0 or top < 0 or width < 1 or height < 1:
            raise InvalidInput(
                "crop must be x,y,width,height with x, y ≥ 0 and a size ≥ 1.",
                pointer="/query/crop",
            )
        if left + width > size[0] or top + height > size[1]:
            raise InvalidInput(
                f"crop reaches outside the upright picture, which is {size[0]}×{size[1]} pixels.",
                pointer="/query/crop",
            )
    if resize != "crop":
        return (left, top, left + width, top + height) if crop else None
    scale = min(width / target[0], height / target[1])
    inner_width, inner_height = target[0] * scale, target[1] * scale
    x, y = left + (width - inner_width) / 2, top + (height - inner_height) / 2
    return (x, y, x + inner_width, y + inner_height)


def _check_size(picture: "Image", limits: Limits) -> None:
    width, height = picture.size
    if width < 1 or height < 1:
        raise InvalidInput("The picture has no pixels: its width or height is 0.")
    if width * height > limits.image_pixels or max(width, height) > _LARGEST_SIDE:
        raise PayloadTooLarge(
            f"The picture has {width}×{height} pixels; at most {limits.image_pixels:,} are decoded here"
            " (limits.image_pixels). Send a smaller one."
        )


def _unidentified(body: "bytes | bytearray | memoryview", limits: Limits) -> UnsupportedMedia:
    allowed = ", ".join(limits.image_formats)
    if bytes(body[:8]).startswith(b"version "):
        return UnsupportedMedia(
            "This is a Git LFS pointer, not the picture itself. Send the picture."
        )
    return UnsupportedMedia(
        f"The {len(body):,} bytes are not a picture that is decoded here. Allowed formats: {allowed}."
    )


def _words(fault: Exception) -> str:
    text = " ".join(str(fault).split())[:200].rstrip(".")
    return text or type(fault).__name__
