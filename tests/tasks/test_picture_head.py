import resource
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from appliance.errors import InvalidInput, PayloadTooLarge, Problem, UnsupportedMedia
from appliance.tasks.pictures import decode_picture
from tests.tasks.picture_files import FORMATS, encoded, exif_of, opened, pixels, scene

# A host switches Pillow's warnings off when it starts (host/nursery.py).
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

MEGABYTE = 1024 * 1024


def test_nothing_is_not_a_picture() -> None:
    with pytest.raises(InvalidInput, match="no bytes"):
        opened(b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_format_that_is_not_allowed_is_refused_by_name(kind: str) -> None:
    others = tuple(name for name in FORMATS if name != kind)
    with pytest.raises(UnsupportedMedia, match="accepted here") as caught:
        opened(encoded(scene(), kind), image_formats=others)
    assert kind in caught.value.detail.split(".")[0]
    assert others[0] in caught.value.detail


def test_a_format_pillow_does_not_know_does_not_break_the_others() -> None:
    body = encoded(scene(), "PNG")
    assert opened(body, image_formats=("JPG", "png")).format == "PNG"


@pytest.mark.parametrize(
    "body", [b"%PDF-1.7 hello", b"<svg xmlns='x'/>", b"PK\3\4" + bytes(40), bytes(65_536), b"x"]
)
def test_what_is_no_picture_is_refused(body: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="Allowed"):
        opened(body)


def test_other_formats_of_pillow_are_refused() -> None:
    for kind in ("ICO", "TGA", "PPM", "PCX", "EPS", "JPEG2000", "ICNS"):
        with pytest.raises(UnsupportedMedia):
            opened(encoded(Image.new("RGB", (16, 16)), kind))


def test_a_git_lfs_pointer_is_told_as_such() -> None:
    with pytest.raises(UnsupportedMedia, match="LFS pointer"):
        opened(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")


def test_trailing_bytes_of_a_polyglot_are_dropped() -> None:
    body = encoded(scene(), "JPEG") + b"PK\3\4" + bytes(1000)
    assert pixels(body).shape == (48, 64, 3)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *chunks: bytes, bits: int = 1) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + chunk(b"IEND", b"")


def tall_jpeg(width: int, height: int) -> bytes:
    """A small JPEG whose header claims to be larger."""
    body = bytearray(encoded(Image.new("RGB", (8, 8)), "JPEG"))
    at = body.index(b"\xff\xc0") + 5
    body[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(body)


BOMBS = {
    "13000 x 13000 of one bit": lambda: png(
        13_000, 13_000, chunk(b"IDAT", zlib.compress(bytes(1626 * 13_000), 9))
    ),
    "60 million x 1": lambda: png(60_000_000, 1, chunk(b"IDAT", zlib.compress(bytes(7_500_001)))),
    "81 megapixels": lambda: png(9000, 9000, chunk(b"IDAT", zlib.compress(bytes(1126 * 9000)))),
    "a JPEG header": lambda: tall_jpeg(60_000, 60_000),
    "a BMP header": lambda: (
        b"BM"
        + struct.pack("<IHHI", 100, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0)
    ),
    "a GIF screen": lambda: b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + bytes(50),
    "a GIF frame far larger than its screen": lambda: (
        b"GIF89a"
        + struct.pack("<HHBBB", 32, 32, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 65_535, 65_535, 65_066, 0)
        + bytes(9)
    ),
    "one side too long": lambda: png(66_000, 2, chunk(b"IDAT", zlib.compress(bytes(16_502)))),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_by_its_header_with_little_memory(bomb: str) -> None:
    """C-113."""
    body = BOMBS[bomb]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    with pytest.raises((PayloadTooLarge, InvalidInput, UnsupportedMedia)) as caught:
        pixels(body, (100, 100))
    assert time.monotonic() - started < 10
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < 64 * MEGABYTE
    if bomb != "a GIF screen":
        assert caught.type is PayloadTooLarge


def test_the_pixel_limit_is_the_configured_one() -> None:
    body = encoded(Image.new("1", (100, 100)), "PNG")
    assert opened(body, image_pixels=10_000).size == (100, 100)
    with pytest.raises(PayloadTooLarge, match="pixels; at most 9,999"):
        opened(body, image_pixels=9_999)


def test_only_the_first_frame_of_a_long_animation_is_decoded() -> None:
    frames = [Image.new("P", (2000, 2000), number) for number in range(12)]
    body = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], optimize=False)
    before = time.process_time()
    assert pixels(body, (64, 64)).shape == (64, 64, 3)
    assert time.process_time() - before < 2


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_compressed_text_bomb_is_refused_or_skipped_with_little_memory(name: bytes) -> None:
    packed = zlib.compress(bytes(100 * MEGABYTE), 9)
    head = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[name]
    body = png(8, 8, chunk(name, head + packed), chunk(b"IDAT", zlib.compress(bytes(16))), bits=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        assert pixels(body).shape == (8, 8, 3)
    except InvalidInput as problem:
        assert "too large" in problem.detail  # noqa: PT017
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 64 * MEGABYTE


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_cut_off_at_any_twentieth_is_invalid(kind: str) -> None:
    # Noise everywhere, so that every byte of the file matters.
    array = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
    body = encoded(Image.fromarray(array), kind)
    for twentieth in range(1, 20):
        cut = body[: len(body) * twentieth // 20]
        with pytest.raises(InvalidInput) as caught:
            pixels(cut)
        assert len(caught.value.detail) > 20


@pytest.mark.parametrize("kind", FORMATS)
def test_no_prefix_of_a_header_raises_anything_but_a_problem(kind: str) -> None:
    body = encoded(scene(), kind)
    for length in range(1, min(len(body), 200)):
        with pytest.raises(Problem):
            pixels(body[:length])


def _example(kind: str) -> bytes:
    options = {"exif": exif_of(6)} if kind not in ("BMP", "GIF") else {}
    return encoded(scene(), kind, **options)


EXAMPLES = {kind: _example(kind) for kind in FORMATS}


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 255)), min_size=1, max_size=30),
    st.floats(0, 1),
)
def test_changed_bytes_give_pixels_or_a_problem(
    kind: str, changes: list[tuple[float, int]], kept: float
) -> None:
    body = bytearray(EXAMPLES[kind])
    for place, value in changes:
        body[int(place * len(body))] = value
    if kept < 0.3:
        del body[int(len(body) * (0.5 + kept)) :]
    try:
        found = decode_picture(opened(bytes(body)), (32, 32))
    except Problem as problem:
        assert problem.status in (413, 415, 422)  # noqa: PT017
    else:
        assert found.shape == (32, 32, 3)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["", *FORMATS]))
def test_random_bytes_give_a_problem(tail: bytes, kind: str) -> None:
    body = (EXAMPLES[kind][:12] if kind else b"") + tail
    with pytest.raises(Problem):
        pixels(body)
