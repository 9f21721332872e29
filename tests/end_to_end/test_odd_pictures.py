"""Pillow's own odd pictures through the whole of the appliance (reliability test 17).

Turned, cut off, fuzzed, huge when unpacked, with broken metadata: each is answered or refused in
words, three times, and the model's process is the same one afterwards.
"""

import mimetypes
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.running import ROOT, Running

ODD = ROOT.parent / "shared" / "data" / "images-odd"
TYPES = {".jpf": "image/jp2", ".webp": "image/webp", ".avif": "image/avif", ".jp2": "image/jp2"}
REFUSALS = {
    413: {"payload-too-large"},
    415: {"unsupported-media"},
    422: {"invalid-input"},
}
#: Address space is bounded far above; this is what decoding may really take (R16).
MOST_HOST_BYTES = 512 * 1024 * 1024


def _pictures() -> list[Path]:
    return sorted(path for path in ODD.iterdir() if path.name not in ("LICENSE", "README.md"))


def _peak_bytes(process_id: int) -> int:
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


@pytest.mark.skipif(not ODD.is_dir(), reason="../shared/data/images-odd is not on this machine")
def test_c17_no_odd_picture_breaks_anything(
    appliance: Running, record_property: Callable[[str, object], None]
) -> None:
    host = appliance.host_process_id()
    front = appliance.process.pid
    assert host is not None
    counted: Counter[int] = Counter()
    for path in _pictures():
        media = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "image/x-unknown"
        body = path.read_bytes()
        answers = [appliance.predict(body, content_type=media) for _ in range(3)]
        (status,) = {answer.status for answer in answers}
        counted[status] += 1
        for answer in answers:
            if status != 200:
                assert answer.problem in REFUSALS[status], (path.name, answer)
    record_property("answers", dict(counted))
    assert counted[200]
    assert counted[413] + counted[415] + counted[422]
    assert appliance.host_process_id() == host, "the host died on the way"
    assert appliance.process.pid == front
    assert _peak_bytes(host) < MOST_HOST_BYTES
