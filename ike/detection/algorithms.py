"""`weak_algorithm` and `downgrade`: what was negotiated, against what should be and what was before.

**weak_algorithm.** Condition: an SA uses what RFC 8247 or RFC 8221 says MUST NOT or SHOULD NOT: DES, 3DES, Blowfish,
CAST, no encryption, MD5, key exchange groups below 2048 bits and groups 22 to 24. One negotiation is enough: it is a
fact, no rate. HMAC-SHA-1 (MUST-) is let pass.

**downgrade.** Condition: the cipher or the key exchange group is weak now and was not before; or the group is two
levels below the least that this tunnel agreed on before (levels: broken, weak, 112, 128, 192 and 256 bits); or a
post-quantum key exchange is gone. Not normal, because both ends take the first common proposal of an unchanged policy.
Where the connection was loaded anew in between (`configured`), so that this end's own policy was changed, it is of
medium severity, told once, and what is agreed on then is the new measure.
Looks alike and is let pass: AES-128 and AES-256 by turns (whoever starts puts his first), the Child SA of IKE_AUTH,
which has no group of its own.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from ike.detection.attempts import place_of
from ike.detection.conditions import Place
from ike.detection.state import MOST_SUSPECTS, Gateway, Tunnel
from ike.events.event import SaEvent

#: Words of all daemons, in capitals and with blanks between them, and what they are worth.
_BROKEN, _WEAK, _BITS112, _BITS128, _BITS192, _BITS256 = range(6)
_POST_QUANTUM: Final = 100
_WORDS: Final = (
    ("cipher", _BROKEN, re.compile(r"(?<!TRIPLE )(?<!3 )\bDES\b(?! EDE)|\bNULL\b|\bRC[45]\b|\bIDEA\b")),
    ("cipher", _WEAK, re.compile(r"\b3 ?DES\b|\bTRIPLE ?DES\b|\bDES EDE3?\b|\bBLOWFISH|\bCAST")),
    ("cipher", _BITS128, re.compile(r"\bAES(?! ?X?CBC ?MAC| ?CMAC| ?XCBC)(?!(?: [A-Z]+| 8| 12| 16)* ?(?:192|256)\b)")),
    ("cipher", _BITS192, re.compile(r"\bAES(?: [A-Z]+| 8| 12| 16)* ?192\b")),
    ("cipher", _BITS256, re.compile(r"\bAES(?: [A-Z]+| 8| 12| 16)* ?256\b|\bCHACHA20")),
    ("hash", _WEAK, re.compile(r"\bMD5\b|\bKPDK\b")),
    ("group", _WEAK, re.compile(r"\bMODP ?(?:768|1024|1536)\b|\bMODP ?2048 (?:224|256)\b")),
    ("group", _BITS112, re.compile(r"\bMODP ?2048\b(?! (?:224|256)\b)")),
    ("group", _BITS128, re.compile(r"\bMODP ?(?:3072|4096|6144)\b|\bECP ?256\b|\b(?:CURVE|X) ?25519\b")),
    ("group", _BITS192, re.compile(r"\bMODP ?8192\b|\bECP ?384\b|\b(?:CURVE|X) ?448\b")),
    ("group", _BITS256, re.compile(r"\bECP ?521\b")),
)  # fmt: skip
_GROUP: Final = re.compile(r"\b(?:DH|GROUP|GRP) ?(\d{1,2})\b")
_GROUPS: Final = {
    **dict.fromkeys((1, 2, 5, 22, 23, 24), _WEAK),
    14: _BITS112,
    **dict.fromkeys((18, 20, 32), _BITS192),
    21: _BITS256,
}
_QUANTUM_SAFE: Final = re.compile(r"ML ?KEM|KYBER|FRODO|BIKE|HQC")
_BETWEEN: Final = re.compile(r"[^A-Z0-9]+")


def offered(gateway: Gateway, event: SaEvent, tunnel: Tunnel | None, at: float | None) -> None:
    """`algorithms`: a proposal was selected. That of an IKE SA counts when it is up: strangers may propose anything."""
    text = event.algorithms
    if text is None:
        return
    layer, _ = level(text)
    source = event.source or event.peer
    if tunnel is not None and tunnel.up:
        agreed(gateway, tunnel, place_of(gateway, event), text, event.line, at)
    elif source is not None or event.name is not None:
        key = f"{layer} {source or event.name}"
        gateway.offers[key] = (text, event.line)
        if len(gateway.offers) > MOST_SUSPECTS:
            del gateway.offers[next(iter(gateway.offers))]


def came_up(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """The IKE SA that was negotiated is up."""
    source = event.source or event.peer
    for layer in ("IKE", "ESP"):
        for who in (source, tunnel.name):
            found = gateway.offers.pop(f"{layer} {who}", None)
            if found is not None:
                agreed(gateway, tunnel, gateway.place(tunnel), found[0], found[1], at)


def agreed(
    gateway: Gateway, tunnel: Tunnel, place: Place, text: str, line: int, at: float | None
) -> None:
    """An SA of `tunnel` uses the proposal `text`."""
    layer, now = level(text)
    place = Place(place.gateway, tunnel.name, tunnel.source)
    mark = f"{layer} {tunnel.name} {tunnel.source}"
    words = weak_words(text)
    if words:
        evidence: dict[str, object] = {"layer": layer, "weak": ", ".join(words)}
        gateway.sign("weak_algorithm", place, at, [line], evidence)
        gateway.weak[mark] = line
    elif gateway.weak.pop(mark, None) is not None:
        gateway.conditions.clear("weak_algorithm", place, at)
    index = 0 if layer == "IKE" else 2
    levels = list(tunnel.levels or (-1, -1, -1, -1))
    fallen = _fallen(levels[index:], now)
    if fallen is not None:
        gateway.sign("downgrade", place, at, [line], _evidence(layer, text, *fallen))
        return  # what was before stays the measure
    if tunnel.policy is not None:
        fallen = _fallen(tunnel.policy[index:], now)
        tunnel.policy = (*tunnel.policy[:2], -1, -1) if index else (-1, -1, *tunnel.policy[2:])
    for offset, is_ in enumerate(now):
        was = levels[index + offset]
        levels[index + offset] = max(was, is_) if min(was, is_) < 0 else min(was, is_)
    tunnel.levels = (levels[0], levels[1], levels[2], levels[3])
    if fallen is not None:
        evidence = _evidence(layer, text, *fallen)
        gateway.sign("downgrade", place, at, [line], evidence, variant="configured")
        return
    there = gateway.conditions.find("downgrade", place) if gateway.conditions.opened else None
    if there is not None and there.evidence.get("layer") == layer:
        gateway.conditions.clear("downgrade", place, at)


def _fallen(before: Sequence[int], now: tuple[int, int]) -> tuple[int, int] | None:
    """The level before and now of the cipher, or else of the group, where it is lower than it may be."""
    for was, is_, steps in zip(before, now, (3, 2), strict=False):
        if was >= 0 and is_ >= 0 and _lower(was, is_, steps):
            return was, is_
    return None


def _evidence(layer: str, text: str, was: int, now: int) -> dict[str, object]:
    return {"layer": layer, "proposal": text[:200], "before": _told(was), "now": _told(now)}


def _lower(was: int, now: int, steps: int) -> bool:
    if was >= _POST_QUANTUM > now:
        return True
    was, now = was % _POST_QUANTUM, now % _POST_QUANTUM
    return now < was and (now <= _WEAK or was - now >= steps)


def _told(level_: int) -> str:
    names = ("broken", "weak", "112 bits", "128 bits", "192 bits", "256 bits")
    return names[level_ % _POST_QUANTUM] + (", post-quantum" if level_ >= _POST_QUANTUM else "")


@lru_cache(maxsize=1024)
def level(text: str) -> tuple[str, tuple[int, int]]:
    """("IKE" or "ESP", (level of the cipher, of the group)); -1 where none stands; plus 100 if post-quantum."""
    found: dict[str, int] = {}
    for what, bits, _ in _parts(text):
        found[what] = min(bits, found.get(what, bits))
    words = _BETWEEN.sub(" ", text.upper())
    group = found.get("group", -1)
    if _QUANTUM_SAFE.search(words):
        group = max(group, 0) + _POST_QUANTUM
    if text.startswith(("IKE:", "ESP:", "AH:")):
        return text[:3] if text[0] != "A" else "ESP", (found.get("cipher", -1), group)
    return "IKE" if "PRF" in words else "ESP", (found.get("cipher", -1), group)


@lru_cache(maxsize=1024)
def weak_words(text: str) -> tuple[str, ...]:
    """The parts of a proposal that make it weak."""
    return tuple(word for _, bits, word in _parts(text) if bits <= _WEAK)[:4]


def _parts(text: str) -> list[tuple[str, int, str]]:
    words = _BETWEEN.sub(" ", text.upper())
    found = [
        (what, bits, match.group())
        for what, bits, pattern in _WORDS
        for match in pattern.finditer(words)
    ]
    for match in _GROUP.finditer(words):
        found.append(("group", _GROUPS.get(int(match[1]), _BITS128), match.group()))
    return found
