"""A backup of which a few bytes have changed where it matters."""

import struct
import zipfile
from pathlib import Path

from appliance.store.archive import DATABASE_MEMBER

# Where a member's own header has the lengths of its name and of its extra field, and where the
# header's fixed part ends (PKWARE's APPNOTE 4.3.7).
_LENGTHS_AT, _FIXED_BYTES = 26, 30


def let_rot(path: Path) -> None:
    """Given a backup, invert 64 bytes in the middle of its packed database.

    Elsewhere they might hit a date or an attribute, which say nothing of what was saved; and one
    flipped bit may point at another run of the same zeros, which unpacks to the same database.
    """
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(DATABASE_MEMBER)
    content = bytearray(path.read_bytes())
    lengths = struct.unpack_from("<HH", content, member.header_offset + _LENGTHS_AT)
    begin = member.header_offset + _FIXED_BYTES + sum(lengths)
    middle = begin + member.compress_size // 2
    content[middle : middle + 64] = bytes(each ^ 0xFF for each in content[middle : middle + 64])
    path.write_bytes(content)
