"""Is a transfer still fast enough? Judged by windows, so that an old burst excuses no stall."""


class Pace:
    """The speed of one connection's current transfer.

    Threads: only the serving loop.
    """

    def __init__(self) -> None:
        self._transfer = ""
        self._since = 0.0
        self._bytes = 0

    def is_too_slow(
        self, transfer: str, total_bytes: int, now: float, *, window_seconds: float, rate: float
    ) -> bool:
        """Given what is being moved and how many bytes of it so far, judge each full window.

        `rate` is in bytes per second; the first call for another transfer only opens a window.
        """
        if transfer != self._transfer:
            self._transfer, self._since, self._bytes = transfer, now, total_bytes
            return False
        elapsed = now - self._since
        if elapsed < window_seconds:
            return False
        moved, self._since, self._bytes = total_bytes - self._bytes, now, total_bytes
        return moved < rate * elapsed

    def forget(self) -> None:
        """Start anew with the next transfer."""
        self._transfer = ""
