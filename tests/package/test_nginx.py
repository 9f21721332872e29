"""The example site for nginx as an admin installs it, by its own instructions; ufw's profile."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from PIL import Image

from tests.package.machine import HANG_SECONDS, ROOT, Machine
from tests.package.test_service_life import STATE

FLAVOUR = "tools"
EXAMPLES = "/usr/share/doc/inference-appliance/examples"
SITE = ROOT / "etc" / "nginx" / "inference-appliance.nginx"
NAME = "appliance.example.lan"
CURL = f"curl -sS -k --resolve {NAME}:443:127.0.0.1 --resolve {NAME}:80:127.0.0.1"
PREDICT = f"https://{NAME}/api/v1/models/vehicle-type/predict"
MEBIBYTE = 1024 * 1024
CLIENT = Path(__file__).with_name("websocket_client.py")


def comment_block(text: str, first: str) -> str:
    """Given a file and how a line begins, return the indented comment from there on, bare."""
    lines = text.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(f"#   {first}"))
    block = []
    for line in lines[start:]:
        if not line.startswith("#   "):
            break
        block.append(line[4:])
    return "\n".join(block)


@pytest.fixture(scope="module")
def site(box: Machine) -> Machine:
    """A machine whose admin followed the comment at the top of the example."""
    text = SITE.read_text(encoding="utf-8")
    commands = [
        line
        for line in comment_block(text, "apt install").splitlines()
        if not line.startswith("apt install")  # there is no network; both are there already
    ]
    settings = comment_block(text, "[http]")
    box.run(f"cat > /etc/inference-appliance/conf.d/nginx.toml <<'END'\n{settings}\nEND")
    box.run("systemctl restart inference-appliance inference-appliance-stream")
    box.run("rm -f /etc/nginx/sites-enabled/default; systemctl start nginx")
    box.run(f"cd {EXAMPLES} && {' && '.join(commands)}")
    return box


def test_nginx_accepts_the_site_without_a_warning(site: Machine) -> None:
    said = site.run("nginx -t").stderr
    assert "test is successful" in said
    assert "[warn]" not in said, said


def test_a_picture_is_classified_over_tls(site: Machine) -> None:
    answer = json.loads(
        site.say(
            f'{CURL} -H "X-API-Key: $(cat {STATE}/admin-key)" -H "Content-Type: image/jpeg"'
            f" --data-binary @{EXAMPLES}/truck.jpg {PREDICT}"
        )
    )
    assert answer["result"]["predictions"][0]["label"] == "truck"
    assert answer["recorded"] is True


def test_plain_http_is_sent_to_tls_and_old_tls_is_refused(site: Machine) -> None:
    moved = site.say(f"{CURL} -o /dev/null -w '%{{http_code}} %{{redirect_url}}' http://{NAME}/x")
    assert moved == f"301 https://{NAME}/x"
    assert site.run(f"{CURL} --tls-max 1.1 https://{NAME}/live", is_checked=False).returncode == 35


def test_every_answer_has_the_headers_that_protect_browsers(site: Machine) -> None:
    for path in ("/live", "/no-such-place", "/metrics"):
        head = site.say(f"{CURL} -D - -o /dev/null https://{NAME}{path}").lower()
        for name in ("strict-transport-security", "x-content-type-options", "x-frame-options"):
            assert f"{name}: " in head, (path, head)
        assert "server: nginx/" not in head


def test_nobody_goes_round_it_and_metrics_stay_inside(site: Machine) -> None:
    asked = f"{CURL} -o /dev/null -w '%{{http_code}}' https://{NAME}/metrics"
    assert site.say(asked) == "403"
    listening = site.say("ss -tlnH | awk '{print $4}'").split()
    assert {each for each in listening if each.endswith((":8080", ":8081"))} == {
        "127.0.0.1:8080",
        "127.0.0.1:8081",
    }


def test_a_walk_is_counted_over_the_websocket_path(site: Machine) -> None:
    key = (site.root / "var/lib/inference-appliance/admin-key").read_text().strip()
    address = "wss://127.0.0.1/ws/streams?model=step-detector&device=pocket&rate_hz=100"
    done = subprocess.run(
        ["nsenter", "-t", str(site.leader), "-n", sys.executable, str(CLIENT), address],
        env={**os.environ, "WEBSOCKET_KEY": key},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1500:]
    result = json.loads(done.stdout)
    assert result["greeting"]["next_sequence"] == 1
    assert not [each for each in result["answers"] if "problem" in each], result["answers"]
    assert result["answers"][-1]["totals"]["events"] >= 8, result["answers"][-1]


@pytest.mark.parametrize(
    ("mebibytes", "status", "who"),
    [(20, "200", "appliance"), (33, "413", "appliance"), (40, "413", "nginx")],
)
def test_large_uploads_pass_and_too_large_ones_are_refused_in_plain_words(
    site: Machine, mebibytes: int, status: str, who: str
) -> None:
    target = site.root / "root" / "upload.bmp"
    side = round((mebibytes * MEBIBYTE / 3) ** 0.5)
    pixels = numpy.random.default_rng(1).integers(0, 255, (side, side, 3), numpy.uint8)
    Image.fromarray(pixels).save(target)
    said = site.say(
        f'{CURL} -H "X-API-Key: $(cat {STATE}/admin-key)" -H "Content-Type: image/bmp" -H Expect:'
        f" -w '\\n%{{http_code}}' --data-binary @/root/upload.bmp {PREDICT}"
    )
    body, _, code = said.rpartition("\n")
    assert code == status, said[-500:]
    assert ("<center>nginx</center>" in body) is (who == "nginx"), body[:500]
    if status == "200":
        assert json.loads(body)["recorded"] is True


def test_blue_iris_needs_no_key_and_only_its_own_address_gets_in(site: Machine) -> None:
    text = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    found = re.search(r"```nginx\n(server \{.*?listen 32168;.*?)```", text, re.DOTALL)
    assert found is not None
    # A device of its own gets a key of its own, that may only ask models.
    said = site.say("appliance keys create blue-iris")
    key = re.search(r"iak_\S+", said)
    assert key is not None, said
    snippet = found[1].replace("iak_…", key[0]).replace("192.168.1.20", "127.0.0.1")
    picture = f"-F image=@{EXAMPLES}/truck.jpg http://127.0.0.1:32168/v1/vision/scene"
    enabled = "/etc/nginx/sites-enabled/blue-iris"
    site.run(f"cat > {enabled} <<'END'\n{snippet}END\nnginx -t && systemctl reload nginx")
    site.wait_for(lambda: ":32168" in site.say("ss -tln"), "nginx's port for Blue Iris")
    answer = json.loads(site.say(f"curl -sS {picture}"))
    assert answer["success"] is True, answer
    assert answer["label"] == "truck"
    elsewhere = "ip addr add 10.9.8.7/32 dev lo; curl -sS --interface 10.9.8.7 -o /dev/null"
    assert site.say(f"{elsewhere} -w '%{{http_code}}' {picture}") == "403"
    outside = "curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:32168/api/v1/models"
    assert site.say(outside) == "404"


def test_the_firewall_knows_the_profile_and_its_ports(box: Machine) -> None:
    said = box.say("ufw app info InferenceAppliance")
    assert "8080,8081/tcp" in said
