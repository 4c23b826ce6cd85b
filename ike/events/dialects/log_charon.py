"""The log of strongSwan's charon, whatever writes it: syslog, journald, files, containers.

Its sentences are those of `log_charon_rules.py`. What this module adds is the prefix, messages that are wrapped or
stand two on a line, and whom a line is about where it does not say so itself.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ike.events.dialects.charon_repeats import LINES, Repeats, address_in, speaker
from ike.events.dialects.log_charon_lines import NET, PREFIX, process_before, thread_before
from ike.events.dialects.log_charon_rules import RULES, SHOWN, Rule, Values
from ike.events.dialects.validity import is_early
from ike.events.event import SaEvent

_KEPT: Final = 200_000  # IKE SAs, or peers, that are remembered
_LONGEST: Final = 4096  # characters of a message that are looked at
_MOST_DAEMONS: Final = 10_000
_MOST_THREADS: Final = 10_000
_MOST_PARTS: Final = 8  # messages on a physical line
_MOST_LINES: Final = 4  # of a message that is wrapped
_STAMP_END: Final = re.compile(
    rb"(?:[A-Z][a-z]{2} [ \d]\d |\d{4}-\d\d-\d\d[T ])\d\d:\d\d:\d\d[^\s\[]{0,16}\s?$"
)
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
    b"looking for ",
)
_REFUSALS: Final = ("failed to establish CHILD_SA", "received TEMPORARY_FAILURE")
_OF_SILENCE: Final = frozenset({"retransmit", "giving_up", "dpd_timeout"})
_NO_SA: Final = frozenset({"half_open_limit"})  # whose line is about no SA


def _by_beginning() -> tuple[Mapping[str, Mapping[str, Sequence[Rule]]], Sequence[Rule]]:
    """The rules by the word that their sentence begins with and the letter after it, "" where that is a value; and
    those that begin with a value.
    """
    listed: dict[str, list[Rule]] = {}
    others = []
    for rule in RULES:
        word, blank, _ = rule.literal.partition(" ")
        if blank:
            listed.setdefault(word, []).append(rule)
        else:
            others.append(rule)
    by_letter = {}
    for word, rules in listed.items():
        after = len(word) + 1
        letters = {rule.literal[after : after + 1] for rule in rules} | {""}
        by_letter[word] = {
            letter: [rule for rule in rules if rule.literal[after : after + 1] in ("", letter)]
            for letter in letters
        }
    return by_letter, others


_LISTED, _OTHERS = _by_beginning()


@dataclass(slots=True)
class _Thread:
    """What a thread of the daemon does since the packet that it received last."""

    packet: bytes = b""
    is_v2: bool = False  # a message of IKEv2 whose integrity was checked
    rekeys_child: bool = False
    ike_id: int | None = None
    claimed: str | None = None  # the identity for which a configuration is looked for

    @property
    def source(self) -> str | None:
        """Who sent that packet."""
        return _sender(self.packet)


@dataclass(slots=True)
class _Daemon:
    """What the lines of one daemon told: names and addresses by IKE SA, names by address, rekeys that are under way;
    and by Child SA the address and the name, where lines show no number of an IKE SA.
    """

    names: dict[int, str] = field(default_factory=dict)
    peers: dict[int, str] = field(default_factory=dict)
    names_by_peer: dict[str, str] = field(default_factory=dict)
    children: dict[int, tuple[str | None, str | None]] = field(default_factory=dict)
    threads: dict[str, _Thread] = field(default_factory=dict)
    #: What threads received last, of which they told nothing yet: nearly all ask only whether a peer is there.
    packets: dict[str, bytes] = field(default_factory=dict)
    rekeys: set[tuple[int | None, bytes]] = field(default_factory=set)
    repeats: Repeats = field(default_factory=Repeats)

    def forget_numbers(self) -> None:
        """The daemon begins anew, and so do they."""
        for clear in (self.names.clear, self.peers.clear, self.children.clear, self.rekeys.clear):
            clear()

    def thread(self, name: str | None) -> _Thread | None:
        """What the thread does; None where it has no name, or nothing was told of it."""
        if name is None:
            return None
        packet = self.packets.pop(name, None)
        return self.threads.get(name) if packet is None else self.begun(name, packet)

    def begun(self, name: str, packet: bytes = b"") -> _Thread:
        """The thread, with what it does now."""
        if len(self.threads) >= _MOST_THREADS:
            self.threads.clear()
        self.threads[name] = thread = _Thread(packet)
        return thread


class _Line(NamedTuple):
    """What the prefix of a message shows."""

    number: int
    time: float | None
    host: str | None
    at: _Daemon
    thread: str | None
    name: str | None
    ike_id: int | None


class Parser:
    """Reads the lines of charon, of one host or of many. Raises nothing, whatever the bytes."""

    def __init__(self) -> None:
        #: By host and process: each daemon numbers its threads and SAs anew.
        self._daemons: dict[tuple[str | None, str | None], _Daemon] = {}
        #: By host: who has which address, which outlives a daemon.
        self._names: dict[str | None, dict[str, str]] = {}
        #: A message that may go on, and its last line.
        self.held: tuple[_Line, str, int] | None = None
        #: What names nobody, who tells it, and how many lines after it may name somebody.
        self.unaddressed: tuple[_Line, SaEvent, bytes, int] | None = None

    def line(
        self, number: int, raw: bytes, time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        """The events of one line; of an earlier one too, where it was held back to see whether it goes on."""
        owed = self.address(raw) if self.unaddressed else ()
        found = PREFIX.search(raw)
        if found is None:
            return [*owed, *self._continued(number, raw)]
        if self.held:
            owed = self.close()
        before = found.start("group") - 1 if found["group"] else found.end()
        at = (time, host, process_before(raw, before))
        if raw.find(b"]: ", found.end()) < 0:
            events = self.message(number, raw, len(raw), found, *at)
        else:
            events = [
                event
                for part, begun in _parts(raw, found)
                for event in self.message(number, part, len(part), begun, *at)
            ]
        return [*owed, *events] if owed else events

    def message(
        self,
        number: int,
        raw: bytes,
        stop: int,
        found: re.Match[bytes],
        time: float | None,
        host: str | None,
        process: str | None = None,
    ) -> Sequence[SaEvent]:
        """The events of one message in `raw` up to `stop`, behind the prefix `found`. Before it, `close` is called
        where something is `held`.
        """
        name, ike_id, alone = found.groups()[-3:]
        name = name or alone
        begin, bracket = found.end(), found.start("group") - 1
        thread = thread_before(raw, bracket)
        text = raw[begin : min(begin + _LONGEST, stop)]
        at = self._at(host, process)
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
            self.held = (line, message, number)
            return ()
        if events and events[0].kind in _OF_SILENCE and events[0].ike_id is None:
            return self._of_silence(line, message, events[0], speaker(raw, bracket))
        return events

    def close(self) -> Sequence[SaEvent]:
        """What a message that was held back says, for it did not go on."""
        owed = self.address(b"")
        if self.held is None:
            return owed
        (line, message, _), self.held = self.held, None
        return [*owed, *self._read(line, message)[0]]

    def address(self, line: bytes) -> Sequence[SaEvent]:
        """What was `unaddressed`, if the line after it says whom it is about, or that none will."""
        if self.unaddressed is None:
            return ()
        (about, event, told_by, left), self.unaddressed = self.unaddressed, None
        goes_on, peer = address_in(line, told_by)
        if peer is None and goes_on and left > 1:
            self.unaddressed = about, event, told_by, left - 1
            return ()
        if peer is not None and event.kind == "retransmit":
            about.at.repeats.note(peer, event.seq or 0)
        return (_sent_to(peer, about, event),)

    def _of_silence(
        self, line: _Line, message: str, event: SaEvent, told_by: bytes
    ) -> Sequence[SaEvent]:
        """A peer does not answer; its line shows no number of an IKE SA."""
        if event.kind == "giving_up":
            return (_sent_to(line.at.repeats.give_up(message), line, event),)
        if event.source is not None:
            return (event,)
        owed = self.address(b"")  # of a message before it on the same line
        self.unaddressed = line, event, told_by, LINES[event.kind]
        return owed

    def note_packet(
        self, data: bytes, bracket: int, stop: int, host: str | None, process: str | None = None
    ) -> None:
        """The same of a line of `data` up to `stop` with `PACKET` at `bracket`."""
        if name := thread_before(data, bracket):
            _note_packet(self._at(host, process), name, data[bracket + len(NET) : stop])

    def _at(self, host: str | None, process: str | None) -> _Daemon:
        at = self._daemons.get((host, process))
        if at is None:
            if len(self._daemons) >= _MOST_DAEMONS:
                self._daemons.clear()
                self._names.clear()
            names = self._names.setdefault(host, {})
            at = self._daemons[host, process] = _Daemon(names_by_peer=names)
        return at

    def _continued(self, number: int, raw: bytes) -> Sequence[SaEvent]:
        if self.held is None:
            return ()
        line, message, last = self.held
        more = raw[:_LONGEST].decode("utf-8", "replace").strip()
        if number != last + 1 or not more or number - line.number >= _MOST_LINES:
            return self.close()
        for glue in (" ", ""):  # broken between words, or where the screen ended
            events, is_whole = self._read(line, message + glue + more)
            if is_whole:
                self.held = None
                return events
        self.held = (line, f"{message} {more}"[:_LONGEST], number)
        return ()

    def _read(self, line: _Line, message: str) -> tuple[Sequence[SaEvent], bool]:
        """The events of a message, and whether it is one that is known and complete."""
        begun: tuple[Rule, Values] | None = None
        for rule in _rules_for(message):
            if not message.startswith(rule.literal):
                continue
            whole = rule.whole.read(message)
            if whole is not None:
                return _events(rule, whole, line, message), True
            if begun is None and rule.opening is not None:
                opening = rule.opening.read(message)
                if opening is not None:
                    begun = rule, opening
        if begun is not None:
            return _events(*begun, line, message), False
        if message.startswith(_REFUSALS) and _is_of_child_rekey(line):
            return (_event(_FAILED_REKEY, _NOTHING_SHOWN, line),), True
        return (), False


def _rules_for(message: str) -> Sequence[Rule]:
    """The rules whose sentence may be the beginning of `message`."""
    word, _, rest = message.partition(" ")
    by_letter = _LISTED.get(word)
    if by_letter is None:
        return _OTHERS if " is initiating " in message else ()
    return by_letter.get(rest[:1]) or by_letter[""]


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
        again = PREFIX.search(rest)
        if stamp is None or again is None:
            break
        yield raw[: stamp.start()], found
        raw, found = rest, again
    yield raw, found


def _events(rule: Rule, shown: Values, line: _Line, message: str) -> tuple[SaEvent, ...]:
    if rule.group == "ENC" and rule.kind == "auth_failed" and _is_v2(line):
        return ()  # a broken packet, no wrong key
    if rule.kind == "daemon_started":
        line.at.forget_numbers()
    event = _event(rule, shown, line)
    if rule.kind == "unknown_peer":
        return (_claimed(event, line),)
    if message.endswith(", no CHILD_SA built") and _is_of_child_rekey(line):
        return event, event._replace(kind="child_rekey_failed")
    if rule.reason == "expired" and is_early(message, event.time):
        return (event._replace(reason="not_yet_valid"),)
    if rule.reason == "duplicate":
        return event, event._replace(kind="duplicate_replaced")
    return (event,)


def _claimed(event: SaEvent, line: _Line) -> SaEvent:
    """A peer that no configuration fits, with the identity that the line before told."""
    thread = line.at.thread(line.thread)
    if thread is None or thread.claimed is None:
        return event
    claimed, thread.claimed = thread.claimed, None
    return event._replace(identity=event.identity or claimed)


def _event(rule: Rule, shown: Values, line: _Line) -> SaEvent:
    """What the line shows, and below it whom it is about."""
    (connection, quoted, ike_id, child, child_id, new_child_id, spi_in, spi_out, seq, *others) = (
        shown
    )
    peer, identity, algorithms, bytes_in, bytes_out, seconds = others
    connection = connection or quoted
    kind, number = rule.kind, line.ike_id
    if ike_id:
        number = int(ike_id[:10])
    if connection is None or connection == "(unnamed)":
        connection = line.name if connection is None or number == line.ike_id else None
    source, name = _about(rule, number, connection, peer, line)
    if number is None and child_id:
        source, name = _about_child(line.at, int((new_child_id or child_id)[:10]), source, name)
    of_sa = kind not in _NO_SA
    return SaEvent(
        kind,
        line.number,
        line.time,
        peer or identity,
        (connection or child) if of_sa else None,
        number if of_sa else None,
        child,
        int(child_id[:10]) if child_id else None,
        spi_in,
        spi_out,
        line.ike_id if kind == "ike_rekeyed" and line.ike_id != number else None,
        int(new_child_id[:10]) if new_child_id else None,
        int(seq[:10]) if seq else None,
        rule.phase,
        line.thread,
        source,
        name or child,
        identity,
        rule.reason,
        algorithms,
        int(bytes_in[:20]) + int(bytes_out[:20]) if bytes_in and bytes_out else None,
        (float(seconds) or None) if seconds else None,
        line.host,
        "charon",
    )


def _about(
    rule: Rule, ike_id: int | None, name: str | None, peer: str | None, line: _Line
) -> tuple[str | None, str | None]:
    """The peer's address and the connection's name, from this line and the ones before it."""
    at, source = line.at, peer
    thread = None if rule.timer else at.thread(line.thread)
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
        if name is not None and at.names_by_peer.get(source) != name:
            _keep(at.names_by_peer, source, name)
    if ike_id is not None:
        if source is not None and at.peers.get(ike_id) != source:
            _keep(at.peers, ike_id, source)
        if name is not None and at.names.get(ike_id) != name:
            _keep(at.names, ike_id, name)
    return source, name


def _about_child(
    at: _Daemon, child_id: int, source: str | None, name: str | None
) -> tuple[str | None, str | None]:
    """The same by the number of a Child SA, whose end the daemon's clock or another thread may tell."""
    known_source, known_name = at.children.get(child_id, (None, None))
    source, name = source or known_source, name or known_name
    if source is not None or name is not None:
        _keep(at.children, child_id, (source, name))
    return source, name


def _keep(table: dict[Any, Any], key: Any, value: object) -> None:
    if key not in table and len(table) >= _KEPT:
        del table[next(iter(table))]
    table[key] = value


def _note_packet(at: _Daemon, thread: str, text: bytes) -> None:
    if len(at.packets) >= _MOST_THREADS:
        at.packets.clear()
    at.packets[thread] = text
    if at.repeats:
        at.repeats.hear(_sender(text))


def _sender(packet: bytes) -> str | None:
    sender = _PACKET.match(packet)
    return sender[1].decode("utf-8", "replace") if sender else None


def _sent_to(peer: str | None, line: _Line, event: SaEvent) -> SaEvent:
    if peer is None:
        return event
    return event._replace(source=peer, name=event.name or line.at.names_by_peer.get(peer))


def _note_exchange(at: _Daemon, name: str, ike_id: int | None, text: bytes) -> None:
    """What a thread begins with a packet, and which CREATE_CHILD_SA exchanges rekey a Child SA."""
    if text.startswith(b"received"):
        _note_packet(at, name, text)
        return
    thread = at.thread(name) or at.begun(name)
    found = _CREATE.match(text)
    if text.startswith(b"looking"):
        thread.claimed = _looked_for(text.rstrip())
    elif found is None:
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


def _looked_for(text: bytes) -> str | None:
    """The peer's identity in `looking for peer configs matching HERE[ID]...THERE[ID]`, where it showed one."""
    ends = text.find(b"...")
    begin = text.find(b"[", ends) + 1
    if ends < 0 or not begin or not text.endswith(b"]"):
        return None
    claimed = text[begin:-1].decode("utf-8", "replace")
    return claimed if claimed not in ("", "%any") else None


def _is_v2(line: _Line) -> bool:
    thread = line.at.thread(line.thread)
    return thread is not None and thread.is_v2


def _is_of_child_rekey(line: _Line) -> bool:
    thread = line.at.thread(line.thread)
    return thread is not None and thread.rekeys_child


_FAILED_REKEY: Final = next(rule for rule in RULES if rule.kind == "child_rekey_failed")
_NOTHING_SHOWN: Final[Values] = (None,) * len(SHOWN)
