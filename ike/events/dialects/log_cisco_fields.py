"""Peers, groups, numbers and SPIs in the messages of Cisco devices."""

import re
from collections.abc import MutableMapping
from typing import Final, NamedTuple

from ike.events.dialects.wording import Phrase, address, spi, stated, without_port
from ike.events.event import SaEvent

# `Group = g, Username = u, IP = a, ` before a message of IKEv1. Names may hold blanks and commas, and a peer chooses
# them: the last `IP = ` is the device's own.
_GROUPED: Final = re.compile(
    r"(?:Group ?= ?(?P<group>[^,]{0,255}|.{0,255}), ?)?(?:Username ?= ?(?P<user>.{0,255}), ?)?"
    r"IP ?= ?(?P<ip>[^\s,]+),? *(?!.{0,1024}, ?IP ?= ?[\d.:a-fA-F]+,)"
)
_GROUP_ONLY: Final = re.compile(r"Group ?= ?(?P<group>[^,]{0,255}), ?")
# `Local:a:500 Remote:b:500 Username:u ` before a message of IKEv2. The user name is the peer's word.
_PAIRED: Final = re.compile(
    r"Local: ?(?P<local>\S+?):(?P<lport>\d{1,5}) +Remote: ?(?P<remote>\S+?):(?P<rport>\d{1,5}) +"
    r"Username: ?(?P<user>\S*) *(?:Group[:=] ?(?P<group>[^\s,]+),? *)?(?:IKEv2 +)?"
)
_BETWEEN: Final = re.compile(
    r"IPSEC: An? (?P<way>inbound|outbound) .{0,64}?SA \(SPI ?= ?(?P<spi>[^)\s]+)\)"
    r" between (?P<one>\S+) and (?P<two>\S+)"
    r"(?: \((?:user= ?)?(?P<user>[^)]*)\))?"
)
_SPIS: Final = re.compile(r"Inbound SPI = (?P<in>\w+), Outbound SPI = (?P<out>\w+)")
_INBOUND: Final = re.compile(r"inbound SPI (?P<in>(?:0x)?[0-9a-fA-F]+)")
_TUNNEL_GROUP: Final = re.compile(
    r"(?:\bin tunnel[ -]group|tunnel[ -]group name|tunnel[ -]group:) (?P<group>[^\s,]+)", re.I
)
# An address, or what stands for one where a log was masked: it has dots or colons.
_SHOWN: Final = r"(?P<peer>[\w*<>-]+(?:[.:][\w*<>-]*)+)"
_PEER: Final = re.compile(
    r"\b(?:IKE Peer:?|for peer|from peer|peer at|with host|[Pp]eer IP|[Rr]emote [Pp]eer|Peer|peer|with) "
    + _SHOWN
)
_SESSION: Final = re.compile(r"Session Type: (?P<type>[^,]+)")
_BYTES: Final = re.compile(r"Bytes xmt: (\d{1,18}), Bytes rcv: (\d{1,18})")

_REMOTE: Final = re.compile(r"\bremote[= ]+" + _SHOWN)
_FROM: Final = re.compile(r"\bfrom " + _SHOWN + r"(?=[\s,]|$)")
_PUBLIC: Final = re.compile(r"\b(?P<whose>Client|Server)_public_addr ?= ?(?P<peer>[^\s,]+)")
_EZVPN_GROUP: Final = re.compile(r"\bGroup ?= ?(?P<group>[^\s,]+)")
_FLEXVPN: Final = re.compile(r"FlexVPN\((?P<name>[^)]+)\)")
_SA_SPI: Final = re.compile(
    r"\bsa_spi= ?(?P<spi>0x[0-9a-fA-F]+)|\bspi:? ?(?P<other>0x[0-9a-fA-F]+)", re.I
)
_SA_DEST: Final = re.compile(r"\bsa_dest= ?(?P<dest>[^\s,]+)|\bproto \d+ for (?P<other>[^\s,]+)")
_CONNECTION: Final = re.compile(r"connection id (?P<id>\d{1,12})")
_SA_ID: Final = re.compile(r"SA(?: ID)? = (?P<id>\d{1,12})|^(?P<only>\d{1,12})$")
_ATTEMPT: Final = re.compile(r"attempt (?P<seq>\d{1,4}) of")


class Said(NamedTuple):
    """A message without what stands before it, the fields it shows, and what it means."""

    text: str
    shown: SaEvent
    relevant: bool = True
    kinds: tuple[str, ...] = ()
    phase: str | None = None
    reason: str | None = None

    def meaning(self, kinds: tuple[str, ...], phase: str | None) -> "Said":
        """The same, meaning `kinds`."""
        return self._replace(kinds=kinds, phase=phase)

    def of(self, phrase: Phrase | None) -> "Said | None":
        """The same, meaning what `phrase` says; None for nothing."""
        if phrase is None or not phrase.kinds:
            return None
        return self._replace(kinds=phrase.kinds, phase=phrase.phase, reason=phrase.reason)


def asa_fields(text: str, number: str, own: MutableMapping[str, None]) -> Said:
    """A message of an ASA or FTD; `own` gathers the addresses of the device."""
    if number.startswith("75"):
        return _paired(text, own)
    if number in ("602303", "602304", "702305", "702307"):
        return _between(text, own)
    return _grouped(text)


def _grouped(text: str) -> Said:
    found = _GROUPED.match(text) or _GROUP_ONLY.match(text)
    group = peer = user = None
    if found:
        named = found.groupdict()
        group, peer, user = stated(named["group"]), address(named.get("ip")), named.get("user")
        text = text[found.end() :]
    if peer is None and (inside := _PEER.search(text)):
        peer = address(inside["peer"].rstrip("."))
    if group is None and (inside := _TUNNEL_GROUP.search(text)):
        group = stated(inside["group"].rstrip("."))
    spis = _SPIS.search(text)
    session = _SESSION.search(text)
    sizes = _BYTES.search(text)
    shown = SaEvent(
        "",
        0,
        peer=peer,
        connection=group,
        spi_in=spi(spis["in"]) if spis else None,
        spi_out=spi(spis["out"]) if spis else None,
        source=peer,
        name=group,
        identity=stated(user),
        size=int(sizes[1]) + int(sizes[2]) if sizes else None,
        daemon="asa",
    )
    kind = session["type"].lower() if session else "ike"
    return Said(text, shown, relevant=kind.startswith(("ike", "ipsec", "lan-to-lan", "l2tp")))


def _paired(text: str, own: MutableMapping[str, None]) -> Said:
    found = _PAIRED.match(text)
    group = peer = user = None
    if found:
        _learn(own, found["local"])
        peer, user, group = stated(found["remote"]), found["user"], stated(found["group"])
        text = text[found.end() :]
    if group is None and (inside := _TUNNEL_GROUP.search(text)):
        group = stated(inside["group"].rstrip("."))
    text = re.sub(r"^IKEv2 +", "", text)
    inside = _INBOUND.search(text)
    shown = SaEvent(
        "",
        0,
        peer=peer,
        connection=group,
        spi_in=spi(inside["in"]) if inside else None,
        source=peer,
        name=group,
        identity=stated(user),
        daemon="asa",
    )
    return Said(text, shown)


def _between(text: str, own: MutableMapping[str, None]) -> Said:
    """`between a and b`: the user is the peer of a LAN-to-LAN tunnel; else which is ours must be known."""
    found = _BETWEEN.search(text)
    if found is None:
        return Said(text, SaEvent("", 0, daemon="asa"))
    one, two, user = found["one"].rstrip(","), found["two"].rstrip(","), stated(found["user"])
    peer = one if two in own or (user == one and one not in own) else two
    inbound = found["way"] == "inbound"
    value = spi(found["spi"])
    shown = SaEvent(
        "",
        0,
        peer=peer,
        spi_in=value if inbound else None,
        spi_out=None if inbound else value,
        source=peer,
        identity=user,
        daemon="asa",
    )
    return Said(text, shown)


def ios_fields(text: str, ids: str | None, own: MutableMapping[str, None]) -> Said:
    """A message of IOS; `ids` are the numbers in brackets before it."""
    local = re.search(r"\blocal[= ]+(?P<local>[0-9a-fA-F.:]+)", text)
    if local:
        _learn(own, address(local["local"]) or "")
    event = _with_sa(SaEvent("", 0, daemon="ios"), text, own)
    peer = event.peer or _remote(text)
    group = _FLEXVPN.search(text) or _EZVPN_GROUP.search(text)
    name = stated(group[1]) if group else None
    attempt = _ATTEMPT.search(text)
    shown = event._replace(
        peer=peer,
        connection=name,
        ike_id=_number(text, ids),
        seq=int(attempt["seq"]) if attempt else None,
        source=peer,
        name=name,
    )
    return Said(text, shown)


def _remote(text: str) -> str | None:
    public = {found["whose"]: found["peer"] for found in _PUBLIC.finditer(text)}
    if public:
        return address(public.get("Server" if text.startswith("(Client)") else "Client"))
    for pattern in (_PEER, _REMOTE, _FROM):
        found = pattern.search(text)
        if found:
            shown = found["peer"].rstrip(".")
            six = shown.count(":") > 2 and shown.endswith((":500", ":4500"))
            return without_port(shown) if six else address(shown)
    return None


def _with_sa(event: SaEvent, text: str, own: MutableMapping[str, None]) -> SaEvent:
    """The SPI of one SA: inbound if it leads to one of our addresses, or if the delete is ours."""
    found = _SA_SPI.search(text)
    if found is None:
        return event
    value = spi(found["spi"] or found["other"])
    if text.startswith("Sending DELETE"):
        return event._replace(spi_in=value)
    if text.startswith(("Processing DELETE", "Enqueued KEY_MGR_DELETE")):  # the peer's notice
        return event._replace(spi_out=value)
    destination = _SA_DEST.search(text)
    shown = (destination["dest"] or destination["other"]) if destination else None
    if shown is None or not own:
        return event
    if shown in own:
        return event._replace(spi_in=value)
    return event._replace(spi_out=value, peer=shown)


def _number(text: str, ids: str | None) -> int | None:
    inside = _CONNECTION.search(text)
    if inside:
        return int(inside["id"])
    if ids is None:
        return None
    found = _SA_ID.search(ids)
    value = (found["id"] or found["only"]) if found else ids.rpartition(":")[2]
    return int(value) if value.isascii() and value.isdigit() and int(value) else None


def _learn(own: MutableMapping[str, None], local: str) -> None:
    if local and local not in own and len(own) < 256:
        own[local] = None
