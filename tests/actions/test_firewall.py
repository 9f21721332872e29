"""What a firewall does to a client, from real listings where its program is installed."""

import shutil
import subprocess
from collections.abc import Sequence

import pytest

from appliance.actions.firewall import CLOSED, OPEN, UNDECIDED, Ask, Judgement, judge

PORT = 8080


def says(**answers: str) -> Ask:
    """Programs by name and what each says; all others are not installed."""
    by_name = {name.replace("_", "-"): text for name, text in answers.items()}

    def ask(command: Sequence[str]) -> str | None:
        if list(command) == ["firewall-cmd", "--state"] and "firewall-cmd" in by_name:
            return "running\n"
        return by_name.get(command[0])

    return ask


def apart(script: str, *listing: str) -> str:
    """Given rules as a shell script, put them into a network of their own and list them."""
    missing = [name for name in ("unshare", listing[0]) if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    done = subprocess.run(
        ["unshare", "--net", "sh", "-ec", f"{script}\nexec {' '.join(listing)}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"this kernel takes no such rules here: {done.stderr.strip()[:200]}")
    return done.stdout


def nft(*rules: str, policy: str = "drop") -> str:
    lines = "\n".join(rules)
    return apart(
        f"nft -f - <<'END'\ntable inet filter {{\nset friends {{ type ipv4_addr; }}\n"
        f"chain ports {{\n tcp dport {{ 22, 8000-8100 }} accept\n }}\n"
        f"chain input {{\n type filter hook input priority 0; policy {policy};\n{lines}\n}}\n}}\n"
        "END",
        *("nft", "-j", "list", "ruleset"),
    )


USUAL = ('iif "lo" accept', "ct state established,related accept", "ct state invalid drop")


@pytest.mark.parametrize(
    ("rules", "policy", "outcome"),
    [
        (USUAL, "drop", CLOSED),
        ((), "accept", OPEN),
        ((*USUAL, "tcp dport 22 accept"), "drop", CLOSED),
        ((*USUAL, "tcp dport 8080 accept"), "drop", OPEN),
        ((*USUAL, "tcp dport != 8080 accept"), "drop", CLOSED),
        ((*USUAL, "tcp dport { 22, 8080 } counter accept"), "drop", OPEN),
        ((*USUAL, "tcp dport 8000-9000 accept"), "drop", OPEN),
        ((*USUAL, "udp dport 8080 accept"), "drop", CLOSED),
        ((*USUAL, "meta l4proto icmp accept"), "drop", CLOSED),
        ((*USUAL, "jump ports"), "drop", OPEN),
        ((*USUAL, "ip saddr 192.168.0.0/16 accept"), "drop", UNDECIDED),
        ((*USUAL, "ip saddr @friends tcp dport 8080 accept"), "drop", UNDECIDED),
        ((*USUAL, "ip saddr @friends udp dport 53 accept"), "drop", CLOSED),
        (("tcp dport 8080 limit rate 5/second accept",), "drop", UNDECIDED),
        (("tcp dport 8080 reject",), "accept", CLOSED),
        (
            ("ct state vmap { established : accept, invalid : drop, new : jump ports }",),
            "drop",
            OPEN,
        ),
        (("tcp dport vmap { 22 : accept, 8080 : drop }",), "accept", CLOSED),
        (("meta mark vmap { 1 : drop }",), "accept", UNDECIDED),
        (('iifname != "lo" drop',), "accept", CLOSED),
        (('iifname "eth7" drop',), "accept", UNDECIDED),
        (("tcp dport 8080 return", "accept"), "drop", CLOSED),
    ],
)
def test_nftables_is_followed_rule_by_rule(
    rules: tuple[str, ...], policy: str, outcome: str
) -> None:
    listing = nft(*rules, policy=policy)
    assert judge(PORT, says(nft=listing)) == Judgement(outcome, "nftables")


@pytest.mark.parametrize(
    ("rules", "outcome"),
    [
        (["-P INPUT DROP"], CLOSED),
        (["-P INPUT DROP", "-A INPUT -i lo -j ACCEPT"], CLOSED),
        (["-P INPUT DROP", "-A INPUT -p tcp --dport 8080 -j ACCEPT"], OPEN),
        (["-P INPUT DROP", "-A INPUT -p tcp -m multiport --dports 22,8000:9000 -j ACCEPT"], OPEN),
        (["-P INPUT DROP", "-A INPUT -p udp --dport 8080 -j ACCEPT"], CLOSED),
        (["-P INPUT DROP", "-A INPUT -s 10.0.0.0/8 -j ACCEPT"], UNDECIDED),
        (["-P INPUT DROP", "-A INPUT ! -i lo -j ACCEPT"], UNDECIDED),
        (["-N ours", "-A INPUT -j ours", "-A ours -p tcp -j REJECT"], CLOSED),
        (["-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT", "-A INPUT -j DROP"], CLOSED),
        (["-A INPUT -p tcp --dport 22 -j DROP"], OPEN),
    ],
)
def test_iptables_is_followed_chain_by_chain(rules: list[str], outcome: str) -> None:
    script = "\n".join(f"iptables {rule}" for rule in rules)
    listing = apart(script, "iptables", "-S")
    assert judge(PORT, says(iptables=listing)) == Judgement(outcome, "iptables")


def test_rules_of_iptables_that_nftables_shows_too_are_judged_once() -> None:
    script = "iptables -P INPUT DROP; iptables -A INPUT -m conntrack --ctstate NEW -j ACCEPT"
    listed = apart(script, "nft", "-j", "list", "ruleset")
    shown = apart(script, "iptables", "-S")
    assert judge(PORT, says(nft=listed, iptables=shown)) == Judgement(OPEN, "iptables")


UFW = """Status: active
Logging: on (low)
Default: deny (incoming), allow (outgoing), disabled (routed)
New profiles: skip

To                         Action      From
--                         ------      ----
22/tcp                     LIMIT IN    Anywhere
"""


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("", CLOSED),
        ("8080/tcp                   ALLOW IN    Anywhere", OPEN),
        ("8080,8081/tcp (InferenceAppliance) ALLOW IN    Anywhere", OPEN),
        ("8080,8081/tcp (InferenceAppliance)  ALLOW IN    Anywhere", OPEN),
        ("8000:9000/tcp              ALLOW IN    192.168.0.0/16", OPEN),
        ("8080/udp                   ALLOW IN    Anywhere", CLOSED),
        ("8080/tcp                   ALLOW OUT   Anywhere", CLOSED),
        ("8080/tcp on eth0           ALLOW IN    Anywhere", OPEN),
        ("8080/tcp                   DENY IN     Anywhere", CLOSED),
        ("Anywhere                   ALLOW IN    192.168.0.0/16", UNDECIDED),
        ("Anywhere                   DENY IN     203.0.113.9", CLOSED),
        ("Anywhere                   ALLOW IN    Anywhere", OPEN),
    ],
)
def test_ufw_is_asked_first(line: str, outcome: str) -> None:
    assert judge(PORT, says(ufw=UFW + line, iptables="-P INPUT DROP")) == Judgement(outcome, "ufw")


def test_an_inactive_ufw_says_nothing() -> None:
    assert judge(PORT, says(ufw="Status: inactive\n")) is None


@pytest.mark.parametrize(
    ("ports", "outcome"),
    [("", CLOSED), ("22/tcp 8080/tcp\n", OPEN), ("8000-9000/tcp\n", OPEN), ("8080/udp", CLOSED)],
)
def test_firewalld_lists_its_ports(ports: str, outcome: str) -> None:
    assert judge(PORT, says(firewall_cmd=ports)) == Judgement(outcome, "firewalld")


def test_no_firewall_is_no_finding() -> None:
    assert judge(PORT, says()) is None
    assert judge(PORT, says(nft='{"nftables": []}', iptables="-P INPUT ACCEPT\n")) is None


@pytest.mark.parametrize("text", ["", "not JSON", "[]", '{"nftables": [{"chain": 1}]}'])
def test_a_listing_that_is_not_understood_is_not_decided(text: str) -> None:
    found = judge(PORT, says(nft=text))
    assert found is None or found.outcome == UNDECIDED


def test_chains_that_go_round_in_a_circle_end() -> None:
    listing = "-P INPUT ACCEPT\n-A INPUT -j a\n-A a -j b\n-A b -j a\n"
    assert judge(PORT, says(iptables=listing)) == Judgement(UNDECIDED, "iptables")
