"""What a kept input is called: pictures by their bytes, the rest only where models take it."""

import pytest

from appliance.actions.input_types import suffix_of, type_of_input


@pytest.mark.parametrize(
    ("told", "head", "media", "suffix"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n", "image/png", ".png"),
        ("", b"\xff\xd8\xff\xe0", "image/jpeg", ".jpg"),
        ("application/octet-stream", b"RIFF1234WEBPVP8 ", "image/webp", ".webp"),
        ("application/octet-stream", b"\0\0\0\x1cftypavif", "image/avif", ".avif"),
        ("image/tiff", b"II*\0", "image/tiff", ".tif"),
        ("text/html", b"<script>", "application/octet-stream", ".bin"),
        ("image/svg+xml", b"<svg>", "application/octet-stream", ".bin"),
        ("image/png", b"<html>", "application/octet-stream", ".bin"),
        ("text/plain", b"hello", "text/plain", ".txt"),
        ("application/json", b"{}", "application/json", ".json"),
        ("text/csv", b"a,b", "text/csv", ".csv"),
        ("image/bmp", b"BM12", "image/bmp", ".bmp"),
    ],
)
def test_a_type_is_believed_only_as_far_as_the_bytes_say_it(
    told: str, head: bytes, media: str, suffix: str
) -> None:
    assert type_of_input(told, head) == media
    assert suffix_of(media) == suffix
