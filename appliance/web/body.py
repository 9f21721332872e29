"""Request bodies on their way in: small ones in memory, large ones in the spool, within a budget.

waitress would put every large body into TMPDIR before anyone has looked at the request; here the
bytes count against one budget for all clients and land in the appliance's own state directory.
"""

import errno
import tempfile
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO

from appliance.errors import InsufficientStorage, Unavailable

#: Bodies up to this size stay in memory.
MEMORY_BYTES = 512 * 1024
_STEP_BYTES = 1024 * 1024
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


class Spool:
    """The directory for large bodies and the bytes they may take together.

    Threads: the serving loop takes, it and the workers give back; `_lock` guards the sum.
    """

    def __init__(self, directory: Path, most_bytes: int) -> None:
        self.directory = directory
        self._most_bytes = most_bytes
        self._taken_bytes = 0
        self._lock = threading.Lock()

    @property
    def taken_bytes(self) -> int:
        """Return the bytes promised to bodies now."""
        return self._taken_bytes

    def take(self, count: int) -> None:
        """Given a count of bytes, reserve them.

        Raise InsufficientStorage when the spool can never hold them, Unavailable when not now.
        """
        if count > self._most_bytes:
            raise InsufficientStorage(
                f"The spool for uploads holds {self._most_bytes} bytes (limits.spool_bytes); this"
                " request needs more."
            )
        with self._lock:
            if self._taken_bytes + count > self._most_bytes:
                raise Unavailable("The spool for uploads is full; send this again in a moment.")
            self._taken_bytes += count

    def give_back(self, count: int) -> None:
        """Given a count taken before, return it to the budget."""
        with self._lock:
            self._taken_bytes -= count

    def open(self) -> IO[bytes]:
        """Return a new file without a name, so that not even a power cut leaves one behind.

        Raise InsufficientStorage or Unavailable when there can be none.
        """
        try:
            return tempfile.TemporaryFile("w+b", buffering=0, dir=self.directory)
        except OSError as fault:
            raise problem_of(fault) from fault


def problem_of(fault: OSError) -> InsufficientStorage | Unavailable:
    """Given what the operating system said while spooling, return what to tell the client."""
    if fault.errno in _NO_SPACE:
        return InsufficientStorage(
            "The disk that holds uploads is full; free space or send smaller inputs."
        )
    return Unavailable(f"The upload could not be stored just now ({fault.strerror}); try again.")


class Body:
    """The bytes of one request, in the order they came; the buffer that waitress' receivers fill.

    Threads: the serving loop appends; after the request is complete one worker reads and closes.
    """

    def __init__(
        self,
        spool: Spool,
        declared_bytes: int | None = None,
        *,
        require_room: Callable[[], None] | None = None,
    ) -> None:
        """Given the spool and the declared length, reserve what is known to go to disk.

        Before that `require_room` is asked, which raises when nothing may go there now.
        """
        self._spool = spool
        self._require_room = require_room
        self._chunks: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._length_bytes = 0
        self._taken_bytes = 0
        if declared_bytes is not None and declared_bytes > MEMORY_BYTES:
            self._take(declared_bytes)

    def __len__(self) -> int:
        return self._length_bytes

    def append(self, data: bytes) -> None:
        """Given further bytes, keep them; raise InsufficientStorage or Unavailable."""
        self._length_bytes += len(data)
        if self._file is None:
            self._chunks.append(data)
            if self._length_bytes <= MEMORY_BYTES:
                return
            self._take_up_to(self._length_bytes)
            self._file = self._spool.open()
            data = b"".join(self._chunks)
            self._chunks.clear()
        self._take_up_to(self._length_bytes)
        try:
            _write_all(self._file, data)
        except OSError as fault:
            raise problem_of(fault) from fault

    def _take_up_to(self, count: int) -> None:
        while self._taken_bytes < count:
            self._take(_STEP_BYTES)

    def _take(self, count: int) -> None:
        if self._require_room is not None and not self._taken_bytes:
            self._require_room()
        self._spool.take(count)
        self._taken_bytes += count

    def getfile(self) -> IO[bytes]:
        """Return the whole body as a file at its beginning; the name is waitress' own."""
        if self._file is not None:
            self._file.seek(0)
            return self._file
        whole = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = [whole]
        return BytesIO(whole)

    def close(self) -> None:
        """Forget the bytes and return what was reserved; may be called again."""
        self._chunks.clear()
        file, self._file = self._file, None
        taken, self._taken_bytes = self._taken_bytes, 0
        if taken:
            self._spool.give_back(taken)
        if file is not None:
            file.close()


def _write_all(file: IO[bytes], data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
