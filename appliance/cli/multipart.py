"""A form with files, sent piece by piece: none of them is ever whole in memory."""

import mimetypes
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

_PIECE_BYTES = 256 * 1024


class Form:
    """Files under the names that the appliance sees, as multipart/form-data (RFC 7578)."""

    def __init__(self, files: Sequence[tuple[str, Path]]) -> None:
        self._boundary = secrets.token_hex(16)
        self._files = [(self._head(name), path) for name, path in files]
        self._tail = f"--{self._boundary}--\r\n".encode()

    @property
    def content_type(self) -> str:
        """The form's media type."""
        return f"multipart/form-data; boundary={self._boundary}"

    @property
    def size_bytes(self) -> int:
        """The form's length."""
        sizes = (len(head) + path.stat().st_size + 2 for head, path in self._files)
        return sum(sizes) + len(self._tail)

    def pieces(self) -> Iterator[bytes]:
        """Yield the form's bytes, once."""
        for head, path in self._files:
            yield head
            with path.open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    yield piece
            yield b"\r\n"
        yield self._tail

    def _head(self, name: str) -> bytes:
        shown = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return (
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="files";'
            f' filename="{shown}"\r\nContent-Type: {kind}\r\n\r\n'
        ).encode("utf-8", "surrogateescape")
