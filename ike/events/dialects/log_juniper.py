"""The logs of Juniper SRX: kmd and its successor iked, as sentences and as structured syslog.

Forms: the System Log Explorer of Junos (messages KMD_*, and IKE_* of the iked process).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ike.events.dialects.wording import (
    LONGEST,
    Phrase,
    Table,
    address,
    fitting,
    readable,
    spi,
    stated,
)
from ike.events.event import SaEvent

# Each way begins with letters of its own: that keeps the search quick on other lines.
CUE: Final = re.compile(
    rb"kmd(?:\[\d{1,8}\]:|[ :])|iked(?:\[\d{1,8}\]:|[ :])"
    rb"|KMD_[A-Z][A-Z0-9_]{3,}|IKED?_(?:PM|VPN|DPD|P[12]|GW|PEER)_[A-Z0-9_]{2,}"
)

# RFC 5424 §6.2: the process, the kind of message and the data may each be "-", which is for none.
_MESSAGE: Final = re.compile(
    r"\b(?:kmd|iked)(?:\[\d{1,8}\])?:?[ \t]+(?:(?:\d{1,8}|-) )?(?:- ){0,2}"
    r"|(?=\b(?:KMD|IKED?)_[A-Z][A-Z0-9_]{3,})"
)
_CODE: Final = re.compile(r"(?P<code>(?:KMD|IKED?)_[A-Z][A-Z0-9_]{3,})\b:?\s*")
_STRUCTURED: Final = re.compile(
    r"\[junos@[0-9.]{1,40}(?P<pairs>(?: [\w-]{1,64}=\"(?:[^\"\\]|\\.)*+\")*)\]?\s*"
)
_PAIR: Final = re.compile(r" ([\w-]{1,64})=\"((?:[^\"\\]|\\.)*+)\"")
# "Key: value," of a sentence; the value ends at a comma or at the next key.
_KEYED: Final = r"\b{}:? +(?P<value>[^,;\s]+)"
_VPN: Final = re.compile(r"\b(?:vpn name|VPN): *(?P<value>[^,\s][^,]{0,127}?)(?=,| Gateway:| *$)")
_VPN_OPENING: Final = re.compile(
    r"(?:IPSec )?VPN (?P<value>\S.{0,127}?) (?:from|with) (?P<peer>\S+) is (?:up|down)\b"
)
_GATEWAY: Final = re.compile(r"\b(?:gateway name|Gateway): *(?P<value>[^,\s][^,]{0,127}?)(?=,| *$)")
_SPI: Final = re.compile(r"\bSPI: *(?P<value>0x[0-9a-fA-F]+|[0-9a-fA-F]+)\b")
_P1_REMOTE: Final = re.compile(r"\b(?:p1_)?remote=[\w-]{1,32}\([^)=]{0,64}=(?P<value>[^)\s]+)\)")
_PEERS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        _KEYED.format("Remote gateway"),
        r"\bRemote: *(?P<value>[^,\s]+)",
        _P1_REMOTE.pattern,
        r"\b(?:remote_ip|remote-ip|dst_ip)=(?P<value>[^,\s\]]+)",
        r"\b[Rr]emote (?:peer )?(?:ip|IP|address)[: ] *(?P<value>[^,\s\]]+)",
        r"\b[Pp]eer (?:IP |address |gateway )?(?P<value>[0-9a-fA-Fx*]+[.:][0-9a-fA-Fx*.:]+)",
    )
)
# From here on a line shows what its peer chose; what is ours stands before it.
_OF_PEER: Final = re.compile(r"\b(?:Remote|Peer's) IKE-ID: .*", re.DOTALL)
_PROPOSED: Final = re.compile(r"\bPeer [Pp]roposed\b.*", re.DOTALL)

_FAILURES: Final = Table(
    (
        Phrase("…no proposal chosen", ("proposal_mismatch",)),
        Phrase("…proposal conflicts", ("proposal_mismatch",)),
        Phrase("…proposal mismatch", ("proposal_mismatch",)),
        Phrase("…no-proposal-chosen", ("proposal_mismatch",)),
        Phrase("…no_proposal_chosen", ("proposal_mismatch",)),
        Phrase("…invalid ke", ("invalid_ke",)),
        Phrase("…invalid_ke", ("invalid_ke",)),
        Phrase("…ts unacceptable", ("ts_unacceptable",)),
        Phrase("…ts_unacceptable", ("ts_unacceptable",)),
        Phrase("…traffic selector", ("ts_unacceptable",)),
        Phrase("…traffic-selector", ("ts_unacceptable",)),
        Phrase("…invalid id information", ("ts_unacceptable",)),
        Phrase("…proxy id", ("ts_unacceptable",)),
        Phrase("…proxy-id", ("ts_unacceptable",)),
        Phrase("…revoked", ("cert_revoked",)),
        Phrase("…certificate", ("cert_invalid",)),
        Phrase("…authentication", ("auth_failed",)),
        Phrase("…pre-shared", ("auth_failed",), "psk"),
        Phrase("…preshared", ("auth_failed",), "psk"),
        Phrase("…ike-id validation", ("unknown_peer",)),
        Phrase("…ike id validation", ("unknown_peer",)),
        Phrase("…gateway configuration lookup failed", ("unknown_peer",)),
        Phrase("…no matching", ("unknown_peer",)),
        Phrase("…policy lookup failed", ("unknown_peer",)),
        Phrase("…peer not recognized", ("unknown_peer",)),
        Phrase("…unknown peer", ("unknown_peer",)),
        Phrase("…retransmission limit", ("giving_up",)),
        Phrase("…retry limit", ("giving_up",)),
        Phrase("…timed out", ("ike_timeout",)),
        Phrase("…timeout", ("ike_timeout",)),
    )
)
# What a "down" line says beside that the tunnel is down.
_DOWN: Final = Table(
    (
        Phrase(
            "…dpd detected peer as down. existing ike",
            ("dpd_timeout", "ike_deleted", "child_closed"),
        ),
        Phrase("…dpd", ("dpd_timeout", "child_closed")),
        Phrase("…ike/ipsec sas", ("ike_deleted", "child_closed")),
        Phrase("…ike sa", ("ike_deleted", "child_closed")),
        Phrase("…", ("child_closed",)),
    )
)
# By the message's code, without KMD_ or IKE_; a table where the sentence decides.
_CODES: Final[Mapping[str, tuple[str, ...] | Table]] = {
    "PM_SA_ESTABLISHED": ("child_established",),
    "VPN_UP_ALARM_USER": ("child_established",),
    "VPN_UP_ALARM": ("child_established",),
    "VPN_DOWN_ALARM_USER": _DOWN,
    "VPN_DOWN_ALARM": _DOWN,
    "VPN_TS_MISMATCH": ("ts_unacceptable",),
    "DPD_PEER_DOWN": ("dpd_timeout",),
    "DPD_REMOTE_DOWN": ("dpd_timeout",),
    "DPD_TIMEOUT": ("dpd_timeout",),
    "PM_P1_POLICY_LOOKUP_FAILURE": ("unknown_peer",),
    "PM_P2_POLICY_LOOKUP_FAILURE": ("ts_unacceptable",),
    "PM_ILLEGAL_REMOTE_GW_ID": ("unknown_peer",),
    "PM_REMOTE_PEER_INVALID": ("unknown_peer",),
    "PM_UNKNOWN_P1_IDENTITIES": ("unknown_peer",),
    "PM_UNKNOWN_PHASE2_ENTITIES": ("ts_unacceptable",),
    "PM_INVALID_PEER_CERTIFICATE": ("cert_invalid",),
    "VPN_PV_PHASE1": _FAILURES,
    "VPN_PV_PHASE2": _FAILURES,
}
_SENTENCES: Final[tuple[tuple[str, tuple[str, ...] | Table], ...]] = (
    ("ike negotiation successfully completed", ("ike_established",)),
    ("ike negotiation failed", _FAILURES),
    ("ipsec negotiation failed", _FAILURES),
    ("ike phase-1: (", _FAILURES),
    ("ike phase-1 failure", _FAILURES),
    ("ike phase-2 failure", _FAILURES),
    ("ike phase-2: failed to match the peer proxy id", ("ts_unacceptable",)),
    ("ike phase-2:", _FAILURES),
    ("phase-1 [responder] done", ("ike_established",)),
    ("phase-1 [initiator] done", ("ike_established",)),
    ("phase-2 [responder] done", ("child_established",)),
    ("phase-2 [initiator] done", ("child_established",)),
    ("phase-1 [responder] failed", _FAILURES),
    ("phase-1 [initiator] failed", _FAILURES),
    ("phase-2 [responder] failed", _FAILURES),
    ("phase-2 [initiator] failed", _FAILURES),
    ("dpd detected peer", ("dpd_timeout",)),
    ("ike sa delete", ("ike_deleted",)),
    ("ipsec sa delete", ("child_closed",)),
)


class Parser:
    """Reads the lines of kmd and iked; each stands for itself."""

    def line(
        self, number: int, raw: bytes, time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        """The events of one line; () for none."""
        if CUE.search(raw) is None:
            return ()
        found = _MESSAGE.search(readable(raw))
        if found is None:
            return ()
        message = found.string[found.end() : LONGEST]
        code = _CODE.match(message)
        text = message[code.end() :] if code else message
        pairs: dict[str, str] = {}
        structured = _STRUCTURED.match(text)
        if structured:
            pairs = dict(_PAIR.findall(structured["pairs"]))
            text = text[structured.end() :]
        kinds, reason = _meaning(code["code"] if code else None, text, pairs)
        if not kinds:
            return ()
        shown = _shown(text, pairs)._replace(
            line=number, time=time, host=host, reason=reason, daemon="junos"
        )
        return tuple(fitting(_event(kind, shown, text, pairs)) for kind in kinds)

    def close(self) -> Sequence[SaEvent]:
        """Nothing is owed."""
        return ()


def _meaning(
    code: str | None, text: str, pairs: Mapping[str, str]
) -> tuple[tuple[str, ...], str | None]:
    meant: tuple[str, ...] | Table | None = None
    if code is not None:
        meant = _CODES.get(code.partition("_")[2])
    if meant is None:
        lowered = text[:64].lower()
        meant = next((kinds for opening, kinds in _SENTENCES if lowered.startswith(opening)), None)
    if meant is None or isinstance(meant, tuple):
        return meant or (), None
    phrase = meant.find(_cause(text, pairs))
    if phrase is None:
        return (), None
    second = "phase2" in (code or "").lower() or text[:7].lower() == "phase-2"
    if second and phrase.kinds == ("ike_timeout",):
        return ("giving_up",), phrase.reason
    return phrase.kinds, phrase.reason


def _cause(text: str, pairs: Mapping[str, str]) -> str:
    """The part that gives the reason: names that a peer or an operator chose are not part of it."""
    for key in ("reason", "error-reason", "error", "argument1"):
        if key in pairs:
            return pairs[key]
    after = re.search(
        r"\bReason: *(?P<cause>.*)|\berror:? *\(?(?P<error>[^.)]+)", _OF_PEER.sub("", text), re.I
    )
    if after:
        return after["cause"] or after["error"] or ""
    return "" if " is down" in text else re.sub(r"\[[^\]]*\]?", "", _OF_PEER.sub("", text[:200]))


def _shown(text: str, pairs: Mapping[str, str]) -> SaEvent:
    """The peer and the VPN of a line."""
    identity = re.search(r"\bRemote IKE-ID: *(?P<value>[^,]+)", text)
    text = _OF_PEER.sub("", text)
    opening = _VPN_OPENING.match(text)
    peer = _first(pairs, "remote-address", "remote-gateway", "peer-address", "remote-ip")
    vpn = _first(pairs, "vpn-name", "vpn")
    if opening:
        peer, vpn = peer or opening["peer"], vpn or opening["value"]
    if peer is None:
        own = _PROPOSED.sub("", text)  # selectors name addresses too
        peer = next((found["value"] for each in _PEERS if (found := each.search(own))), None)
    name = stated(vpn) or _value(_VPN, text)
    name = name or stated(_first(pairs, "gateway-name")) or _value(_GATEWAY, text)
    shown = address(peer.rstrip(".")) if peer else None
    return SaEvent(
        "",
        0,
        peer=shown,
        connection=name,
        source=shown,
        name=name,
        identity=stated(identity["value"]) if identity else None,
    )


def _event(kind: str, shown: SaEvent, text: str, pairs: Mapping[str, str]) -> SaEvent:
    event = shown._replace(kind=kind)
    if kind != "child_established":
        return event
    printed = _SPI.search(text)
    value = spi(_first(pairs, "spi") or (printed["value"] if printed else None))
    way = (_first(pairs, "direction") or text).lower()
    if "inbound" in way:
        return event._replace(spi_in=value)
    return event._replace(spi_out=value) if "outbound" in way else event


def _first(pairs: Mapping[str, str], *keys: str) -> str | None:
    return next((pairs[key] for key in keys if key in pairs), None)


def _value(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return stated(found["value"]) if found else None
