"""Request bodies on their way in: small ones in memory, large ones in the spool, within a budget.

waitress would put every large body into TMPDIR before anyone has looked at the request; here the
bytes count against one budget for all clients and land in the appliance's own state directory.
Inputs of a few megabytes, such as tensors, are received into one block of memory while there is
room for it: by way of a file such a body cost the front 1.5 ms of CPU.
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
#: Inputs up to this size are received in one piece, as long as all of them together are no more
#: than `HELD_BYTES`. Smaller ones than `_LEAST_HELD_BYTES` mostly come in one piece anyway.
MOST_HELD_BYTES = 8 * 1024 * 1024
HELD_BYTES = 32 * 1024 * 1024
_LEAST_HELD_BYTES = 128 * 1024
_STEP_BYTES = 1024 * 1024
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


class Spool:
    """The directory for large bodies and the bytes they may take together, there and in memory.

    Threads: the serving loop takes, it and the workers give back; `_lock` guards the sums.
    """

    def __init__(
        self, directory: Path, most_bytes: int, *, most_held_bytes: int = HELD_BYTES
    ) -> None:
        self.directory = directory
        self._most_bytes = most_bytes
        self._most_held_bytes = most_held_bytes
        self._taken_bytes = 0
        self._held_bytes = 0
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

    def hold(self, count: int) -> bool:
        """Given a count of bytes, return whether they may be held in memory, and reserve them."""
        with self._lock:
            if self._held_bytes + count > self._most_held_bytes:
                return False
            self._held_bytes += count
        return True

    def release(self, count: int) -> None:
        """Given a count that was held, return it to the budget."""
        with self._lock:
            self._held_bytes -= count

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
        is_input: bool = False,
    ) -> None:
        """Given the spool and the declared length, reserve what is known to go to disk.

        Before that `require_room` is asked, which raises when nothing may go there now. The input
        of a prediction, for which somebody waits, is held in memory while there is room for it.
        """
        self._spool = spool
        self._require_room = require_room
        self._chunks: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._length_bytes = 0
        self._taken_bytes = 0
        self._held: BytesIO | None = None
        self._held_bytes = 0
        self._block: memoryview | None = None  # what `_held` holds, until it is read
        if declared_bytes is None:
            return
        if is_input and _LEAST_HELD_BYTES <= declared_bytes <= MOST_HELD_BYTES:
            self._hold(declared_bytes)
        if self._held is None and declared_bytes > MEMORY_BYTES:
            self._take(declared_bytes)

    def _hold(self, count: int) -> None:
        """Make a block of so many bytes, if there is room for it."""
        if self._spool.hold(count):
            self._held_bytes = count
            self._held = BytesIO(bytes(count))
            self._block = self._held.getbuffer()

    @property
    def room(self) -> memoryview | None:
        """Where the next bytes belong, for who can put them there and `grow` the body after that.

        None: they have to be appended.
        """
        return None if self._block is None else self._block[self._length_bytes :]

    def grow(self, count: int) -> None:
        """Given how many bytes were put into `room`, count them in."""
        self._length_bytes += count

    def __len__(self) -> int:
        return self._length_bytes

    def append(self, data: bytes) -> None:
        """Given further bytes, keep them; raise InsufficientStorage or Unavailable."""
        if self._block is not None:
            self._block[self._length_bytes : self._length_bytes + len(data)] = data
            self._length_bytes += len(data)
            return
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
        if self._held is not None:
            self._let_go_of_block()  # as long as somebody holds it, reading is copying
            self._held.seek(0)
            return self._held
        whole = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = [whole]
        return BytesIO(whole)

    def close(self) -> None:
        """Forget the bytes and return what was reserved; may be called again."""
        self._chunks.clear()
        self._let_go_of_block()
        self._held = None
        held, self._held_bytes = self._held_bytes, 0
        if held:
            self._spool.release(held)
        file, self._file = self._file, None
        taken, self._taken_bytes = self._taken_bytes, 0
        if taken:
            self._spool.give_back(taken)
        if file is not None:
            file.close()

    def _let_go_of_block(self) -> None:
        block, self._block = self._block, None
        if block is not None:
            block.release()


class FixedBody:
    """A receiver in waitress' sense for a body of declared length: fed until `completed`."""

    def __init__(self, length_bytes: int, body: Body) -> None:
        self.completed = not length_bytes
        self.error: object = None  # waitress looks at it; faults are raised instead
        self._left_bytes = length_bytes
        self._body = body

    def __len__(self) -> int:
        return len(self._body)

    @property
    def room(self) -> memoryview | None:
        """Where the next bytes may be received, or None: then they are to be fed."""
        return self._body.room

    def filled(self, count: int) -> None:
        """Given how many bytes were received into `room`, count them in."""
        self._body.grow(count)
        self._count(count)

    def received(self, data: bytes) -> int:
        """Given the next bytes of the connection, return how many belong to this body."""
        count = min(len(data), self._left_bytes)
        self._body.append(data if count == len(data) else data[:count])
        self._count(count)
        return count

    def _count(self, count: int) -> None:
        self._left_bytes -= count
        self.completed = not self._left_bytes

    def getfile(self) -> IO[bytes]:
        """Return the body as a file."""
        return self._body.getfile()

    def getbuf(self) -> Body:
        """Return the buffer behind it."""
        return self._body


def _write_all(file: IO[bytes], data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
