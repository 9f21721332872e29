"""Pictures for tests, encoded in every way, and the way through our decoder."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from appliance.tasks.contract import Limits, Payload
from appliance.tasks.pictures import decode_picture, open_picture

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "TIFF")


def opened(body: bytes, *, content_type: str = "", **limits: Any) -> Image.Image:
    return open_picture(Payload(body, content_type), Limits(**limits))


def pixels(body: bytes, target: tuple[int, int] | None = None, **options: Any) -> np.ndarray:
    picture = opened(body)
    return decode_picture(picture, target or picture.size, **options)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def scene(width: int = 64, height: int = 48) -> Image.Image:
    """A picture without symmetry: red left top, green right top, blue below, with noise."""
    noise = np.random.default_rng(7).integers(0, 40, (height, width, 3))
    array = np.zeros((height, width, 3), np.int64)
    array[: height // 2, : width // 3, 0] = 200
    array[: height // 2, width // 3 :, 1] = 200
    array[height // 2 :, :, 2] = 200
    return Image.fromarray((array + noise).astype(np.uint8))


def near(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(left.astype(int) - right.astype(int)).mean())


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}
