"""One Security event of Windows, out of whatever form it was exported in, as an event of ours.

Fields are found by pattern in text of bounded length, never by a parser of documents: an export may come from anyone,
and no entity, nesting or broken end in it can cost more than its own length. Field names: the manifest of
Microsoft-Windows-Security-Auditing; sentences: its English messages.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from ike.events.dialects.wording import Phrase, Table, address, fitting, spi, stated
from ike.events.event import SaEvent

#: What the numbers mean. None: the failure's reason decides. Numbers that say nothing of ours are not here:
#: 4976 to 4978 are malformed packets, 5453 a service that does not run.
MEANINGS: Final[Mapping[int, tuple[str, ...] | None]] = {
    4646: (
        "cookie",
    ),  # protection against floods begins: every peer must answer a cookie from now on
    4650: ("ike_established",),
    4651: ("ike_established",),
    4652: None,
    4653: None,
    4654: None,
    4655: ("ike_deleted",),
    4979: ("ike_established",),
    4980: ("ike_established",),
    4981: ("ike_established",),
    4982: ("ike_established",),
    4983: None,
    4984: None,
    5049: ("child_closed",),
    5451: ("child_established",),
    5452: ("child_closed",),
}
_EXTENDED: Final = frozenset({4983, 4984})
#: The sentences that messages begin with, in lower case, and the number of one of the events that have it.
SENTENCES: Final = (
    ("ike dos-prevention mode started", 4646),
    ("an ipsec main mode security association was established", 4650),
    ("an ipsec main mode negotiation failed", 4653),
    ("an ipsec quick mode negotiation failed", 4654),
    ("an ipsec main mode security association ended", 4655),
    ("ipsec main mode and extended mode security associations were established", 4979),
    ("an ipsec extended mode negotiation failed", 4983),
    ("an ipsec security association was deleted", 5049),
    ("an ipsec quick mode security association was established", 5451),
    ("an ipsec quick mode security association ended", 5452),
)

_MAIN_MODE: Final = Table(
    (
        Phrase("…timed out", ("ike_timeout",)),
        Phrase("…sat in queue too long", ("ike_timeout",)),
        Phrase("…13805", ("ike_timeout",)),
        Phrase("…revoked", ("cert_revoked",)),
        Phrase("…revocation check", ("cert_invalid",)),
        Phrase("…failed to send valid machine certificate", ("auth_failed",)),
        Phrase("…failed to find valid machine certificate", ("auth_failed",)),
        Phrase("…authentication", ("auth_failed",)),
        Phrase("…credentials are unacceptable", ("auth_failed",)),
        Phrase("…kerberos", ("auth_failed",)),
        Phrase("…verify signature", ("auth_failed",)),
        Phrase("…hash verification", ("auth_failed",), "psk"),
        Phrase("…invalid hash", ("auth_failed",), "psk"),
        Phrase("…decrypt", ("auth_failed",), "psk"),
        Phrase("…preshared", ("auth_failed",), "psk"),
        Phrase("…pre-shared", ("auth_failed",), "psk"),
        Phrase("…eap", ("auth_failed",), "eap"),
        Phrase("…13801", ("auth_failed",)),
        Phrase("…certificate", ("cert_invalid",)),
        Phrase("…security attributes are unacceptable", ("proposal_mismatch",)),
        Phrase("…policy match", ("proposal_mismatch",)),
        Phrase("…no proposal chosen", ("proposal_mismatch",)),
        Phrase("…invalid group", ("invalid_ke",)),
        Phrase("…traffic selector", ("ts_unacceptable",)),
        Phrase("…no policy", ("unknown_peer",)),
        Phrase("…no available main mode", ("unknown_peer",)),
        Phrase("…sa deleted", ("ike_deleted",)),
        Phrase("…invalidated sas", ("ike_deleted",)),
    )
)
# The same words where they speak of a Child SA.
_QUICK_MODE: Final = {
    "ike_timeout": ("giving_up",),
    "unknown_peer": ("ts_unacceptable",),
    "ike_deleted": (),
    "cert_invalid": ("auth_failed",),
}

_XML_DATA: Final = re.compile(r"<Data Name=\\?['\"](\w{1,64})\\?['\"]\s{0,8}>([^<]{0,1024})<")
_JSON_PAIR: Final = re.compile(
    r"\"(?:[\w.]{1,48}\.)?(\w{1,64})\"\s{0,16}:\s{0,16}(?:\"((?:[^\"\\]|\\.){0,4096}+)\"|(\d{1,20}))"
)
_NAMED_PAIR: Final = re.compile(
    r"\"@?[Nn]ame\"\s{0,64}:\s{0,16}\"(\w{1,64})\"\s{0,64},\s{0,64}\"(?:#text|[Vv]alue|[Cc]ontent)\"\s{0,16}:\s{0,16}\"([^\"]{0,1024})\""
)
_BLANKS: Final = re.compile(r"#01[125]|\\[rnt]|\s+")
_SECTIONS: Final = re.compile(
    r"\b(Local Endpoint|Remote Endpoint|Local Certificate|Remote Certificate|Cryptographic Information"
    r"|Security Association Information|Additional Information|Failure Information): "
)
_KEYS: Final[Mapping[str, re.Pattern[str]]] = {
    "mmsaid": re.compile(r"\bMain Mode SA ID: (\d{1,20})\b"),
    "quickmodesaid": re.compile(r"\bQuick Mode SA ID: (\d{1,20})\b"),
    "inboundspi": re.compile(r"\bInbound SPI: (\w{1,18})\b"),
    "outboundspi": re.compile(r"\bOutbound SPI: (\w{1,18})\b"),
    "failurereason": re.compile(r"\bFailure Reason: (.{0,200}?)(?= [A-Z][\w ]{2,28}: |$)"),
    "remoteaddress": re.compile(r"\bRemote (?:Network )?Address: ([^\s]{1,64}[^\s:])(?=\s|$)"),
}
_REMOTE_KEYS: Final[Mapping[str, re.Pattern[str]]] = {
    "remoteaddress": re.compile(r"\bNetwork Address: ([^\s]{1,64}[^\s:])(?=\s|$)"),
    "remotetunnelendpoint": re.compile(r"\bTunnel Endpoint: ([^\s]{1,64}[^\s:])(?=\s|$)"),
    "remotemmprincipalname": re.compile(
        r"\bPrincipal Name: (.{1,255}?)(?= Network Address:| Keying Module|$)"
    ),
}
_NUMBER: Final = re.compile(
    r"<EventID(?: [^>]{0,64})?>\s{0,8}(\d{4})\s{0,8}</EventID>"
    r"|\"(?:[\w.]{1,48}\.)?(?:EventID|Id|event_id|code|EventId|eventID)\"\s{0,16}:\s{0,16}\"?(\d{4})\b"
    r"|\"EventID\"\s{0,16}:\s{0,16}\{[^{}]{0,128}?\"#text\"\s{0,16}:\s{0,16}\"?(\d{4})\b"
)
_TIME: Final = re.compile(
    r"SystemTime\\?[\"']?\s{0,4}[=:]\s{0,4}\\?[\"'](?P<iso>\d{4}-\d\d-\d\d[T ][\d:.]{8,18}(?:Z|[+-]\d\d:\d\d)?)"
    r"|\"(?:@timestamp|TimeCreated|EventTime)\"\s{0,16}:\s{0,16}\""
    r"(?P<key>\d{4}-\d\d-\d\d[T ][\d:.]{8,18}(?:Z|[+-]\d\d:\d\d)?)"
    r"|\\?/Date\((?P<ms>\d{1,15})\)\\?/"
    r"|\bDate: {1,16}(?P<date>\d{4}-\d\d-\d\dT[\d:.]{8,18}(?:Z|[+-]\d\d:\d\d)?)"
)
_COMPUTER: Final = re.compile(
    r"<Computer>([^<]{1,255})<|\"(?:computer_name|MachineName|Computer|Hostname)\"\s{0,16}:\s{0,16}\"([^\"]{1,255})\""
)


def number_of(record: str) -> int | None:
    """The number of an event in XML or JSON; None if it is none of ours."""
    for found in _NUMBER.finditer(record):
        number = int(found[1] or found[2] or found[3])
        if number in MEANINGS:
            return number
    return None


def number_of_sentence(text: str) -> int | None:
    """The number of an event whose message has begun in `text`."""
    lowered = text.lower()
    if "ipsec" not in lowered and "dos-prevention" not in lowered:
        return None
    return next((number for sentence, number in SENTENCES if sentence in lowered), None)


def events_of(number: int, record: str) -> tuple[SaEvent, ...]:
    """What the event `number` says, with the fields that `record`, its text in any form, shows."""
    fields = _fields(record)
    kinds, reason = _meaning(number, fields.get("failurereason", ""))
    quick = number in (4654, 5049, 5451, 5452)
    peer = address(fields.get("remoteaddress"))
    if quick:  # the addresses are those of the traffic, where there is a tunnel
        peer = address(fields.get("remotetunnelendpoint")) or peer
    identity = stated(fields.get("remotemmprincipalname"))
    shown = SaEvent(
        "",
        0,
        time=_time(record),
        peer=peer or identity,
        ike_id=_id(fields.get("mmsaid") or fields.get("mainmodesaid")),
        child_id=_id(fields.get("quickmodesaid")),
        spi_in=spi(fields.get("inboundspi")),
        spi_out=spi(fields.get("outboundspi")),
        source=peer,
        identity=identity,
        reason=reason,
        host=_host(record),
        daemon="windows",
    )
    return tuple(fitting(shown._replace(kind=kind)) for kind in kinds)


def _meaning(number: int, failure: str) -> tuple[tuple[str, ...], str | None]:
    meant = MEANINGS[number]
    if meant is not None:
        return meant, None
    phrase = _MAIN_MODE.find(failure)
    if number in _EXTENDED:
        kinds = phrase.kinds if phrase else ("auth_failed",)
        return tuple(dict.fromkeys((*kinds, "ike_deleted"))), phrase.reason if phrase else None
    if phrase is None:
        return (), None
    if number == 4654:
        return _QUICK_MODE.get(phrase.kinds[0], phrase.kinds), phrase.reason
    return phrase.kinds, phrase.reason


def _fields(record: str) -> dict[str, str]:
    """Fields by their name in the manifest, in lower case: named ones first, then those of the message."""
    fields: dict[str, str] = {}
    for name, value in (*_XML_DATA.findall(record), *_NAMED_PAIR.findall(record)):
        fields.setdefault(name.lower(), value)
    if "{" in record:
        for name, text, digits in _JSON_PAIR.findall(record):
            fields.setdefault(name.lower(), text or digits)
    message = _BLANKS.sub(" ", record)
    for name, pattern in _KEYS.items():
        found = pattern.search(message)
        if found and name not in fields:
            fields[name] = found[1]
    remote = _section(message, "Remote Endpoint")
    for name, pattern in _REMOTE_KEYS.items():
        found = pattern.search(remote)
        if found and name not in fields:
            fields[name] = found[1]
    return fields


def _section(message: str, title: str) -> str:
    marks = list(_SECTIONS.finditer(message))
    for index, mark in enumerate(marks):
        if mark[1] == title:
            end = marks[index + 1].start() if index + 1 < len(marks) else mark.end() + 512
            return message[mark.end() : end]
    return ""


def _id(value: str | None) -> int | None:
    value = stated(value) or ""
    return (
        int(value)
        if value.isascii() and value.isdigit() and len(value) < 21 and int(value)
        else None
    )


def _time(record: str) -> float | None:
    found = _TIME.search(record)
    if found is None:
        return None
    if found["ms"]:
        return int(found["ms"]) / 1000
    try:
        when = datetime.fromisoformat(found["iso"] or found["key"] or found["date"])
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        return None


def _host(record: str) -> str | None:
    found = _COMPUTER.search(record)
    return (found[1] or found[2]) if found else None
