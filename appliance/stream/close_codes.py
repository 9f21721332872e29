"""Why a WebSocket was closed, as a number and in words; docs/devices.md has the same table.

From 4400 on the number is that of HTTP plus 4000, so whoever knows one knows the other.
"""

from enum import IntEnum


class CloseCode(IntEnum):
    """What a client is told when the gateway closes."""

    DONE = 1000
    TOO_MANY_FAULTS = 1008
    TOO_LARGE = 1009
    FAILED = 1011
    RESTARTING = 1012
    TRY_AGAIN = 1013
    MALFORMED = 4400
    NO_KEY = 4401
    FORBIDDEN = 4403
    NOT_FOUND = 4404
    KEY_TOO_LATE = 4408
    CONFLICT = 4409
    WRONG_CONTENT = 4422
    TOO_MANY = 4429
    NO_SPACE = 4507


#: What each number means and what a device should do about it.
MEANINGS: dict[CloseCode, str] = {
    CloseCode.DONE: "The stream has ended, as asked.",
    CloseCode.TOO_MANY_FAULTS: "A hundred frames in a row were refused: mend the device.",
    CloseCode.TOO_LARGE: "A frame had more than 1 MiB: send smaller ones.",
    CloseCode.FAILED: "A fault of the appliance: connect again and go on; tell an admin.",
    CloseCode.RESTARTING: "The gateway was stopped: connect again in a few seconds and go on.",
    CloseCode.TRY_AGAIN: "The appliance cannot answer now: connect again later and go on.",
    CloseCode.MALFORMED: "The address has parameters that are not understood.",
    CloseCode.NO_KEY: "The key is missing or not valid: ask an admin for one.",
    CloseCode.FORBIDDEN: "This key may not use this model.",
    CloseCode.NOT_FOUND: "There is no such stream or model, or it is another key's.",
    CloseCode.KEY_TOO_LATE: "The first message, with the key, did not come in time.",
    CloseCode.CONFLICT: "The sequence number is not the next, or the stream has ended:"
    " connect again and look at next_sequence.",
    CloseCode.WRONG_CONTENT: "The parameters of the stream are not valid.",
    CloseCode.TOO_MANY: "Too many connections of this key or address.",
    CloseCode.NO_SPACE: "The appliance's disk is full: an admin has to look.",
}

_BY_STATUS = {
    400: CloseCode.MALFORMED,
    401: CloseCode.NO_KEY,
    403: CloseCode.FORBIDDEN,
    404: CloseCode.NOT_FOUND,
    409: CloseCode.CONFLICT,
    413: CloseCode.TOO_LARGE,
    422: CloseCode.WRONG_CONTENT,
    429: CloseCode.TOO_MANY,
    503: CloseCode.TRY_AGAIN,
    504: CloseCode.TRY_AGAIN,
    507: CloseCode.NO_SPACE,
}
#: RFC 6455 section 5.5: a control frame has at most 125 bytes, two of them the code.
_MOST_REASON_BYTES = 123


class HungUp(Exception):
    """The gateway ends a connection, with a code and words that fit into a close frame."""

    def __init__(self, code: CloseCode, reason: str = "") -> None:
        words = (reason or MEANINGS[code]).encode()[:_MOST_REASON_BYTES]
        super().__init__(words.decode(errors="ignore"))
        self.code = code

    @property
    def reason(self) -> str:
        """The words."""
        return str(self.args[0])


def close_code_of(status: int) -> CloseCode:
    """Given an HTTP status that ends a connection, return its close code."""
    return _BY_STATUS.get(status, CloseCode.FAILED)
