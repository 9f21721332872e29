"""What this machine's firewall does to a new connection to one port, told from its own listings.

Listings are only read. A rule that cannot be decided here (an address, a rate, a named set) leaves
a doubt, and a doubt is never told as an answer.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

OPEN, CLOSED, UNDECIDED = "open", "closed", "undecided"
_ACCEPT, _DROP, _RETURN, _DOUBT = "accept", "drop", "return", "doubt"
_DEEPEST_JUMPS = 16
#: Where to, what is done, from where; a profile's name may stand behind the ports.
_UFW_RULE = re.compile(r"(\S+)(?: \S+)*?\s+(ALLOW|LIMIT|DENY|REJECT)(?: IN)?\s+(?!OUT|FWD)(\S+)")

#: Given a command, what it says; None when the program is missing or refuses.
Ask = Callable[[Sequence[str]], str | None]


class Rule(msgspec.Struct, frozen=True):
    """One rule: whether it is for the connection (None: it may be), and what it does then."""

    is_for_us: bool | None
    #: _ACCEPT, _DROP, _RETURN, _DOUBT, or the name of the chain to go on with; "" for nothing.
    does: str


Chains = Mapping[str, Sequence[Rule]]


class Judgement(msgspec.Struct, frozen=True):
    """What becomes of the connection (OPEN, CLOSED or UNDECIDED), and whose rules say so."""

    outcome: str
    by: str


def judge(port: int, ask: Ask) -> Judgement | None:
    """Given a TCP port and a way to ask programs, return what the firewall does to its clients.

    None when no firewall is installed or it has no rules for what comes in.
    """
    for name, judged in (("ufw", _ufw), ("firewalld", _firewalld)):
        outcome = judged(port, ask)
        if outcome is not None:
            return Judgement(outcome, name)
    found = [*_nftables(port, ask), *_iptables(port, ask)]
    for wanted in (CLOSED, UNDECIDED, OPEN):
        for judgement in found:
            if judgement.outcome == wanted:
                return judgement
    return None


def followed(chains: Chains, start: str, policy: str) -> str:
    """Given chains, the first of them and what happens at its end, return the outcome."""
    doubts: set[str] = set()
    end = _walk(chains, start, doubts, depth=0) or policy
    if end == _DOUBT or doubts - {end}:
        return UNDECIDED
    return OPEN if end == _ACCEPT else CLOSED


def _walk(chains: Chains, name: str, doubts: set[str], *, depth: int) -> str:
    """Return what the chain decides, "" when it decides nothing; note what it may decide."""
    if depth > _DEEPEST_JUMPS:
        return _DOUBT
    for rule in chains.get(name, ()):
        if rule.is_for_us is False or not rule.does:
            continue
        end = rule.does
        if end not in (_ACCEPT, _DROP, _RETURN, _DOUBT):
            end = _walk(chains, rule.does, doubts, depth=depth + 1)
        if rule.is_for_us is None:
            doubts.update({end} - {"", _RETURN})
        elif end == _RETURN:
            return ""
        elif end:
            return end
    return ""


# --- ufw and firewalld answer for themselves


def _ufw(port: int, ask: Ask) -> str | None:
    text = ask(["ufw", "status", "verbose"])
    if text is None or "Status: active" not in text:
        return None
    for line in text.splitlines():
        found = _UFW_RULE.match(line)
        outcome = _ufw_rule(*found.groups(), port=port) if found else None
        if outcome is not None:
            return outcome
    return CLOSED if "deny (incoming)" in text or "reject (incoming)" in text else OPEN


def _ufw_rule(to: str, action: str, source: str, *, port: int) -> str | None:
    """Given a line's columns, such as `8000:9000/tcp`, ALLOW, Anywhere, return what it does."""
    does = OPEN if action in ("ALLOW", "LIMIT") else CLOSED
    if to == "Anywhere":
        # From one place only: whether the clients are there is not known.
        is_for_all = source.startswith("Anywhere")
        return does if is_for_all else UNDECIDED if does == OPEN else None
    numbers, _, protocol = to.partition("/")
    is_port = protocol in ("", "tcp") and _is_among(numbers.split(","), port) is True
    return does if is_port or to == "InferenceAppliance" else None


def _firewalld(port: int, ask: Ask) -> str | None:
    if (ask(["firewall-cmd", "--state"]) or "").strip() != "running":
        return None
    # It exits with 1 for "no", which is no answer at all to whoever runs it for us.
    ports = (ask(["firewall-cmd", "--list-ports"]) or "").split()
    listed = [each.removesuffix("/tcp").replace("-", ":") for each in ports if "/udp" not in each]
    return OPEN if _is_among(listed, port) else CLOSED


def _is_among(words: Iterable[str], port: int) -> bool | None:
    """Given ports and ranges (`80`, `8000:9000`), return whether the port is one; None: unsure."""
    for word in words:
        low, _, high = word.partition(":")
        if not low.isdigit() or not (high or low).isdigit():
            return None
        if int(low) <= port <= int(high or low):
            return True
    return False


# --- iptables


def _iptables(port: int, ask: Ask) -> list[Judgement]:
    text = ask(["iptables", "-S"])
    if text is None:
        return []
    chains: dict[str, list[Rule]] = {}
    policy = _ACCEPT
    for line in text.splitlines():
        words = shlex.split(line)
        if words[:2] == ["-P", "INPUT"]:
            policy = _ACCEPT if words[2:] == ["ACCEPT"] else _DROP
        elif words[:1] == ["-A"] and len(words) > 1:
            chains.setdefault(words[1], []).append(_iptables_rule(words[2:], port))
    if not chains.get("INPUT") and policy == _ACCEPT:
        return []
    return [Judgement(followed(chains, "INPUT", policy), "iptables")]


_TARGETS = {"ACCEPT": _ACCEPT, "DROP": _DROP, "REJECT": _DROP, "RETURN": _RETURN, "LOG": ""}


def _iptables_rule(words: Sequence[str], port: int) -> Rule:
    answers: list[bool | None] = []
    does = ""
    at = 0
    while at < len(words):
        word, value = words[at], words[at + 1] if at + 1 < len(words) else ""
        if word in ("-j", "-g"):
            does = _TARGETS.get(value, value)
            break  # what follows belongs to the target
        answers.append(_iptables_answer(word, value, port))
        at += 1 if word == "!" else 2
    # What is negated is not taken apart: it may hold or not.
    return Rule(None if "!" in words else _all_of(answers), does)


def _iptables_answer(word: str, value: str, port: int) -> bool | None:
    """Given an option and its value, return whether it holds for us; None when that is open."""
    if word == "-m":
        return True  # only names the module of the options after it
    if word == "-p":
        return value in ("tcp", "all")
    if word in ("--dport", "--dports"):
        return _is_among(value.split(","), port)
    if word in ("--ctstate", "--state"):
        return "NEW" in value.split(",")
    if word == "-i" and value == "lo":
        return False
    return None


def _all_of(answers: Iterable[bool | None]) -> bool | None:
    known = list(answers)
    if False in known:
        return False
    return None if None in known else True


# --- nftables


def _nftables(port: int, ask: Ask) -> list[Judgement]:
    text = ask(["nft", "-j", "list", "ruleset"])
    if text is None:
        return []
    try:
        listed = msgspec.json.decode(text)["nftables"]
        chains = [each["chain"] for each in listed if "chain" in each]
        rules = [each["rule"] for each in listed if "rule" in each]
        return [_nft_judgement(c, rules, port) for c in chains if _is_input(c, rules)]
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return [Judgement(UNDECIDED, "nftables")]


def _is_input(chain: dict[str, Any], rules: Sequence[dict[str, Any]]) -> bool:
    """Return whether packets for this machine pass a chain that is not one of iptables' own."""
    if chain.get("hook") != "input" or chain.get("family") not in ("ip", "inet"):
        return False
    table = (chain["family"], chain["table"])
    return not any(
        (rule["family"], rule["table"]) == table and any("xt" in part for part in rule["expr"])
        for rule in rules
    )


def _nft_judgement(base: dict[str, Any], rules: Sequence[dict[str, Any]], port: int) -> Judgement:
    table = (base["family"], base["table"])
    chains: dict[str, list[Rule]] = {}
    for rule in rules:
        if (rule["family"], rule["table"]) == table:
            chains.setdefault(rule["chain"], []).append(_nft_rule(rule["expr"], port))
    policy = _DROP if base.get("policy") == "drop" else _ACCEPT
    return Judgement(followed(chains, base["name"], policy), "nftables")


def _nft_rule(parts: Sequence[dict[str, Any]], port: int) -> Rule:
    answers: list[bool | None] = []
    does = ""
    for part in parts:
        ((kind, content),) = part.items()
        if kind == "match":
            answers.append(_nft_answer(content, port))
        elif kind == "vmap":
            does = _nft_mapped(content, port)
        elif kind in (_ACCEPT, _DROP, _RETURN):
            does = kind
        elif kind == "reject":
            does = _DROP
        elif kind in ("jump", "goto"):
            does = str(content["target"])
        elif kind not in ("counter", "log", "comment"):
            answers.append(None)
    return Rule(_all_of(answers), does)


def _nft_answer(match: dict[str, Any], port: int) -> bool | None:
    left, right = match["left"], match["right"]
    if left.get("meta", {}).get("key") in ("iif", "iifname") and right == "lo":
        holds: bool | None = False  # clients come from outside
    else:
        wanted = _ours(left, port)
        holds = None if wanted is None else _nft_holds(right, wanted)
    if holds is None:
        return None
    return not holds if match["op"] == "!=" else holds


def _ours(left: dict[str, Any], port: int) -> Any:
    """Given what a rule looks at, return its value for our connection; None when that is open."""
    payload = left.get("payload", {})
    if payload.get("field") == "dport":
        return port if payload.get("protocol") in ("tcp", "th") else "another protocol"
    if payload.get("protocol") in ("udp", "icmp", "icmpv6", "ip6"):
        return "another protocol"
    if payload.get("field") == "protocol" or left.get("meta", {}).get("key") == "l4proto":
        return "tcp"
    if left.get("ct", {}).get("key") == "state":
        return "new"
    return None


def _nft_holds(right: Any, wanted: Any) -> bool | None:
    """Given the value in a rule, return whether ours is that, in it, or in one of its ranges."""
    if isinstance(right, dict):
        if "range" in right:
            low, high = right["range"]
            return isinstance(wanted, int) and low <= wanted <= high
        right = right.get("set")
    if isinstance(right, list):
        return any(_nft_holds(each, wanted) for each in right)
    if right is None or (isinstance(right, str) and right.startswith("@")):
        return None
    return bool(right == wanted)


def _nft_mapped(content: dict[str, Any], port: int) -> str:
    """Given a verdict map, return what it does to us."""
    wanted = _ours(content["key"], port)
    pairs = content["data"].get("set") if isinstance(content["data"], dict) else None
    if wanted is None or pairs is None:
        return _DOUBT
    for key, verdict in pairs:
        if _nft_holds(key, wanted):
            return _nft_rule([verdict], port).does
    return ""
