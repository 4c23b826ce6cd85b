"""The log of strongSwan's charon, whatever writes it: syslog, journald, files, containers.

Its sentences are those of `log_charon_rules.py`. What this module adds is the prefix, messages that are wrapped or
stand two on a line, and whom a line is about where it does not say so itself.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ike.events.event import EVENTS, SaEvent
from ike.events.log_charon_rules import RULES, Rule

_GROUPS: Final = rb"(?:IKE|CFG|NET|ENC|KNL|CHD|JOB|MGR|LIB|DMN|APP|ASN|ESP|TNC|IMC|IMV|PTS|TLS|WCH)\d?"
_SA: Final = rb"(?:<(?:(?P<name>[^\n]{0,255}?)\|)?(?P<number>\d{1,10})> ?)?"
_PROGRAM: Final = rb"\bcharon(?:-[a-z]{1,16})?(?:\[\d+\])?: "
_THREAD: Final = rb"(?<![^\s>|m])\d{0,3}\[" + _GROUPS + rb"\] "
#: Searched in a line: true for charon's.
CUE: Final = re.compile(_THREAD + b"|" + _PROGRAM)
_PREFIX: Final = re.compile(
    rb"(?<![^\s>|m])(?P<thread>\d{0,3})\[(?P<group>" + _GROUPS + rb")\] " + _SA
    + b"|" + _PROGRAM + rb"(?!\d{0,3}\[" + _GROUPS + rb"\] )"
)
_KEPT: Final = 200_000  # IKE SAs, or peers, that are remembered
_LONGEST: Final = 4096  # characters of a message that are looked at
_MOST_LINES: Final = 4  # of a message that is wrapped
_STAMP_END: Final = re.compile(rb"(?:[A-Z][a-z]{2} [ \d]\d |\d{4}-\d\d-\d\d[T ])\d\d:\d\d:\d\d[^\s\[]{0,16}\s?$")
_PACKET: Final = re.compile(rb"received packet: from (\S+?)\[\d+\] to ")
_REKEYING: Final = re.compile(rb"CREATE_CHILD_SA (request|response) (\d+) \[(.*)")
_COLOUR: Final = re.compile("\x1b\\[[0-9;]*m")
_NUMBERS: Final = frozenset({"ike_id", "child_id", "new_child_id", "old_ike_id", "seq"})
_EXTRA: Final = ("identity", "algorithms", "reason", "phase")


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


def _sift() -> re.Pattern[bytes]:
    """What the message of a line must begin with to be looked at: a sentence of a rule, or what tells whom it is about."""
    begun: dict[str, set[str]] = {}
    for rule in RULES:
        if " " in rule.literal:
            begun.setdefault(rule.literal[0], set()).add(rule.literal[1:])
    for told in ("received packet: from ", "generating CREATE_CHILD_SA ", "parsed CREATE_CHILD_SA ", "verifying "):
        begun[told[0]].add(told[1:])
    branches = [
        re.escape(first) + "(?:" + "|".join(re.escape(rest) for rest in sorted(rests)) + ")"
        for first, rests in sorted(begun.items())
    ]
    words = "|".join(branches).encode() + rb"|[^\n'\"]{1,70}? is initiating "
    return re.compile(rb"\[(?:(?:" + _GROUPS + rb")\] (?:<[^\n>]{0,255}> ?)?|\d{1,10}\]: )(?:" + words + b")")


#: Searched in many lines at once: finds, in a line of `RUN`, that `Parser.line` has something to say about it.
SIFT: Final = _sift()
#: Matches as many whole lines as there are of the usual layouts, of which `SIFT` then finds the telling ones.
RUN: Final = re.compile(
    rb"(?:[\w .:,+\-/<>|]{0,120}+(?:charon(?:-[a-z]{1,16})?\[\d{1,10}\]: )?+\d{0,3}+\[" + _GROUPS + rb"\] [^\n]*+\n"
    rb"|[\w .:,+\-/<>|]{0,120}+\bcharon(?:-[a-z]{1,16})?\[\d{1,10}\]: [^\n]*+\n)*+"
)


class _Line(NamedTuple):
    """What the prefix of a message shows."""

    number: int
    time: float | None
    host: str | None
    thread: str
    group: bytes
    name: str | None
    ike_id: int | None


@dataclass(slots=True)
class _Thread:
    """What a thread of the daemon does: since when, by the packet it received last."""

    packet: bytes = b""
    is_v2: bool = False  # an IKEv2 message whose integrity was checked
    rekeys_child: bool = False
    ike_id: int | None = None


@dataclass(slots=True)
class _Host:
    """What the lines of one host told: names and addresses by IKE SA, and names by address."""

    names: dict[int, str] = field(default_factory=dict)
    peers: dict[int, str] = field(default_factory=dict)
    names_by_peer: dict[str, str] = field(default_factory=dict)
    threads: dict[str, _Thread] = field(default_factory=dict)
    rekeys: dict[tuple[int | None, bytes], bool] = field(default_factory=dict)


class Parser:
    """Reads the lines of charon, of one host or of many. Raises nothing, whatever the bytes."""

    def __init__(self) -> None:
        self._hosts: dict[str | None, _Host] = {}
        self._held: tuple[_Line, str, int] | None = None  # a message that may go on, and its last line

    def line(
        self, number: int, raw: bytes, time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        """The events of one line; of an earlier one too, where it was held back to see whether it goes on."""
        found = _PREFIX.search(raw)
        if found is None:
            return self._continued(number, raw)
        owed = self.close() if self._held else ()
        events: list[SaEvent] = []
        for part, begun in _parts(raw, found):
            events += self._message(number, part, begun, time, host)
        return [*owed, *events] if owed else events

    def close(self) -> Sequence[SaEvent]:
        """What a message that was held back says, for it did not go on."""
        if self._held is None:
            return ()
        (line, message, _), self._held = self._held, None
        return self._read(line, message)[0]

    def _continued(self, number: int, raw: bytes) -> Sequence[SaEvent]:
        if self._held is None:
            return ()
        line, message, last = self._held
        more = raw.decode("utf-8", "replace").strip()
        if number != last + 1 or not more or number - line.number >= _MOST_LINES:
            return self.close()
        for glue in (" ", ""):  # broken between words, or where the screen ended
            joined = message + glue + more
            events, is_whole = self._read(line, joined)
            if is_whole:
                self._held = None
                return events
        self._held = (line, f"{message} {more}"[:_LONGEST], number)
        return ()

    def _message(
        self, number: int, raw: bytes, found: re.Match[bytes], time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        thread, name, ike_id = found["thread"], found["name"], found["number"]
        text = raw[found.end() : found.end() + _LONGEST]
        at = self._hosts.get(host)
        if at is None:
            if len(self._hosts) > 10_000:
                self._hosts.clear()
            at = self._hosts[host] = _Host()
        if text.startswith(b"received packet: from "):
            if thread:
                at.threads[thread.decode()] = _Thread(text)
            return ()
        line = _Line(
            number,
            time,
            host,
            thread.decode() if thread else "",
            found["group"] or b"",
            name.decode("utf-8", "replace") if name and name != b"(unnamed)" else None,
            int(ike_id) if ike_id else None,
        )
        if text.startswith((b"generating CREATE", b"parsed CREATE", b"verifying ")):
            _note_exchange(at, line, text)
            return ()
        message = text.decode("utf-8", "replace").strip()
        if "\x1b" in message:
            message = _COLOUR.sub("", message).strip()
        events, is_whole = self._read(line, message)
        if is_whole:
            return events
        self._held = (line, message, number)
        return ()

    def _read(self, line: _Line, message: str) -> tuple[Sequence[SaEvent], bool]:
        """The events of a message, and whether it is one that is known and complete."""
        at = self._hosts[line.host]
        for rule in _candidates(message):
            read = rule.opening.match(message)
            if read is None:
                continue
            whole = rule.whole.match(message) if rule.whole is not rule.opening else read
            event = _event(rule, whole or read, line, at)
            return (() if event is None else (event, *_rekey_failure(event, line, at, message))), whole is not None
        return _unlisted(line, at, message), False


def _parts(raw: bytes, found: re.Match[bytes]) -> Iterator[tuple[bytes, re.Match[bytes]]]:
    """The messages of a physical line: nearly always one.

    Another one begins only where the stamp and the whole tag stand again, with the daemon's process number: a peer
    chooses its identity, but does not know that number.
    """
    tag = raw[: found.start()]
    clock = tag.rfind(b":", 0, len(tag) - 2)
    tag = tag[tag.find(b" ", clock) :] if b"[" in tag[clock:] else b""
    if found["thread"] is None and found["group"] is None:
        tag += raw[found.start() : found.end()]
    start = raw.find(tag, found.end()) if len(tag) > 6 else -1
    if start < 0:
        yield raw, found
        return
    stamp = _STAMP_END.search(raw, max(0, start - 48), start)
    following = _PREFIX.search(raw, start) if stamp else None
    if stamp is None or following is None:
        yield raw, found
        return
    yield raw[: stamp.start()], found
    rest = raw[stamp.start() :]
    again = _PREFIX.search(rest)
    if again:
        yield from _parts(rest, again)


def _candidates(message: str) -> Iterator[Rule]:
    for rule in _LISTED.get(message.split(" ", 1)[0], ()):
        if message.startswith(rule.literal):
            yield rule
    if " is initiating " in message:
        yield from _OTHERS


def _event(rule: Rule, read: re.Match[str], line: _Line, at: _Host) -> SaEvent | None:
    given: dict[str, Any] = {key: value for key, value in read.groupdict().items() if value is not None}
    thread = at.threads.get(line.thread)
    if rule.literal.startswith("could not decrypt") and thread and thread.is_v2:
        return None  # IKEv2: a broken packet, no wrong key
    for key in given.keys() & _NUMBERS:
        given[key] = int(given[key][:12])
    return _filled(rule, given, line, at)


def _filled(rule: Rule, given: dict[str, Any], line: _Line, at: _Host) -> SaEvent:
    allowed = EVENTS.get(rule.kind, ("peer", "connection", "ike_id", "child", "child_id"))
    connection, ike_id = given.get("connection") or given.get("connection2"), given.get("ike_id")
    if connection == "(unnamed)":
        connection = None
    child = given.get("child") or given.get("child2")
    if connection is None and ike_id is None:
        connection = line.name
    given["connection"] = connection or line.name or child
    given["ike_id"] = line.ike_id if ike_id is None else ike_id
    given["child"] = child
    if rule.kind == "ike_rekeyed" and line.ike_id not in (None, ike_id):
        given["old_ike_id"] = line.ike_id
    if "peer" not in given:
        given["peer"] = given.get("identity")
    shown = {key: given[key] for key in allowed if given.get(key) is not None}
    shown |= {key: given[key] for key in _EXTRA if given.get(key) is not None}
    shown |= rule.fixed
    if "bytes_in" in given and "bytes_out" in given:
        shown["size"] = int(given["bytes_in"][:20]) + int(given["bytes_out"][:20])
    if "seconds" in given:
        shown["seconds"] = float(given["seconds"][:12])
    source, name = _about(rule, given, line, at)
    return SaEvent(
        rule.kind, line.number, line.time,
        thread=line.thread or None, source=source, name=name, host=line.host, daemon="charon", **shown,
    )  # fmt: skip


def _about(rule: Rule, given: Mapping[str, Any], line: _Line, at: _Host) -> tuple[str | None, str | None]:
    """The peer's address and the connection's name, from this line and the ones before it."""
    ike_id = given.get("ike_id")
    peer = given.get("peer")
    source = peer if peer is not None and peer != given.get("identity") else None
    thread = at.threads.get(line.thread)
    if ike_id is None and thread is not None and not rule.timer:
        ike_id = thread.ike_id
    if source is None and ike_id is not None:
        source = at.peers.get(ike_id)
    if source is None and not rule.timer and thread is not None and thread.packet:
        packet = _PACKET.match(thread.packet)
        source = packet[1].decode("utf-8", "replace") if packet else None
    name = given.get("connection") if given.get("child") is None or line.name else None
    if name is None and ike_id is not None:
        name = at.names.get(ike_id)
    if name is None and source is not None:
        name = at.names_by_peer.get(source)
    _remember(at, ike_id, source, name, thread)
    return source, name if name is not None else given.get("connection")


def _remember(
    at: _Host, ike_id: int | None, source: str | None, name: str | None, thread: _Thread | None
) -> None:
    if ike_id is not None:
        if source is not None:
            _keep(at.peers, ike_id, source)
        if name is not None:
            _keep(at.names, ike_id, name)
        if thread is not None:
            thread.ike_id = ike_id
    if source is not None and name is not None:
        _keep(at.names_by_peer, source, name)


def _keep(table: dict[Any, str], key: Any, value: str) -> None:
    if key not in table and len(table) >= _KEPT:
        del table[next(iter(table))]
    table[key] = value


def _note_exchange(at: _Host, line: _Line, text: bytes) -> None:
    """Which CREATE_CHILD_SA exchanges rekey a Child SA, and which messages are of IKEv2."""
    if not line.thread:
        return
    thread = at.threads.setdefault(line.thread, _Thread())
    found = _REKEYING.search(text)
    if found is None:
        thread.is_v2 = thread.is_v2 or b"integrity failed" in text
        return
    key = (line.ike_id, found[2])
    is_ours = text.startswith(b"generating") == (found[1] == b"request")
    if found[1] == b"request":
        rekeys = b"N(REKEY_SA)" in found[3]
        if not text.startswith(b"generating"):
            thread.rekeys_child = rekeys
        elif rekeys:
            if len(at.rekeys) >= _KEPT:
                at.rekeys.clear()
            at.rekeys[key] = True
    elif not is_ours:
        return
    else:
        thread.rekeys_child = at.rekeys.pop(key, False)


def _rekey_failure(event: SaEvent, line: _Line, at: _Host, message: str) -> Sequence[SaEvent]:
    """A refusal that names no rekey is the failure of one where its exchange was one."""
    thread = at.threads.get(line.thread)
    if thread is None or not thread.rekeys_child or not message.endswith(", no CHILD_SA built"):
        return ()
    return (event._replace(kind="child_rekey_failed"),)


def _unlisted(line: _Line, at: _Host, message: str) -> Sequence[SaEvent]:
    thread = at.threads.get(line.thread)
    if thread is None or not thread.rekeys_child:
        return ()
    if message.startswith(("failed to establish CHILD_SA", "received TEMPORARY_FAILURE")):
        rule = _FAILED_REKEY
        return (_filled(rule, {}, line, at),)
    return ()


_FAILED_REKEY: Final = next(rule for rule in RULES if rule.kind == "child_rekey_failed")
