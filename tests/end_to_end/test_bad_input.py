"""No input yields a 500, and every refusal is a whole problem: group A of the catalogue."""

import gzip
import io
import json
import random
from typing import Any

import pytest
from PIL import Image

from tests.end_to_end.running import Answer, Running
from tests.tiny_models import picture

JSON = "application/json"
STEPS = "step-detector"
READING = {"t": 0.0, "ax": 0.1, "ay": 0.2, "az": 9.8}
BOUNDARY = "a-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


@pytest.fixture(autouse=True)
def served_on(appliance: Running) -> Any:
    """Whatever a test sends, the process is the same one afterwards and has failed at nothing."""
    failed = appliance.metric("inference_appliance_requests_total", status="500")
    restarted = appliance.metric("inference_appliance_host_restarts_total")
    yield
    assert appliance.process.poll() is None
    assert appliance.metric("inference_appliance_requests_total", status="500") == failed
    assert appliance.metric("inference_appliance_host_restarts_total") == restarted
    assert appliance.predict(picture()).status == 200


def key_request(appliance: Running, body: bytes, content_type: str = JSON) -> Answer:
    return appliance.call("POST", "/api/v1/keys", body, headers={"Content-Type": content_type})


def readings(appliance: Running, body: bytes, content_type: str = JSON) -> Answer:
    return appliance.predict(body, model=STEPS, content_type=content_type)


def part(head: bytes, body: bytes, *, is_closed: bool = True) -> bytes:
    end = f"--{BOUNDARY}--\r\n".encode() if is_closed else b""
    return f"--{BOUNDARY}\r\n".encode() + head + b"\r\n\r\n" + body + b"\r\n" + end


def form(appliance: Running, body: bytes, content_type: str = FORM, **more: Any) -> Answer:
    return appliance.predict(body, content_type=content_type, **more)


FILE = (
    b'Content-Disposition: form-data; name="file"; filename="car.png"\r\nContent-Type: image/png'
)


@pytest.mark.parametrize("deep", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000])
def test_c1_deep_json_is_refused(appliance: Running, deep: bytes) -> None:
    for body in (deep, b'{"name":' + deep + b"}"):
        assert key_request(appliance, body).status in (400, 422)
        assert readings(appliance, body).status in (400, 422)
    body = b'{"inputs":[],"parameters":{"a":' + deep + b"}}"
    assert appliance.post_json("/v2/models/colour/infer", body).status == 400


@pytest.mark.parametrize("field", ["name", "role"])
def test_c2_a_lone_surrogate_is_no_text(appliance: Running, field: str) -> None:
    value = {"name": "x", "role": "device", field: "SURROGATE"}
    body = json.dumps(value).replace("SURROGATE", "\\ud800").encode()
    answer = key_request(appliance, body)
    assert answer.status in (400, 422)
    assert answer.problem


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_c3_numbers_that_are_none_are_refused_and_never_sent(
    appliance: Running, number: str
) -> None:
    body = json.dumps({"readings": [READING]}).replace("9.8", number).encode()
    answer = readings(appliance, body)
    assert answer.status in (400, 422)
    assert b"NaN" not in answer.body.replace(b"NaN is", b"")
    assert key_request(appliance, b'{"name": %s}' % number.encode()).status in (400, 422)


@pytest.mark.parametrize("number", [2**70, 2**63, -(2**63) - 1])
def test_c4_integers_beyond_what_can_be_kept_are_refused(appliance: Running, number: int) -> None:
    answer = appliance.post_json("/api/v1/keys", {"name": "n", "expires_in_days": number})
    assert answer.problem == "invalid-input"
    for query in (f"version={number}", f"limit={number}"):
        assert appliance.get(f"/api/v1/predictions?{query}").problem == "invalid-input"


def test_c5_long_numbers_duplicate_keys_and_scalars_are_refused(appliance: Running) -> None:
    long = readings(appliance, b'{"t":[' + b"9" * 5000 + b'],"ax":[1],"ay":[1],"az":[1]}')
    assert long.status in (400, 422)
    twice = key_request(appliance, b'{"name":"a","name":"b","role":"device"}')
    assert twice.problem == "malformed-request"
    for scalar in (b"5", b'"text"', b"null", b"true", b"[]"):
        assert key_request(appliance, scalar).problem == "invalid-input"
        assert readings(appliance, scalar).problem == "invalid-input"


@pytest.mark.parametrize(
    "body",
    [
        '{"name":"x"}'.encode("utf-16"),
        b"\xef\xbb\xbf" + b'{"name":"x"}',
        b'{"name":"\xff\xfe"}',
        b'{"name":"\xed\xa0\x80"}',
    ],
)
def test_c6_json_that_is_not_plain_utf8_is_malformed(appliance: Running, body: bytes) -> None:
    assert key_request(appliance, body).problem == "malformed-request"


def test_c7_zero_characters_are_refused(appliance: Running) -> None:
    answer = key_request(appliance, b'{"name":"a\\u0000b","role":"device"}')
    assert answer.problem == "invalid-input"
    for path in ("/api/v1/models/a%00b", "/api/v1/keys/%00", "/live%00"):
        assert appliance.get(path).status in (400, 404)
    assert appliance.get("/api/v1/predictions?label=a%00b").status in (400, 422)


@pytest.mark.parametrize("content_type", ["", "garbage", "text/plain; charset=klingon", "a/b/c"])
def test_c8_json_needs_its_content_type(appliance: Running, content_type: str) -> None:
    answer = key_request(appliance, b'{"name":"x","role":"device"}', content_type)
    assert answer.problem == "unsupported-media"


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; name="\xff\xfe"',
        b'Content-Disposition: form-data; name="file"\r\nContent-Type: \xc3\xa9/x',
        b'Content-Disposition: form-data; name="file"\r\nContent-Type: image',
        b"Content-Disposition: form-data",
        b"Content-Disposition: \xe9",
        b"no colon here",
        b"",
    ],
)
def test_c9_part_headers_that_make_no_sense_are_refused(appliance: Running, head: bytes) -> None:
    answer = form(appliance, part(head, picture()))
    assert answer.status in (400, 415, 422)
    assert answer.problem


def test_c10_a_form_without_a_length_is_refused(appliance: Running) -> None:
    answer = form(appliance, b"")
    assert answer.status in (400, 411, 422)
    assert answer.problem
    chunked = appliance.call(
        "POST",
        "/api/v1/models/colour/predict",
        iter([part(FILE, picture())]),  # type: ignore[arg-type]
        headers={"Content-Type": FORM, "Transfer-Encoding": "chunked"},
    )
    assert chunked.status in (200, 400, 411)


def test_c11_forms_that_are_too_much_or_too_little_are_refused(appliance: Running) -> None:
    many = b"".join(part(FILE, b"x", is_closed=False) for _ in range(65)) + part(FILE, b"x")
    long = part(FILE + b"\r\nX-Long: " + b"a" * 8193, picture())
    for body, content_type in (
        (many, FORM),
        (long, FORM),
        (part(FILE, picture()), "multipart/form-data"),
        (part(FILE, picture()), "multipart/form-data; boundary="),
        (part(FILE, picture()), "multipart/form-data; boundary=" + "b" * 500),
    ):
        answer = form(appliance, body, content_type)
        assert answer.status in (400, 415, 422), answer
        assert answer.problem


def test_c11_a_form_cut_anywhere_is_refused(appliance: Running) -> None:
    whole = part(FILE, picture(size=64))
    assert form(appliance, whole).status == 200
    for end in range(0, len(whole) - 8, max(1, len(whole) // 40)):
        answer = form(appliance, whole[:end])
        assert answer.status in (400, 422), (end, answer)
        assert answer.problem


@pytest.mark.parametrize(
    "name",
    ["../../etc/x", "C:\\x", "n" * 3000, "evil\u202egnp.exe", "", "a%00b", "=cmd|' /C calc'!A0"],
)
def test_c12_a_file_may_be_called_anything(appliance: Running, name: str) -> None:
    head = f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'
    answer = form(appliance, part(head.encode() + b"Content-Type: image/png", picture()))
    assert answer.status == 200
    guide = appliance.call(
        "POST",
        "/api/vehicle/classify",
        part(head.encode() + b"Content-Type: image/png", picture()),
        headers={"Content-Type": FORM},
    )
    assert guide.status == 200
    assert len(guide.json()["data"]["image_path"]) <= 255


@pytest.mark.parametrize("body", [b"", bytes(range(256)) * 256])
def test_c13_bytes_that_are_nothing_are_refused_with_a_reason(
    appliance: Running, body: bytes
) -> None:
    assert appliance.predict(body).problem in ("invalid-input", "unsupported-media")
    for content_type in ("text/csv", JSON, "application/octet-stream"):
        assert readings(appliance, body, content_type).status in (400, 415, 422)


def noise(kind: str) -> bytes:
    """A picture that cannot be packed: in a plain one the last bytes hold no pixels."""
    buffer = io.BytesIO()
    pixels = random.Random(1).randbytes(96 * 96 * 3)
    Image.frombytes("RGB", (96, 96), pixels).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_c14_a_picture_cut_anywhere_is_refused(appliance: Running, kind: str) -> None:
    whole = noise(kind)
    for twentieth in range(1, 20):
        answer = appliance.predict(whole[: len(whole) * twentieth // 20])
        assert answer.status in (415, 422), (twentieth, answer)
        assert answer.problem


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_c17_spoilt_pictures_end_no_process(appliance: Running, kind: str) -> None:
    """Stands in for Pillow's own corpus of crashers, which is not part of its package."""
    dice = random.Random(kind)
    host = appliance.host_process_id()
    for _ in range(25):
        spoilt = bytearray(noise(kind))
        for _ in range(dice.randint(1, 8)):
            # Headers are near the beginning, and there the strangest things happen.
            spoilt[dice.randrange(dice.choice((64, 512, len(spoilt))))] = dice.randrange(256)
        assert appliance.predict(bytes(spoilt)).status in (200, 413, 415, 422)
    assert appliance.host_process_id() == host


def test_c15_the_content_decides_what_a_picture_is(appliance: Running) -> None:
    jpeg = picture("blue", format="JPEG")
    for body in (jpeg, jpeg + b"PK\x03\x04 and an archive behind it"):
        answer = appliance.predict(body, content_type="image/png")
        assert answer.json()["result"]["predictions"][0]["label"] == "blue"


@pytest.mark.parametrize(
    "body",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"8BPS\x00\x01" + bytes(60),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x00\x00\x01\x00\x01\x00" + bytes(60),
        b"\x89HDF\r\n\x1a\n" + bytes(60),
        b"%PDF-1.7\n",
    ],
)
def test_c16_other_kinds_of_picture_are_not_opened(appliance: Running, body: bytes) -> None:
    assert appliance.predict(body).problem == "unsupported-media"


def tensors(**changed: Any) -> dict[str, Any]:
    whole = {"name": "image", "shape": [1, 3, 8, 8], "datatype": "FP32", "data": [0.5] * 192}
    return {"inputs": [{**whole, **changed}]}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": []},
        tensors(shape=[1, 3, 8]),
        tensors(shape=[-1, 3, 8, 8]),
        tensors(shape=[1_000_000, 3, 8, 8]),
        tensors(shape=[0, 3, 8, 8], data=[]),
        tensors(shape=[2**40, 2**40]),
        tensors(datatype="FP64"),
        tensors(datatype="FP31"),
        tensors(name="other"),
        tensors(data=[0.5] * 191),
        tensors(data=["x"] * 192),
        tensors(data=None),
        {"inputs": tensors()["inputs"] * 2},
        {**tensors(), "outputs": [{"name": "no-such-output"}]},
    ],
)
def test_c18_tensors_that_do_not_fit_are_refused(appliance: Running, body: dict[str, Any]) -> None:
    answer = appliance.post_json("/v2/models/colour/infer", body)
    assert answer.status in (400, 413)
    assert answer.json()["error"]
    assert appliance.post_json("/v2/models/colour/infer", tensors()).status == 200


@pytest.mark.parametrize(
    "label", ["x" * 200, "Größe 🚚 \u200d", "e\u0301\u0301", "\u202e", "'; drop table keys; --"]
)
def test_c22_text_of_any_script_goes_in_and_comes_back(appliance: Running, label: str) -> None:
    issued = appliance.post_json("/api/v1/keys", {"name": label[:60], "role": "device"})
    if issued.status == 201:
        key_id = issued.json()["id"]
        assert appliance.get(f"/api/v1/keys/{key_id}").json()["name"] == label[:60]
        assert appliance.call("DELETE", f"/api/v1/keys/{key_id}").status == 204
    else:
        assert issued.problem == "invalid-input"


@pytest.mark.parametrize("method", ["PUT", "TRACE", "FOO", "PATCH", "CONNECT"])
def test_c23_methods_that_are_not_served_are_refused(appliance: Running, method: str) -> None:
    for path in ("/live", "/api/v1/models", "/api/v1/models/colour/predict", "/v2", "/docs"):
        answer = appliance.call(method, path)
        assert answer.status in (400, 405, 501), (path, answer)
        if answer.status == 405:
            assert method not in answer.headers["allow"]
            assert answer.headers["allow"]


def test_c23_strange_paths_are_found_or_not_but_never_fail(appliance: Running) -> None:
    assert appliance.get("/live/").status == 200
    assert appliance.get("//live").status in (200, 404)
    for path in ("/api/v1/models%2Fcolour", "/%2e%2e/etc/passwd", "/api/v1//models", "/nothing"):
        assert appliance.get(path).status in (200, 400, 404)
    assert appliance.get("/nothing").problem == "not-found"


def test_a_parameter_that_is_not_known_is_refused_by_name(appliance: Running) -> None:
    for path in ("/live?x=1", "/api/v1/models?verbose=1", "/api/v1/predictions?sort=label"):
        answer = appliance.get(path)
        assert answer.problem == "invalid-input"
        assert path.partition("?")[2].partition("=")[0] in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/models?name=packed"),
        ("POST", "/api/v1/keys"),
        ("POST", "/api/v1/models/colour/predict"),
    ],
)
def test_c114_a_packed_body_is_refused(appliance: Running, method: str, path: str) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": JSON}
    for body in (gzip.compress(b'{"name":"x"}'), b'{"name":"x","role":"device"}', picture()):
        answer = appliance.call(method, path, body, headers=headers)
        assert answer.problem == "unsupported-media"
