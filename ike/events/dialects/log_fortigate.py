"""The logs of FortiGates: event logs of keys and values, and what `diagnose debug application ike` writes.

Forms: https://docs.fortinet.com/document/fortigate/7.4.0/fortios-log-message-reference (type event, subtype vpn;
FortiOS 4 wrote `subtype=ipsec`, `rem_ip` and `vpn_tunnel`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ike.events.dialects.fortigate_phrases import CONSOLE, REASONS
from ike.events.dialects.wording import Phrase, address, fitting, readable, spi, stated
from ike.events.event import SaEvent

CUE: Final = re.compile(rb"subtype=\"?(?:vpn|ipsec)\b|ike (?:V=[\w.-]{1,64}:)?-?\d{1,4}:")

_PAIR: Final = re.compile(
    r"(?<![\w.-])(?:FTNTFGT)?([A-Za-z]\w{0,40})=(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s,\"]*))"
)
_CEF_PAIR: Final = re.compile(
    r"(?<![\w.-])(?:FTNTFGT)?([A-Za-z]\w{0,40})=(.*?)(?=\s[A-Za-z]\w{0,40}=|\s*$)"
)
_CONSOLE: Final = re.compile(
    r"\bike (?:V=[\w.-]{1,64}:)?-?\d{1,4}:(?P<head>(?:[^\s:][^:]{0,127}:){0,4}?) +(?P<text>\S.*)"
)
_COOKIES: Final = re.compile("[0-9a-fA-F]{16}/[0-9a-fA-F]{16}")
_WAY: Final = re.compile(r"(?P<from>[^\s>,]+?):\d+->(?P<to>[^\s>,]+?):\d+")
_SPIS: Final = re.compile(
    r"SPIs?[ =](?P<first>[0-9a-f]{4,8})\b(?:/(?P<second>[0-9a-f]{4,8}))?"
    r"|\bSA (?P<in>[0-9a-f]{8})/(?P<out>[0-9a-f]{8})\b",
    re.I,
)

# By `action`, of lines that need no second look.
_ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "phase1-up": ("ike_established",),
    "phase1-down": ("ike_deleted",),
    "delete_phase1_sa": ("ike_deleted",),
    "phase2-up": ("child_established",),
    "tunnel-up": ("child_established",),
    "install_sa": ("child_established",),
    "phase2-down": ("child_closed",),
    "tunnel-down": ("child_closed",),
    "delete_ipsec_sa": ("child_closed",),
    "delete_phase2_sa": ("child_closed",),
    "dpd_failure": ("dpd_timeout",),
}
_EXPLAINED: Final = (
    "reason",
    "error_reason",
    "error_num",
    "peer_notif",
    "peer_notify",
    "error",
    "desc",
    "msg",
    "logdesc",
)
_REMEMBERED: Final = 4096  # connections
_MAIN: Final = frozenset({"main", "aggressive", "ident"})


class Parser:
    """Reads the lines of FortiGates.

    What it keeps is for correlation: the peer that packets of a connection went to or came from, and which
    connections a sentence has just said to start, for the first packet then tells nothing new.
    """

    def __init__(self) -> None:
        self._starting: dict[str | None, None] = {}
        self._peers: dict[str, str] = {}
        self._came: str | None = None  # from whom the last packet was

    def line(
        self, number: int, raw: bytes, time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        """The events of one line; () for none."""
        if CUE.search(raw) is None:
            return ()
        text = readable(raw)
        said = _of_record(_pairs(text)) if "subtype=" in text else self._of_console(text)
        return tuple(
            fitting(event)._replace(
                line=number, time=time, host=host or event.host, daemon="fortigate"
            )
            for event in said
        )

    def close(self) -> Sequence[SaEvent]:
        """Nothing is owed."""
        return ()

    def _of_console(self, text: str) -> Iterator[SaEvent]:
        found = _CONSOLE.search(text)
        if found is None:
            return
        source = self._source(found["head"].partition(":")[0], found["text"])
        for event in _of_message(found["head"], found["text"]):
            if event.kind != "ike_initiate" or self._is_new(event, text):
                yield event._replace(source=event.peer or source)

    def _source(self, key: str, said: str) -> str | None:
        way = _WAY.search(said)
        if way and said.startswith("comes"):
            self._came = address(way["from"])
        elif way and said.startswith("sent"):
            self._keep(self._peers, key, address(way["to"]) or "")
        elif _COOKIES.fullmatch(key) and key not in self._peers and self._came:
            self._keep(self._peers, key, self._came)  # no gateway has been chosen yet
        return self._peers.get(key) or None

    def _is_new(self, event: SaEvent, text: str) -> bool:
        if "sent IKE msg" in text:
            return self._starting.pop(event.connection, False) is False
        self._keep(self._starting, event.connection, None)
        return True

    @staticmethod
    def _keep(memory: dict[Any, Any], key: str | None, value: str | None) -> None:
        memory[key] = value
        if len(memory) > _REMEMBERED:
            del memory[next(iter(memory))]


def _pairs(text: str) -> dict[str, str]:
    """The first value of each key. What stands in quotes is never read as a key."""
    fields: dict[str, str] = {}
    if "CEF:" in text:  # no quotes there, and `act` for the action
        for key, value in _CEF_PAIR.findall(text):
            fields.setdefault("action" if key == "act" else key, value)
        return fields
    for found in _PAIR.finditer(text):
        key, quoted, bare = found.groups()
        fields.setdefault(key, quoted if quoted is not None else bare)
    return fields


def _of_record(fields: Mapping[str, str]) -> Iterator[SaEvent]:
    if fields.get("subtype", "").lower() not in ("vpn", "ipsec"):
        return  # what is quoted in another record
    if fields.get("tunneltype", "").startswith(("ssl", "l2tp", "pptp")):
        return  # other VPNs than IPsec
    if "ssl" in (fields.get("action", "") + fields.get("logdesc", "")).lower():
        return
    kinds, reason = _meaning(fields)
    for kind in kinds:
        yield SaEvent(
            kind,
            0,
            peer=address(fields.get("remip") or fields.get("rem_ip")),
            connection=stated(fields.get("vpntunnel") or fields.get("vpn_tunnel")),
            spi_in=spi(fields.get("in_spi")),
            spi_out=spi(fields.get("out_spi")),
            source=address(fields.get("remip") or fields.get("rem_ip")),
            name=stated(fields.get("vpntunnel") or fields.get("vpn_tunnel")),
            identity=stated(fields.get("xauthuser")) or stated(fields.get("user")),
            reason=reason,
            size=_size(fields),
            host=stated(fields.get("devname")),
        )


def _meaning(fields: Mapping[str, str]) -> tuple[tuple[str, ...], str | None]:
    """The kinds of events of one record, and why."""
    action = fields.get("action", "").lower()
    status = fields.get("status", "").lower()
    if action in _ACTIONS:
        return _ACTIONS[action], None
    if action == "dpd":
        return (("dpd_timeout",) if "fail" in status else ()), None
    if action == "negotiate" and status not in ("failure", "negotiate_error", "error"):
        return _progress(fields), None
    if "fail" in status or "err" in status or action in ("error", "ipsec_error"):
        return _failure(fields)
    return (), None


def _progress(fields: Mapping[str, str]) -> tuple[str, ...]:
    """A step of a negotiation: its first one in phase 1, and its end, say something."""
    second = "phase 2" in (fields.get("logdesc", "") + fields.get("msg", "")).lower()
    mode, exchange = fields.get("mode", "").lower(), fields.get("exch", "").upper()
    if second or mode == "quick" or exchange == "CREATE_CHILD":
        return ("child_established",) if fields.get("result") == "DONE" else ()
    if fields.get("result") == "DONE":
        return ("ike_established",)
    if fields.get("stage") != "1" or not (mode in _MAIN or exchange in ("SA_INIT", "IDENT")):
        return ()
    ours = fields.get("role", fields.get("init", "")).lower() in ("initiator", "local")
    way = fields.get("dir", "").lower()
    if ours:
        return ("ike_initiate",) if way in ("outbound", "") else ()
    return ("ike_respond",) if way in ("inbound", "") else ()


def _failure(fields: Mapping[str, str]) -> tuple[tuple[str, ...], str | None]:
    for key in _EXPLAINED:
        phrase = REASONS.find(fields.get(key, ""))
        if phrase is not None:
            return phrase.kinds, phrase.reason
    return (), None


def _size(fields: Mapping[str, str]) -> int | None:
    both = [fields.get("sentbyte", ""), fields.get("rcvdbyte", "")]
    if not all(each.isascii() and each.isdigit() and len(each) < 20 for each in both):
        return None
    return int(both[0]) + int(both[1])


def _of_message(head: str, said: str) -> Iterator[SaEvent]:
    phrase = CONSOLE.find(said)
    if phrase is None:
        return
    shown = _named(head)._replace(
        peer=_remote(said, phrase), phase=phrase.phase, reason=phrase.reason
    )
    shown = shown._replace(name=shown.connection)
    for kind in phrase.kinds:
        yield _with_spis(shown._replace(kind=kind), said)


def _named(head: str) -> SaEvent:
    """The names and numbers before a message: `gateway:7:`, `gateway:7:selector:31:`, `gateway:selector:`."""
    event = SaEvent("", 0)
    parts = head.split(":")[:-1]
    if not parts:
        return event
    if _COOKIES.fullmatch(parts[0]) is None:
        event = event._replace(connection=stated(parts[0]))
    rest = parts[1:]
    if rest and _digits(rest[0]):
        event = event._replace(ike_id=int(rest[0]))
        rest = rest[1:]
    if rest and not _digits(rest[0]):
        event = event._replace(child=stated(rest[0]))
        rest = rest[1:]
    if rest and _digits(rest[0]):
        event = event._replace(child_id=int(rest[0]))
    return event


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _remote(said: str, phrase: Phrase) -> str | None:
    """The far end of `a:500->b:500`: where we sent it to, or where it came from."""
    found = _WAY.search(said)
    if found is None:
        return None
    inbound = phrase.opening.startswith(("comes", "recv", "received"))
    return address(found["from"] if inbound else found["to"])


def _with_spis(event: SaEvent, said: str) -> SaEvent:
    found = _SPIS.search(said)
    if found is None:
        return event
    if found["in"]:
        return event._replace(spi_in=spi(found["in"]), spi_out=spi(found["out"]))
    if found["second"]:
        return event._replace(spi_in=spi(found["first"]), spi_out=spi(found["second"]))
    # One that we send names our inbound SA; what we delete by number after a notice is the outbound one.
    if said.lower().startswith("send"):
        return event._replace(spi_in=spi(found["first"]))
    return event._replace(spi_out=spi(found["first"]))
