"""Who gets in, what leaks and what a hostile client can leave behind: group I of the catalogue."""

import io
import json
import os
import re
import sqlite3
import stat
import urllib.parse
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import Answer, Running, wait_for
from tests.tiny_models import picture

ROLES = ("device", "operator", "admin")
UNKNOWN = "01890000-0000-7000-8000-000000000000"
#: Values for a path that name nothing, so that whoever gets in changes nothing.
NOTHING = {
    "model": "no-such-model",
    "version": "1",
    "key_id": "000000",
    "backup_name": "no-such-backup",
    "slug": "not-found",
    "file_name": "start.js",
}


def operations(appliance: Running) -> Iterator[tuple[str, str, str]]:
    """Method, a harmless path and access of everything in the served document."""
    document = appliance.get("/openapi.json", key=None).json()
    for template, methods in document["paths"].items():
        path = re.sub(r"{(\w+)}", lambda found: NOTHING.get(found[1], UNKNOWN), template)
        for method, operation in methods.items():
            yield method.upper(), path, operation["x-access"]


def edit(state: Path, statement: str, *values: object) -> int:
    """Change the database behind the appliance's back; return the number of rows."""
    with sqlite3.connect(state / "appliance.db") as connection:
        changed = connection.execute(statement, values).rowcount
    connection.close()
    return changed


@pytest.fixture
def keys(start_one: Start, short_path: Path) -> tuple[Running, dict[str, str]]:
    """An appliance and a key of every kind, the expired one made old while it was stopped."""
    first = start_one()
    state = short_path / "state"
    known = {role: first.new_key(role, role)[1] for role in ROLES}
    expiring_id, known["expired"] = first.new_key("expired", "admin", expires_in_days=1)
    revoked_id, known["revoked"] = first.new_key("revoked", "admin")
    assert first.call("DELETE", f"/api/v1/keys/{revoked_id}").status == 204
    assert first.stop() == 0
    assert edit(state, "UPDATE keys SET expires_seconds = 1 WHERE id = ?", expiring_id) == 1
    known["bad"] = known["admin"][:-1] + ("a" if known["admin"][-1] != "a" else "b")
    return start_one(state), known


def test_c101_every_route_opens_to_whom_the_document_says(
    keys: tuple[Running, dict[str, str]],
) -> None:
    appliance, known = keys
    seen = set()
    for method, path, access in operations(appliance):
        seen.add(access)
        for kind in (None, "bad", "revoked", "expired", *ROLES):
            body = b"{}" if method in ("POST", "PUT") else None
            headers = {"Content-Type": "application/json"} if body else {}
            key = known[kind] if kind else None
            answer = appliance.call(method, path, body, key=key, headers=headers)
            where = (method, path, access, kind, answer)
            if access in ("public", "metrics"):  # loopback is among the networks for metrics
                assert answer.status not in (401, 403), where
            elif kind not in ROLES:
                assert answer.status == 401, where
                assert answer.headers["www-authenticate"].startswith("Bearer"), where
            elif ROLES.index(kind) < ROLES.index(access):
                assert answer.status == 403, where
            else:
                assert answer.status not in (401, 403), where
            assert answer.status < 500 or path.endswith("ready"), where
    assert {"public", "metrics", "device", "admin"} <= seen


def test_c101_nothing_answers_that_is_not_in_the_document(appliance: Running) -> None:
    listed = {(method, path) for method, path, _ in operations(appliance)}
    for path in {path for _, path in listed}:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            if (method, path) not in listed:
                answer = appliance.call(method, path, key=None)
                assert answer.status in (401, 404, 405), (method, path, answer)


def test_c102_a_key_sees_nothing_of_another_key(appliance: Running) -> None:
    first_id, first = appliance.new_key("first")
    _, second = appliance.new_key("second")
    answer = appliance.predict(picture(), key=first).json()
    path = f"/api/v1/predictions/{answer['id']}"
    wait_for(lambda: appliance.get(path, key=first).status == 200, "the recorded row")
    assert appliance.get(path, key=second).problem == "not-found"
    assert appliance.get("/api/v1/predictions", key=second).json()["predictions"] == []
    refused = appliance.get(f"/api/v1/predictions?key={first_id}", key=second)
    assert refused.problem == "not-found"
    for form in ("csv", "jsonl"):
        body = appliance.get(f"/api/v1/predictions?format={form}", key=second).body
        assert answer["id"].encode() not in body
    assert appliance.get(path).json()["key_id"] == first_id


def test_a_key_is_held_to_its_models(appliance: Running) -> None:
    _, key = appliance.new_key("scoped", models=["colour"])
    assert appliance.predict(picture(), key=key).status == 200
    for path in ("/api/v1/models/vehicle-type", "/v2/models/vehicle-type"):
        assert appliance.get(path, key=key).status == 403
    assert appliance.predict(picture(), model="vehicle-type", key=key).problem == "forbidden"
    names = [one["name"] for one in appliance.get("/api/v1/models", key=key).json()["models"]]
    assert names == ["colour"]


@pytest.mark.parametrize("field", ["id", "owner", "secret_sha256", "created", "key"])
def test_c103_what_the_appliance_decides_cannot_be_sent(appliance: Running, field: str) -> None:
    wanted = {"name": "x", "role": "device", field: "chosen"}
    assert appliance.post_json("/api/v1/keys", wanted).problem == "invalid-input"


def test_c103_a_device_cannot_make_itself_more(appliance: Running) -> None:
    _, key = appliance.new_key()
    wanted = {"name": "x", "role": "admin"}
    assert appliance.post_json("/api/v1/keys", wanted, key=key).problem == "forbidden"


def test_c103_parameters_are_bounded_and_given_once(appliance: Running) -> None:
    assert appliance.get("/api/v1/predictions?limit=1000000000").problem == "invalid-input"
    assert appliance.get("/api/v1/predictions?limit=1&limit=2").problem == "malformed-request"
    twice = "/api/v1/models/colour/predict?top_k=1&top_k=2"
    answer = appliance.call("POST", twice, picture(), headers={"Content-Type": "image/png"})
    assert answer.problem == "malformed-request"


@pytest.mark.parametrize(
    "query", ["api_key={}", "key={}", "X-API-Key={}", "access_token={}", "token={}"]
)
def test_c105_a_key_in_the_address_is_refused(appliance: Running, query: str) -> None:
    _, key = appliance.new_key()
    answer = appliance.get("/api/v1/models?" + query.format(key), key=None)
    assert answer.problem == "unauthenticated"
    assert key not in appliance.log()


def test_c105_a_mistyped_key_is_refused(appliance: Running) -> None:
    _, key = appliance.new_key()
    for wrong in (key[:-1], key + "0", key.swapcase(), "", "iak_", "x\ty", "é"):
        assert appliance.get("/api/v1/models", key=wrong).status == 401


def test_c108_a_revoked_key_is_dead_at_the_next_request(appliance: Running) -> None:
    key_id, key = appliance.new_key()
    assert appliance.get("/api/v1/models", key=key).status == 200
    assert appliance.call("DELETE", f"/api/v1/keys/{key_id}").status == 204
    answer = appliance.get("/api/v1/models", key=key)
    assert answer.problem == "unauthenticated"
    assert "revoked" in answer.json()["detail"]


def test_c106_no_key_is_written_anywhere(start_one: Start) -> None:
    appliance = start_one()
    issued = [appliance.new_key(f"camera {number}")[1] for number in range(3)]
    for key in issued:
        assert appliance.predict(picture(), key=key).status == 200
        assert appliance.get(f"/api/v1/models?x={key}", key=key).status == 401
    assert appliance.post_json("/api/v1/backups", {"with_models": True}).status == 201
    wait_for(lambda: appliance.get("/api/v1/predictions").json()["predictions"], "rows")
    files = [path for path in appliance.state.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in [*files, appliance.output]:
        content = path.read_bytes()
        for key in [*issued, appliance.key]:
            secret = key.split("_")[2].encode()
            assert secret not in content or path.name == "admin-key", path


@pytest.mark.parametrize(
    "name",
    [
        *("../../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%252e%252e%252fetc%252fpasswd"),
        *("..\\..\\etc\\passwd", "/etc/passwd", "%2fetc%2fpasswd", "a%00b", "．．／etc"),
        *("....//etc", "~root", "con", "."),
    ],
)
def test_c109_no_name_leads_out_of_its_folder(appliance: Running, name: str) -> None:
    quoted = urllib.parse.quote(name, safe="/%\\~.")
    for template in (
        "/api/v1/models/{}",
        "/api/v1/models/colour/versions/{}/predict",
        "/api/v1/predictions/{}",
        "/api/v1/backups/{}",
        "/api/v1/keys/{}",
        "/docs/{}",
        "/problems/{}",
        "/v2/models/{}",
        "/v2/models/{}/config",
    ):
        answer = appliance.get(template.format(quoted))
        assert answer.status in (400, 404, 405, 422), (template, answer)
        assert b"root:" not in answer.body
    loaded = appliance.call("POST", f"/v2/repository/models/{quoted}/load")
    assert loaded.status in (400, 404, 405), loaded


def test_c112_addresses_come_from_the_socket_alone(appliance: Running) -> None:
    lies = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Real-IP": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
    }
    wanted = {"name": "lied about", "role": "device"}
    issued = appliance.post_json("/api/v1/keys", wanted, headers=lies)
    assert issued.status == 201
    assert appliance.get("/api/v1/models", key=issued.json()["key"], headers=lies).status == 200
    rows = appliance.get("/api/v1/audit?limit=1").json()["rows"]
    assert rows[0]["address"] == "127.0.0.1"
    assert "6.6.6.6" not in appliance.log()
    assert "evil.example" not in appliance.get("/openapi.json", headers=lies).body.decode()


def png(width: int, height: int) -> bytes:
    """A black one-bit PNG of any size, without the memory to draw it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        sums = zlib.crc32(kind + body)
        return len(body).to_bytes(4, "big") + kind + body + sums.to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def gif(frames: int, side: int) -> bytes:
    buffer = io.BytesIO()
    first, *rest = (Image.new("L", (side, side), shade) for shade in range(frames))
    first.save(buffer, "GIF", save_all=True, append_images=rest)
    return buffer.getvalue()


@pytest.mark.parametrize(("width", "height"), [(13_000, 13_000), (60_000_000, 1), (9_000, 9_000)])
def test_c113_a_picture_that_would_unpack_to_too_much_is_refused(
    appliance: Running, width: int, height: int
) -> None:
    answer = appliance.predict(png(width, height))
    assert answer.status in (413, 422)
    assert answer.problem
    assert appliance.predict(picture()).status == 200


def test_c113_only_the_first_frame_of_many_is_decoded(appliance: Running) -> None:
    body = gif(101, 1000)
    answer = appliance.predict(body, content_type="image/gif")
    assert answer.status == 200
    restarts = appliance.metric("inference_appliance_host_restarts_total")
    assert restarts == 0


def test_c115_an_export_opens_as_text_in_a_spreadsheet(appliance: Running) -> None:
    for name in ("=1+1", "+1", "-1+1", "@SUM(A1)"):
        _, key = appliance.new_key(name)
        prediction = appliance.predict(picture(), key=key).json()["id"]
        path = f"/api/v1/predictions/{prediction}"
        wait_for(lambda path=path: appliance.get(path).status == 200, "the row")
        export = appliance.get("/api/v1/predictions?format=csv", key=key)
        assert export.headers["content-type"].startswith("text/csv")
        assert "attachment" in export.headers["content-disposition"]
        assert f",'{name}," in export.body.decode()
        assert f",{name}," not in export.body.decode()


def log_lines(appliance: Running) -> list[bytes]:
    return appliance.log().encode().splitlines()


def test_c118_the_log_is_one_bounded_json_object_a_line(appliance: Running) -> None:
    host = f"127.0.0.1:{appliance.port}".encode()
    for value in (b"\x1b[31mred\x1b[0m", b"a" * 10_000, b"\xff\xfe", b'"}{"level":"error"'):
        head = b"GET /live HTTP/1.1\r\nHost: %b\r\nConnection: close\r\nUser-Agent: %b\r\n\r\n"
        assert appliance.raw(head % (host, value)).startswith(b"HTTP/1.1 ")
    assert appliance.raw(b"GET / HTTP/1.1\r\nUser-Agent: " + b"a" * 2**20)[:12] == b"HTTP/1.1 431"
    appliance.get("/" + "%0d%0a%1b[2J" + "x" * 5000)
    appliance.get("/%e2%80%ae" + "y" * 5000)
    appliance.predict(picture(), headers={"X-Request-ID": "id\x1b[31m" + "z" * 5000})
    lines = [line for line in log_lines(appliance) if line.startswith(b"{")]
    for line in lines:
        assert len(line) <= 8192
        assert b"\x1b" not in line
        assert json.loads(line)["event"]
    rest = [line for line in log_lines(appliance) if not line.startswith(b"{")]
    assert len(rest) == 2, rest  # the two sentences for whoever started it by hand


def test_c119_nobody_else_may_read_the_state(start_one: Start, short_path: Path) -> None:
    appliance = start_one(has_models=False, MODELS__STARTER="true")
    assert appliance.post_json("/api/v1/backups", {}).status == 201
    assert stat.S_IMODE(appliance.state.stat().st_mode) == 0o700
    for root, folders, files in os.walk(appliance.state):
        for name in (*folders, *files):
            path = Path(root, name)
            mode = stat.S_IMODE(path.lstat().st_mode)
            # The group may read what is not secret; the state directory itself keeps it out.
            folder = path.relative_to(appliance.state).parts[0]
            allowed = 0o070 if folder in ("models", "backups", "cache", "run") else 0
            assert mode & 0o077 & ~allowed == 0, (path, oct(mode))


@pytest.mark.parametrize(
    "words",
    ["' OR '1'='1", "x' UNION SELECT secret_sha256 FROM keys --", '"; DROP TABLE keys', "%"],
)
def test_c121_filters_are_values_and_never_statements(appliance: Running, words: str) -> None:
    quoted = urllib.parse.quote(words)
    for name in ("label", "model", "key"):
        answer = appliance.get(f"/api/v1/predictions?{name}={quoted}")
        assert answer.json()["predictions"] == []
    for name in ("cursor", "from", "limit", "version", "min_confidence", "format"):
        assert appliance.get(f"/api/v1/predictions?{name}={quoted}").problem == "invalid-input"
    assert appliance.get("/api/v1/keys").status == 200


def test_c122_an_edited_audit_row_is_named(start_one: Start) -> None:
    appliance = start_one()
    for number in range(5):
        appliance.new_key(f"key {number}")
    assert appliance.command("audit", "verify").returncode == 0
    changed = edit(appliance.state, "UPDATE audit SET subject = 'another' WHERE sequence = ?", 3)
    assert changed == 1
    done = appliance.command("audit", "verify")
    assert done.returncode == 1
    assert "row 3" in done.stdout
    verdict = appliance.get("/api/v1/audit/verify").json()
    assert (verdict["is_intact"], verdict["broken_sequence"]) == (False, 3)


def test_c100_times_are_utc_whatever_the_zone_of_the_machine(
    start_one: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    appliance = start_one()
    prediction = appliance.predict(picture()).json()["id"]
    path = f"/api/v1/predictions/{prediction}"
    row: Answer = wait_for(lambda: (a := appliance.get(path)).status == 200 and a, "the row")
    health = appliance.get("/health").json()
    audit = appliance.get("/api/v1/audit").json()["rows"][0]
    times = [row.json()["received"], health["started"], health["clock"]["now"], audit["at"]]
    times += [json.loads(line)["time"] for line in log_lines(appliance) if line[:1] == b"{"]
    for text in times:
        assert text.endswith("Z")
    day = health["clock"]["now"][:13]
    assert row.json()["received"][:13] in (day, health["started"][:13])


def test_headers_that_protect_a_browser_are_set(appliance: Running) -> None:
    for path in ("/live", "/docs", "/problems/not-found", "/nothing"):
        assert appliance.get(path).headers["x-content-type-options"] == "nosniff"
    for path in ("/docs", "/problems/not-found"):
        assert "default-src 'none'" in appliance.get(path).headers["content-security-policy"]
    assert "server" not in appliance.get("/live").headers


def test_c111_host_names_of_others_are_refused(appliance: Running) -> None:
    for host in ("evil.example", "evil.example:80", ""):
        answer = appliance.get("/live", headers={"Host": host})
        assert answer.status in (400, 421)
    assert appliance.raw(b"GET /live HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400")
