"""What a kept input is: its media type and the end of its name, told by client and bytes."""

from appliance.host.jobs.batch_items import INPUT_TYPES

#: By media type; of two names for one type the shorter is meant.
_SUFFIXES: dict[str, str] = {
    media: suffix for suffix, media in sorted(INPUT_TYPES.items(), key=lambda one: -len(one[0]))
} | {"application/json": ".json", "text/csv": ".csv"}
UNKNOWN = "application/octet-stream"
#: First bytes of pictures (position, bytes, media type), after the WHATWG MIME Sniffing Standard.
_SIGNATURES = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (4, b"ftypavif", "image/avif"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
)
#: So many first bytes are needed to tell.
HEAD_BYTES = 16


def type_of_input(told: str, head: bytes) -> str:
    """Given the media type a client told and an input's first bytes, return what to call it.

    Pictures are what their bytes say; of other types only those that models take are believed.
    """
    for position, signature, media in _SIGNATURES:
        if head[position : position + len(signature)] == signature:
            return media
    is_text = told in _SUFFIXES and not told.startswith("image/")
    return told if is_text else UNKNOWN


def suffix_of(media: str) -> str:
    """Given a media type from `type_of_input`, return the end of a file's name, such as .jpg."""
    return _SUFFIXES.get(media, ".bin")
