from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from appliance.errors import InvalidInput, Problem, UnsupportedMedia
from appliance.tasks.pictures import decode_picture, placed, upright_for, upright_rgb
from appliance.tasks.placement import Placement
from tests.tasks.picture_files import FORMATS, TURNS, encoded, exif_of, near, opened, pixels, scene

# A host switches Pillow's warnings off when it starts (host/nursery.py).
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

ODD = Path(__file__).parents[3] / "shared" / "data" / "images-odd"


# What is decoded


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_upright_rgb_pixels(kind: str) -> None:
    found = pixels(encoded(scene(), kind))
    assert found.shape == (48, 64, 3)
    assert found.dtype == np.uint8
    # GIF has 256 colours, JPEG and AVIF lose a little.
    assert near(found, np.asarray(scene())) < 15


@pytest.mark.parametrize("kind", FORMATS)
def test_only_the_content_says_which_format_it_is(kind: str) -> None:
    body = encoded(scene(), kind)
    for content_type in ("image/x-something", "application/octet-stream", ""):
        assert opened(body, content_type=content_type).format == kind


def test_a_media_type_that_is_no_picture_is_refused() -> None:
    with pytest.raises(UnsupportedMedia, match="application/json is not a picture"):
        opened(encoded(scene(), "PNG"), content_type="application/json")


def test_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        body = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert pixels(body)[4, 4].tolist() == [255, 0, 0] or kind == "WEBP"
        assert near(pixels(body), np.full((8, 8, 3), [255, 0, 0])) < 3


# Upright by EXIF


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_every_exif_orientation_gives_the_same_upright_picture(
    kind: str, orientation: int
) -> None:
    upright = np.asarray(scene())
    stored = Image.fromarray(np.ascontiguousarray(TURNS[orientation](upright)))
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    body = encoded(stored, kind, exif=exif_of(orientation), **options)
    found = pixels(body, (64, 48))
    assert near(found, upright) < 15


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_turned_jpeg_is_decoded_reduced_and_upright(orientation: int) -> None:
    upright = scene(1600, 1200)
    stored = Image.fromarray(np.ascontiguousarray(TURNS[orientation](np.asarray(upright))))
    body = encoded(stored, "JPEG", exif=exif_of(orientation))
    picture = opened(body)
    found = decode_picture(picture, (100, 75))
    assert max(picture.size) <= 400
    assert near(found, np.asarray(upright.resize((100, 75)))) < 6


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"junk" * 50])
def test_exif_that_cannot_be_read_is_ignored(exif: bytes) -> None:
    assert pixels(encoded(scene(), "JPEG", exif=exif)).shape == (48, 64, 3)


@pytest.mark.parametrize("orientation", [0, 9, 200])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    body = encoded(scene(), "PNG", exif=exif_of(orientation))
    assert near(pixels(body), np.asarray(scene())) == 0


# Colours, by the stated rules


def test_cmyk_becomes_rgb() -> None:
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert near(pixels(encoded(cmyk, "TIFF")), np.full((8, 8, 3), [255, 0, 0])) == 0
    assert near(pixels(encoded(cmyk, "JPEG", quality=95)), np.full((8, 8, 3), [255, 0, 0])) < 6


def test_transparency_is_laid_on_white() -> None:
    half = Image.new("RGBA", (4, 4), (0, 0, 255, 128))
    for kind in ("PNG", "WEBP", "TIFF"):
        body = encoded(half, kind, **({"lossless": True} if kind == "WEBP" else {}))
        assert near(pixels(body), np.full((4, 4, 3), [127, 127, 255])) <= 1
    nothing = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert pixels(encoded(nothing, "PNG")).tolist() == [[[255, 255, 255]] * 4] * 4


def test_grey_with_transparency_is_laid_on_white() -> None:
    body = encoded(Image.new("LA", (4, 4), (0, 128)), "PNG")
    assert near(pixels(body), np.full((4, 4, 3), 127)) <= 1


def test_a_palette_with_a_transparent_colour_is_laid_on_white() -> None:
    paletted = Image.new("P", (4, 4), 1)
    paletted.putpalette([10, 20, 30, 200, 0, 0])
    assert pixels(encoded(paletted, "PNG"))[0, 0].tolist() == [200, 0, 0]
    for kind in ("PNG", "GIF"):
        assert pixels(encoded(paletted, kind, transparency=1))[0, 0].tolist() == [255] * 3


def test_one_transparent_colour_of_rgb_or_grey_is_laid_on_white() -> None:
    red = encoded(Image.new("RGB", (4, 4), (200, 0, 0)), "PNG", transparency=(200, 0, 0))
    assert pixels(red)[0, 0].tolist() == [255, 255, 255]
    grey = encoded(Image.new("L", (4, 4), 9), "PNG", transparency=9)
    assert pixels(grey)[0, 0].tolist() == [255, 255, 255]


def test_one_bit_and_grey_become_rgb() -> None:
    bits = Image.new("1", (4, 4), 1)
    for kind in ("PNG", "TIFF", "BMP"):
        assert pixels(encoded(bits, kind))[0, 0].tolist() == [255, 255, 255]
    assert pixels(encoded(Image.new("L", (4, 4), 77), "PNG"))[0, 0].tolist() == [77, 77, 77]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_divided_by_257(kind: str) -> None:
    values = np.array([[0, 257, 12_850, 65_535]], np.uint16)
    found = pixels(encoded(Image.fromarray(values), kind))
    assert found[0, :, 0].tolist() == [0, 1, 50, 255]
    assert (found[..., 0] == found[..., 2]).all()


def test_floating_point_is_stretched_from_its_own_darkest_to_its_brightest() -> None:
    values = np.array([[-1.0, 0.0, 1.0, 3.0]], np.float32)
    found = pixels(encoded(Image.fromarray(values), "TIFF"))
    assert found[0, :, 0].tolist() == [0, 64, 128, 255]


@pytest.mark.parametrize(
    "values", [[np.nan, 1, 2, 3], [np.inf, -np.inf, 0, 1], [3e38, -3e38, 0, 1], [5, 5, 5, 5]]
)
def test_impossible_floating_point_values_still_give_pixels(values: list[float]) -> None:
    body = encoded(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert pixels(body).shape == (1, 4, 3)


def test_wide_grey_is_stretched() -> None:
    values = np.array([[0, 1_000_000, 2_500_000]], np.int32)
    found = pixels(encoded(Image.fromarray(values), "TIFF"))
    assert found[0, :, 0].tolist() == [0, 102, 255]


# Size


def test_a_jpeg_for_a_small_model_is_decoded_reduced_with_nearly_the_same_result() -> None:
    body = encoded(scene(2000, 1500), "JPEG")
    reduced = opened(body)
    found = decode_picture(reduced, (100, 75))
    assert reduced.size == (250, 188)
    whole = upright_rgb(opened(body)).resize((100, 75), Image.Resampling.BILINEAR)
    assert near(found, np.asarray(whole)) < 2


def test_a_reduced_picture_is_never_smaller_than_the_target() -> None:
    for target in ((250, 188), (251, 188), (500, 10), (10, 375), (2000, 1500), (3000, 3000)):
        picture = opened(encoded(scene(2000, 1500), "JPEG", quality=30))
        assert decode_picture(picture, target).shape == (target[1], target[0], 3)
        assert picture.size[0] >= min(2000, target[0])
        assert picture.size[1] >= min(1500, target[1])


def test_a_crop_looks_at_that_part_of_the_upright_picture() -> None:
    body = encoded(scene(), "PNG")
    found = pixels(body, (8, 8), crop=(30, 2, 16, 16))
    assert found[4, 4, 1] > 150 > found[4, 4, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_crop_counts_from_the_corner_of_the_upright_picture(orientation: int) -> None:
    stored = Image.fromarray(np.ascontiguousarray(TURNS[orientation](np.asarray(scene()))))
    body = encoded(stored, "PNG", exif=exif_of(orientation))
    found = pixels(body, (12, 10), crop=(2, 3, 12, 10))
    assert near(found, np.asarray(scene())[3:13, 2:14]) == 0


@pytest.mark.parametrize(
    "crop", [(0, 0, 65, 1), (60, 40, 5, 8), (64, 0, 1, 1), (0, 48, 1, 1), (2**70, 0, 1, 1)]
)
def test_a_crop_outside_the_picture_is_refused(crop: tuple[int, int, int, int]) -> None:
    with pytest.raises(InvalidInput, match="64×48") as caught:
        pixels(encoded(scene(), "PNG"), (8, 8), crop=crop)
    assert caught.value.errors[0].pointer == "/query/crop"


@pytest.mark.parametrize("crop", [(-1, 0, 8, 8), (0, 0, 0, 8), (0, 0, 8, -8)])
def test_a_crop_without_size_is_refused(crop: tuple[int, int, int, int]) -> None:
    with pytest.raises(InvalidInput, match="≥ 1"):
        pixels(encoded(scene(), "PNG"), (8, 8), crop=crop)


def test_resize_crop_takes_the_middle_at_the_targets_aspect_ratio() -> None:
    stripes = np.zeros((10, 30, 3), np.uint8)
    stripes[:, 10:20, 0] = 255
    found = pixels(encoded(Image.fromarray(stripes), "PNG"), (10, 10), resize="crop")
    assert (found[..., 0] == 255).all()


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.tuples(st.integers(1, 333), st.integers(1, 333)),
    st.sampled_from(["stretch", "crop", "letterbox"]),
    st.booleans(),
)
def test_every_size_fits_every_target(
    size: tuple[int, int], target: tuple[int, int], resize: str, cropped: bool
) -> None:
    picture = Image.new("RGB", size, (9, 9, 9))
    crop = (size[0] // 3, size[1] // 3, 1 + size[0] // 2, 1 + size[1] // 2) if cropped else None
    if crop and (crop[0] + crop[2] > size[0] or crop[1] + crop[3] > size[1]):
        crop = None
    found = decode_picture(picture, target, resize=resize, crop=crop, pad_value=9)
    assert found.shape == (target[1], target[0], 3)
    assert (found == 9).all()


def test_letterbox_shows_the_whole_picture_in_the_middle() -> None:
    body = encoded(Image.new("RGB", (40, 20), (255, 0, 0)), "PNG")
    found = pixels(body, (20, 20), resize="letterbox", pad_value=114)
    assert found[:5].tolist() == [[[114] * 3] * 20] * 5
    assert found[15:].tolist() == [[[114] * 3] * 20] * 5
    assert (found[5:15] == [255, 0, 0]).all()


def test_letterbox_holds_the_picture_in_the_corner_where_the_manifest_says_so() -> None:
    body = encoded(Image.new("RGB", (40, 20), (255, 0, 0)), "PNG")
    found = pixels(body, (20, 20), resize="letterbox", pad_value=7, pad_position="top-left")
    assert (found[:10] == [255, 0, 0]).all()
    assert (found[10:] == 7).all()


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_picture_is_reduced_while_decoding_where_its_format_can(form: str) -> None:
    asked: list[tuple[int, int]] = []

    def needed(full: tuple[int, int]) -> tuple[int, int]:
        asked.append(full)
        return (100, 50)

    body = encoded(scene(800, 400), form, exif=exif_of(6))
    upright, full = upright_for(opened(body), needed)
    assert full == (400, 800)
    assert upright.size == ((100, 200) if form == "JPEG" else (400, 800))
    assert asked == ([(400, 800)] if form == "JPEG" else [])
    whole = placed(opened(encoded(scene(800, 400), "PNG")), WHOLE, (80, 40))
    less = placed(
        upright_for(opened(encoded(scene(800, 400), "JPEG")), lambda full: (200, 100))[0],
        WHOLE,
        (80, 40),
        reduced_by=4,
    )
    assert near(whole, less) < 8


WHOLE = Placement((0, 0, 800, 400), (80, 40))


# Other people's odd pictures

odd_only = pytest.mark.skipif(
    not ODD.is_dir(), reason="../shared/data/images-odd is not on this machine"
)


@odd_only
def test_every_odd_picture_gives_pixels_or_a_problem_that_names_the_fault() -> None:
    paths = sorted(ODD.iterdir())
    assert len(paths) > 70
    decoded = 0
    for path in paths:
        try:
            found = decode_picture(opened(path.read_bytes()), (64, 64))
        except Problem as problem:
            assert problem.status in (413, 415, 422), path.name  # noqa: PT017
            assert problem.detail.endswith("."), path.name  # noqa: PT017
        else:
            assert found.shape == (64, 64, 3)
            decoded += 1
    assert decoded >= 50


@odd_only
@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_the_turned_hoppers_agree(suffix: str) -> None:
    paths = sorted(ODD.glob(f"hopper_orientation_*.{suffix}"))
    assert len(paths) > 3
    first, *others = (decode_picture(opened(path.read_bytes()), (64, 64)) for path in paths)
    for other in others:
        assert near(first, other) < 12


@odd_only
def test_the_turned_faxes_agree() -> None:
    paths = [ODD / f"g4_orientation_{number}.tif" for number in (1, 3, 4, 5)]
    first, *others = (decode_picture(opened(path.read_bytes()), (590, 88)) for path in paths)
    for other in others:
        assert near(first, other) < 1
