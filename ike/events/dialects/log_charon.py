"""The log of strongSwan's charon, whatever writes it: syslog, journald, files, containers.

Its sentences are those of `log_charon_rules.py`. What this module adds is the prefix, messages that are wrapped or
stand two on a line, and whom a line is about where it does not say so itself.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ike.events.dialects.log_charon_rules import RULES, Rule
from ike.events.dialects.validity import is_early
from ike.events.event import SaEvent

_GROUPS: Final = (
    rb"(?:IKE|CFG|NET|ENC|KNL|CHD|JOB|MGR|LIB|DMN|APP|ASN|ESP|TNC|IMC|IMV|PTS|TLS|WCH)\d?"
)
_SA: Final = (
    rb"(?:<(?:(?P<name>[^\n]{0,255}?)\|)?(?P<number>\d{1,10})> ?"
    rb"|<(?P<alone>[^\n<>|]{1,255})> (?!is initiating))?"  # there it is a placeholder for an address
)
_PROGRAM: Final = rb"\bcharon(?:-[a-z]{1,16})?(?:\[\d+\])?: "
_USUAL: Final = rb"[\w \t.:,+\-/<>|]{0,160}+(?:\[\d{1,10}+\]: )?+\d{0,3}+"
_BRACKET: Final = rb"(?<![^\d\s>|m])\[" + _GROUPS + rb"\] "  # an m ends a colour
# A line without a prefix, as `ipsec up` shows them and NetworkManager hands them on, is charon's where it begins with
# what only charon says.
_NAKED: Final = (
    rb"\A(?:\w{3} [ \d]\d \d\d:\d\d:\d\d )?(?:[\w.:+ -]{0,96}(?:NetworkManager|nm-[\w-]{1,32})\[\d+\]: )?"
    rb"(?=initiating (?:Main Mode |Aggressive Mode )?IKE_SA [^\n]{1,255}\[\d+\] to "
    rb"|(?:parsed|generating) [A-Z_0-9]+ (?:request|response) \d+ \[ "
    rb"|(?:received|sending) packet: from \S+\[\d+\] to \S+\[\d+\]"
    rb"|(?:re)?(?:authenticating|initiating) IKE_SA \S+\[\d+\]"
    rb"|(?:(?:deleting|received DELETE for|sending DELETE for) )?IKE_SA [^\n]{1,255}\[\d+\]"
    rb"(?: established| rekeyed| between|$)"
    rb"|(?:closing |outbound |rekeyed )?CHILD_SA [^\n]{1,255}\{\d+\} (?:established |with SPIs |state change: )"
    rb"|received [A-Z_]{6,32} (?:error notify|notify error|notify, no CHILD_SA built)"
    rb"|(?:received|sending) DELETE for (?:ESP|AH) CHILD_SA with SPI "
    rb"|peer didn't accept (?:DH group|key exchange method) |tried \d+ shared keys? for '"
    rb"|retransmit \d+ of request with message ID |giving up after \d+ retransmits"
    rb"|establishing IKE_SA failed, peer not responding|could not decrypt payloads|deleting half open IKE_SA "
    rb"|no (?:trusted [^\n]{0,32}public|shared) key found for |no matching (?:CHILD_SA|peer) config found"
    rb"|(?:DH group|key exchange method) \S+ (?:un|in)acceptable, requesting "
    rb"|\S+ is initiating an? (?:Main Mode |Aggressive Mode )?IKE_SA$)"
)
#: Searched in a line: true for charon's.
CUE: Final = re.compile(
    rb"\A" + _USUAL + _BRACKET + b"|" + _BRACKET + b"|" + _PROGRAM + b"|" + _NAKED
)
# What follows a program is the message, and no second prefix.
_NO_GROUP: Final = rb"(?![^\n]{0,48}?\[" + _GROUPS + rb"\] )"
_PREFIX: Final = re.compile(
    rb"(?:\A" + _USUAL + rb")?(?<![^\d\s>|m])\[(?P<group>" + _GROUPS + rb")\] " + _SA
    + b"|" + _PROGRAM + _NO_GROUP + b"|" + _NAKED
)  # fmt: skip
_KEPT: Final = 200_000  # IKE SAs, or peers, that are remembered
_LONGEST: Final = 4096  # characters of a message that are looked at
_MOST_HOSTS: Final = 10_000
_MOST_THREADS: Final = 10_000
_MOST_PARTS: Final = 8  # messages on a physical line
_MOST_LINES: Final = 4  # of a message that is wrapped
_STAMP_END: Final = re.compile(
    rb"(?:[A-Z][a-z]{2} [ \d]\d |\d{4}-\d\d-\d\d[T ])\d\d:\d\d:\d\d[^\s\[]{0,16}\s?$"
)
_NET: Final = b"[NET] "
#: In a line without the number of an SA: a packet that a thread received.
PACKET: Final = _NET + b"received packet: from "
_PACKET: Final = re.compile(rb"received packet: from (\S+?)\[\d+\] to ")
_CREATE: Final = re.compile(
    rb"(?P<was>generating|parsed) CREATE_CHILD_SA (?P<what>\w+) (?P<id>\d+) \["
)
_COLOUR: Final = re.compile("\x1b\\[[0-9;]*m")
_EXCHANGES: Final = (
    b"received packet: from ",
    b"generating CREATE_",
    b"parsed CREATE_",
    b"verifying ",
)
_REFUSALS: Final = ("failed to establish CHILD_SA", "received TEMPORARY_FAILURE")
_NO_SA: Final = frozenset({"half_open_limit"})  # whose line is about no SA
# Beside the sentences of the rules: what tells which exchange a thread is in.
_TELLING: Final = (
    "generating CREATE_CHILD_SA ",
    "parsed CREATE_CHILD_SA ",
    "verifying ",
    "failed to establish CHILD_SA",
    "received TEMPORARY_FAILURE",
)


def _by_first_word() -> tuple[Mapping[str, Sequence[Rule]], Sequence[Rule]]:
    """The rules by the word that their sentence begins with, and those that begin with a value."""
    listed: dict[str, list[Rule]] = {}
    others = []
    for rule in RULES:
        word, blank, _ = rule.literal.partition(" ")
        if blank:
            listed.setdefault(word, []).append(rule)
        else:
            others.append(rule)
    return listed, others


_LISTED, _OTHERS = _by_first_word()


def _telling(group: str = "") -> bytes:
    """How a message begins that is looked at: as a sentence of a rule, or as what tells whom others are about."""
    begun: dict[str, set[str]] = {}
    for rule in RULES:
        if " " in rule.literal and group in ("", "IKE", rule.group):
            begun.setdefault(rule.literal[0], set()).add(rule.literal[1:])
    for told in _TELLING if group != "NET" else ():
        begun.setdefault(told[0], set()).add(told[1:])
    branches = (
        re.escape(first) + "(?:" + "|".join(re.escape(rest) for rest in sorted(rests)) + ")"
        for first, rests in sorted(begun.items())
    )
    return "|".join(branches).encode()


_BEFORE: Final = _USUAL + rb"(?<![^\d\s>|])\["
_SA_DULL: Final = rb"<(?:[^\n<>]{0,255}\|)?+\d{1,10}+> "
_CALLS: Final = rb"[^\s'\"]{1,64}+ (?:[^\s'\"]{1,24} ){0,2}?is initiating "
_BARE: Final = rb"[\w \t.:,+\-/<>|]{0,160}+(?<=[ >|]charon-systemd)\[\d{1,10}+\]: " + _NO_GROUP


def _no(*words: bytes) -> bytes:
    return rb"(?! *+(?:<|" + b"|".join(words) + b"))"


#: Matches as many whole lines of the usual layouts as there are that nothing is told by. The first line after them may
#: be anything. Packets tell whom a thread speaks with, and are of no use where each line has the number of its SA.
DULL: Final = re.compile(
    rb"(?:(?:" + _BEFORE
    + rb"(?:NET\d?\] (?:" + _SA_DULL + _no(_telling("NET"))
    + b"|" + _no(b"received packet: from ", _telling("NET")) + b")"
    + rb"|ENC\d?\] (?:" + _SA_DULL + b")?+" + _no(_telling("ENC"))
    + rb"|IKE\d?\] (?:" + _SA_DULL + b")?+" + _no(_telling("IKE"), _CALLS)
    + rb"|(?!NET|ENC|IKE)" + _GROUPS + rb"\] (?:" + _SA_DULL + b")?+" + _no(_telling())
    + b")|" + _BARE + _no(_telling(), _CALLS) + rb")[^\n]*+\n)*+"
)  # fmt: skip


@dataclass(slots=True)
class _Thread:
    """What a thread of the daemon does since the packet that it received last."""

    packet: bytes = b""
    is_v2: bool = False  # a message of IKEv2 whose integrity was checked
    rekeys_child: bool = False
    ike_id: int | None = None

    @property
    def source(self) -> str | None:
        """Who sent that packet."""
        sender = _PACKET.match(self.packet)
        return sender[1].decode("utf-8", "replace") if sender else None


@dataclass(slots=True)
class _Host:
    """What the lines of one host told: names and addresses by IKE SA, names by address, rekeys that are under way."""

    names: dict[int, str] = field(default_factory=dict)
    peers: dict[int, str] = field(default_factory=dict)
    names_by_peer: dict[str, str] = field(default_factory=dict)
    threads: dict[str, _Thread] = field(default_factory=dict)
    rekeys: set[tuple[int | None, bytes]] = field(default_factory=set)


class _Line(NamedTuple):
    """What the prefix of a message shows."""

    number: int
    time: float | None
    host: str | None
    at: _Host
    thread: str | None
    name: str | None
    ike_id: int | None


class Parser:
    """Reads the lines of charon, of one host or of many. Raises nothing, whatever the bytes."""

    def __init__(self) -> None:
        self._hosts: dict[str | None, _Host] = {}
        self._held: tuple[_Line, str, int] | None = (
            None  # a message that may go on, and its last line
        )

    def line(
        self, number: int, raw: bytes, time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        """The events of one line; of an earlier one too, where it was held back to see whether it goes on."""
        found = _PREFIX.search(raw)
        if found is None:
            return self._continued(number, raw)
        owed = self.close() if self._held else ()
        if raw.find(b"]: ", found.end()) < 0:
            events = self._message(number, raw, found, time, host)
        else:
            events = [
                event
                for part, begun in _parts(raw, found)
                for event in self._message(number, part, begun, time, host)
            ]
        return [*owed, *events] if owed else events

    def close(self) -> Sequence[SaEvent]:
        """What a message that was held back says, for it did not go on."""
        if self._held is None:
            return ()
        (line, message, _), self._held = self._held, None
        return self._read(line, message)[0]

    def note_packet(self, raw: bytes, host: str | None) -> None:
        """The same of a line with `PACKET`, of which only the thread before it and the rest are needed."""
        bracket = raw.find(b"[")
        if name := _thread(raw, bracket):
            _note_packet(self._at(host), name, raw[bracket + len(_NET) :])

    def _at(self, host: str | None) -> _Host:
        at = self._hosts.get(host)
        if at is None:
            if len(self._hosts) >= _MOST_HOSTS:
                self._hosts.clear()
            at = self._hosts[host] = _Host()
        return at

    def _continued(self, number: int, raw: bytes) -> Sequence[SaEvent]:
        if self._held is None:
            return ()
        line, message, last = self._held
        more = raw[:_LONGEST].decode("utf-8", "replace").strip()
        if number != last + 1 or not more or number - line.number >= _MOST_LINES:
            return self.close()
        for glue in (" ", ""):  # broken between words, or where the screen ended
            events, is_whole = self._read(line, message + glue + more)
            if is_whole:
                self._held = None
                return events
        self._held = (line, f"{message} {more}"[:_LONGEST], number)
        return ()

    def _message(
        self, number: int, raw: bytes, found: re.Match[bytes], time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        _, name, ike_id, alone = found.groups()
        name = name or alone
        thread = _thread(raw, found.start("group") - 1)
        text = raw[found.end() : found.end() + _LONGEST]
        at = self._at(host)
        if text.startswith(_EXCHANGES):
            if thread:
                _note_exchange(at, thread, int(ike_id) if ike_id else None, text)
            return ()
        line = _Line(
            number,
            time,
            host,
            at,
            thread,
            name.decode("utf-8", "replace") if name and name != b"(unnamed)" else None,
            int(ike_id) if ike_id else None,
        )
        message = text.decode("utf-8", "replace").strip()
        if "\x1b" in message:
            message = _COLOUR.sub("", message).strip()
        events, is_whole = self._read(line, message)
        if not is_whole:
            self._held = (line, message, number)
            return ()
        return events

    def _read(self, line: _Line, message: str) -> tuple[Sequence[SaEvent], bool]:
        """The events of a message, and whether it is one that is known and complete."""
        rules = _LISTED.get(message.partition(" ")[0])
        if rules is None and " is initiating " in message:
            rules = _OTHERS
        begun: tuple[Rule, re.Match[str]] | None = None
        for rule in rules or ():
            if not message.startswith(rule.literal):
                continue
            if whole := rule.whole.match(message):
                return _events(rule, whole, line, message), True
            if begun is None and (opening := rule.opening.match(message)):
                begun = rule, opening
        if begun is not None:
            return _events(*begun, line, message), False
        if message.startswith(_REFUSALS) and _is_of_child_rekey(line):
            return (_event(_FAILED_REKEY, {}, line),), True
        return (), False


def _thread(raw: bytes, bracket: int) -> str | None:
    """The number before the bracket of the group, if there is one."""
    for size in (3, 2, 1):
        digits = raw[max(0, bracket - size) : max(0, bracket)]
        if digits.isdigit():
            return digits.decode()
    return None


def _parts(raw: bytes, found: re.Match[bytes]) -> Iterator[tuple[bytes, re.Match[bytes]]]:
    """The messages of a physical line: nearly always one, and not more than a few.

    Another one begins only where a stamp and the whole tag stand again, with the daemon's process number: a peer
    chooses its identity, but does not know that number.
    """
    for _ in range(_MOST_PARTS):
        tag = raw[: found.end()]
        if found["group"]:
            tag = raw[: found.start("group") - 1].rstrip(b"0123456789")
        clock = tag.rfind(b":", 0, tag.rfind(b"["))
        tag = tag[tag.find(b" ", clock) :] if clock >= 0 else b""
        start = raw.find(tag, found.end()) if len(tag) > 6 else -1
        stamp = _STAMP_END.search(raw, max(0, start - 48), start) if start >= 0 else None
        rest = raw[stamp.start() :] if stamp else b""
        again = _PREFIX.search(rest)
        if stamp is None or again is None:
            break
        yield raw[: stamp.start()], found
        raw, found = rest, again
    yield raw, found


def _events(rule: Rule, read: re.Match[str], line: _Line, message: str) -> tuple[SaEvent, ...]:
    if rule.kind == "auth_failed" and rule.group == "ENC" and _is_v2(line):
        return ()  # a broken packet, no wrong key
    event = _event(rule, read.groupdict(), line)
    if message.endswith(", no CHILD_SA built") and _is_of_child_rekey(line):
        return event, event._replace(kind="child_rekey_failed")
    if event.reason == "expired" and is_early(message, event.time):
        return (event._replace(reason="not_yet_valid"),)
    if event.reason == "duplicate":
        return event, event._replace(kind="duplicate_replaced")
    return (event,)


def _event(rule: Rule, given: Mapping[str, str | None], line: _Line) -> SaEvent:
    """What the line shows, and below it whom it is about."""
    get = given.get
    connection, ike_id, child = get("connection") or get("quoted"), get("ike_id"), get("child")
    number = int(ike_id[:10]) if ike_id else line.ike_id
    if connection is None or connection == "(unnamed)":
        connection = line.name if connection is None or number == line.ike_id else None
    identity, peer = get("identity"), get("peer")
    source, name = _about(rule, number, connection, peer, line)
    shown = rule.kind not in _NO_SA
    fixed = rule.fixed
    return SaEvent(
        rule.kind,
        line.number,
        line.time,
        peer if peer else identity,
        (connection or child) if shown else None,
        number if shown else None,
        child,
        _number(get("child_id")),
        get("spi_in"),
        get("spi_out"),
        line.ike_id if rule.kind == "ike_rekeyed" and line.ike_id != number else None,
        _number(get("new_child_id")),
        _number(get("seq")),
        fixed.get("phase"),
        line.thread,
        source,
        name or child,
        identity,
        fixed.get("reason"),
        get("algorithms"),
        _sum(get("bytes_in"), get("bytes_out")),
        float(get("seconds") or 0) or None,
        line.host,
        "charon",
    )


def _number(text: str | None) -> int | None:
    return int(text[:10]) if text else None


def _sum(one: str | None, other: str | None) -> int | None:
    return int(one[:20]) + int(other[:20]) if one and other else None


def _about(
    rule: Rule, ike_id: int | None, name: str | None, peer: str | None, line: _Line
) -> tuple[str | None, str | None]:
    """The peer's address and the connection's name, from this line and the ones before it."""
    at, source = line.at, peer
    thread = at.threads.get(line.thread) if line.thread and not rule.timer else None
    if ike_id is None and thread is not None:
        ike_id = thread.ike_id
    if ike_id is not None:
        source = source or at.peers.get(ike_id)
        name = name or at.names.get(ike_id)
    if thread is not None:
        source = source or thread.source
        thread.ike_id = ike_id
    if source is not None:
        name = name or at.names_by_peer.get(source)
    _remember(at, ike_id, source, name)
    return source, name


def _remember(at: _Host, ike_id: int | None, source: str | None, name: str | None) -> None:
    if ike_id is not None and source is not None:
        _keep(at.peers, ike_id, source)
    if ike_id is not None and name is not None:
        _keep(at.names, ike_id, name)
    if source is not None and name is not None:
        _keep(at.names_by_peer, source, name)


def _keep(table: dict[Any, str], key: Any, value: str) -> None:
    if key not in table and len(table) >= _KEPT:
        del table[next(iter(table))]
    table[key] = value


def _note_packet(at: _Host, thread: str, text: bytes) -> None:
    if len(at.threads) >= _MOST_THREADS:
        at.threads.clear()
    at.threads[thread] = _Thread(text)


def _note_exchange(at: _Host, name: str, ike_id: int | None, text: bytes) -> None:
    """What a thread begins with a packet, and which CREATE_CHILD_SA exchanges rekey a Child SA."""
    if text.startswith(b"received"):
        _note_packet(at, name, text)
        return
    thread = at.threads.setdefault(name, _Thread())
    found = _CREATE.match(text)
    if found is None:
        thread.is_v2 = thread.is_v2 or b"integrity failed" in text
    elif found["was"] == b"parsed" and found["what"] == b"request":
        thread.rekeys_child = b"N(REKEY_SA)" in text
    elif found["was"] == b"parsed":
        thread.rekeys_child = (ike_id, found["id"]) in at.rekeys
        at.rekeys.discard((ike_id, found["id"]))
    elif found["what"] == b"request" and b"N(REKEY_SA)" in text:
        if len(at.rekeys) >= _KEPT:
            at.rekeys.clear()
        at.rekeys.add((ike_id, found["id"]))


def _is_v2(line: _Line) -> bool:
    thread = line.at.threads.get(line.thread) if line.thread else None
    return thread is not None and thread.is_v2


def _is_of_child_rekey(line: _Line) -> bool:
    thread = line.at.threads.get(line.thread) if line.thread else None
    return thread is not None and thread.rekeys_child


_FAILED_REKEY: Final = next(rule for rule in RULES if rule.kind == "child_rekey_failed")
