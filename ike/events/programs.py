"""Whose line it is: what a program is called in front of its message, and which daemons' words it may hold.

In a log that many programs write to, anybody who may log in, send a mail or ask for a page can have words of their own
in a message. So a name is believed only if it is a daemon's, or that of what merely hands lines on. A line without any
name is judged by its form, and that from the place on where a message may begin.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from ike.events.stamps import CONTAINER, end_of_stamp

CHARON: Final = "charon"
CISCO: Final = "cisco"
PLUTO: Final = "pluto"
JUNIPER: Final = "juniper"
FORTIGATE: Final = "fortigate"
RACOON: Final = "racoon"
MIKROTIK: Final = "mikrotik"
WINDOWS: Final = "windows"
_EVERY: Final = frozenset(
    {CHARON, CISCO, PLUTO, JUNIPER, FORTIGATE, RACOON, MIKROTIK, WINDOWS}
)  # of a line that shows no name
_NOBODY: Final[frozenset[str]] = frozenset()

_CHARONS: Final = frozenset({CHARON})
_HANDS_ON: Final = frozenset({CHARON, PLUTO})  # both daemons have a tool of this name
# What a program is called, and whose words are in its lines.
_PROGRAMS: Final[Sequence[tuple[re.Pattern[str], frozenset[str]]]] = tuple(
    (re.compile(pattern), dialects)
    for pattern, dialects in (
        (r"charon(?:-(?:systemd|nm|cmd|svc|tkm))?", frozenset({CHARON})),
        (r"(?:strongswan|networkmanager)(?:-(?:starter|swanctl|service))?", _HANDS_ON),
        (r"ipsec", _HANDS_ON | {CISCO, MIKROTIK}),
        (r"(?:isakmp|ikev2)(?:-[a-z]{1,10})?(?:-\d)?", frozenset({CISCO})),
        (r"(?:ipsec_)?starter|swanctl|nm-[a-z0-9-]{1,24}", _HANDS_ON),
        (r"pluto|(?:ipsec)?_{1,2}plutorun|whack|addconn|libreswan|openswan", frozenset({PLUTO})),
        (r"racoon", frozenset({RACOON})),
        (r"site-to-site vpn", frozenset({RACOON})),
        (r"kmd|iked|jkmd|(?:kmd|iked?)_[a-z0-9_]{3,64}", frozenset({JUNIPER})),
        (r"asa|ftd|pix", frozenset({CISCO})),
        (
            r"security|(?:microsoft-windows-)?security-auditing|mswineventlog|winlogbeat|nxlog",
            frozenset({WINDOWS}),
        ),
        # Carriers of what others say, who are not named there; "syslog" is what musl calls who gave no name.
        (
            r"docker|dockerd|containerd|podman|conmon|syslog|-|[0-9a-f]{12}|[0-9a-f]{64}",
            _HANDS_ON | {RACOON},
        ),
    )
)
_NUMBER: Final = re.compile(r"(?:\[\d{1,10}\])?:?\Z")
_ID: Final = re.compile(r"[0-9a-f]{12}|[0-9a-f]{64}")
# Names of containers are an operator's own: one of these among their parts.
_PART: Final = frozenset(
    "charon strongswan swan ipsec ike ikev vpn gw gateway site tunnel initiator responder roadwarrior rw"
    " moon sun carol dave left right east west".split()
)
_PARTS: Final = (
    (_PART | {"libreswan", "openswan", "pluto"}, _HANDS_ON),
    (frozenset({"racoon"}), frozenset({RACOON})),
)
_CODES: Final = frozenset({"ASA", "FTD", "PIX", "CRYPTO", "IKEV2", "PKI", "FLEXVPN"})

_LOOKED_AT: Final = 2048  # bytes of a line
_TAGGED: Final = 160  # of one whose tag has a process number

# A container may have any name; what begins so is charon's, with or without a time before it.
_GROUP: Final = re.compile(
    rb"(?:[A-Z][a-z]{2} [ \d]\d [\d:]{8} |\d{4}-\d\d-\d\dT[\d:.]{8,16}\S{0,6} )?"
    rb"\d\d\[(?:DMN|MGR|IKE|CHD|JOB|CFG|KNL|NET|ASN|ENC|TNC|IMC|IMV|PTS|TLS|APP|ESP|LIB)\] "
)
_ZONE: Final = re.compile(rb" [A-Z]{2,5}(?=:)")
_STREAM: Final = re.compile(rb" std(?:out|err) [FP](?= )")
_WORD: Final = rb"[^\s\[\]<>{}\"'()=%,]{1,255}+"
_SOME: Final = rb"(?:[ \t]++" + _WORD + rb"(?<!:))"
_NAMED: Final = rb"(?:[ \t]++[\w./-]{1,64}+[ \t]?:(?=[ \t]))?"
_OWN_STAMP: Final = (
    rb"(?:[ \t]++(?:[*.]?[A-Z][a-z]{2}(?=[ \t])|[*.]?[\d:.]{1,40}+(?=[ \t])"
    rb"|[A-Z]{2,5}:?(?=[ \t])|:)){0,8}+"
)
# Sequence numbers, names and the device's own stamp, as relays put them one before another.
_CODE: Final = re.compile(
    rb"[:.]{0,2}+" + _SOME + rb"{0,2}?" + _OWN_STAMP + _NAMED + _OWN_STAMP + rb"[ \t]*+(?:: ?)?"
    rb"(?P<code>%([A-Z][A-Z\d_]{1,40})-(?:\w{1,32}-){0,2}\d-[A-Z\d_]{2,64})"
)
_TOPICS: Final = re.compile(
    _SOME + rb"{0,2}?" + _NAMED + rb"[ \t]++"
    rb"(?P<topics>(?:[a-z][\w-]{0,24}, ?){1,6}(?:info|error|debug|warning|critical|account|packet)"
    rb"(?:, ?[a-z!][\w-]{0,24}){0,6})(?=[: \t]|$)"
)
_RECORD: Final = re.compile(
    rb":?" + _SOME + rb"{0,3}?[ \t]++(?:CEF:\d{1,2}\|(?P<maker>[^|]{0,64})\|"
    rb"|(?:date|time|logver|devname|devid|device_id|logid|log_id|itime|eventtime|timestamp|type)=)"
)
_FIELDS: Final = re.compile(
    rb" \S{1,255}+ (\S{1,128}+) \S{1,128}+ \S{1,32}+ "
    rb"(?:-|(?:\[(?:[^\"\]\n]|\"(?:[^\"\\]|\\.)*+\")*+\])++) ?(?:\xef\xbb\xbf)?"
)
_HOSTS: Final = rb"(?:[ \t]+[^\s\[\]<>{}\"'()=%,]{1,255}(?<!:)){0,2}?"
_PID: Final = (
    rb"(?:\([^)\s]{0,32}\))?(?:\[[^\]\s]{1,32}\]|[ \t]*\([ \t]*\d{1,10}\))?(?: <\w{1,16}>)?"
)
_TAG: Final = re.compile(
    rb"(?P<hosts>"
    + _HOSTS
    + rb")[ \t]+(?P<name>Site-to-site VPN|[^\s:\[\]<>{}\"'=,|%;()][^\s:\[\]<>{}\"'=,|%;()]{0,127}|"
    rb"\([^\s)]{1,64}\))(?P<pid>" + _PID + rb")[ \t]?:(?:[ \t]+|$)"
)
# As tables of web consoles and copies show a tag: without its colon.
_SHOWN: Final = re.compile(
    _HOSTS + rb"[ \t]+(?:\[([a-z][\w.-]{0,64})\]|(charon)(?:\[\d{1,10}\]|[ \t]+\d{1,10})?)[ \t]+"
)
_FACILITY: Final = (
    rb"(?:auth|authpriv|cron|daemon|ftp|kern|lpr|mail|news|syslog|user|uucp|local\d)\.[a-z]{3,8}"
)
_NO_TAG: Final = re.compile(_FACILITY)
_RELAY: Final = re.compile(rb"[\da-fA-F]*[.:][\w.:-]+|[\w-]+(?:\.[\w-]+)+")
_HOST: Final = re.compile(
    rb"[ \t]+[^\s\[\]<>{}\"'()=%,:|]{1,255}(?=[ \t])(?:[ \t]+" + _FACILITY + rb"(?=[ \t]))?"
)
_SPACE: Final = re.compile(rb"[:\s]*")
_REPEATED: Final = re.compile(rb"message repeated \d{1,9} times: \[ ?")
_LEAD: Final = re.compile(rb"[\s>|]{0,16}(?:\x1b\[[\d;]{0,16}m)*(?:[VDIWE]/)?(?:<\d{1,3}>)?(?:1 )?")
_CLOCK: Final = re.compile(
    rb"(?:[\[(]?(?:\d[\dT:.,/+-]{3,40}Z?|[A-Z][a-z]{2},?)[\])]?:?[ \t]+(?:\d{1,2} (?=\d\d:))?){1,5}"
)


class Head(NamedTuple):
    """What stands before a message: whose words it may be, and where it may begin, at the earliest first."""

    dialects: frozenset[str]
    is_named: bool
    begins: tuple[int, ...]


@lru_cache(maxsize=1024)
def dialects_of(name: str) -> frozenset[str]:
    """Whose words the lines of a program may hold; none for a program that is none of ours.

    A path, the instance of a unit, `.service`, and the number of a process are no part of a name.
    """
    name = _NUMBER.sub("", name.strip())
    if name.startswith("%"):
        return frozenset({CISCO}) if name[1:].partition("-")[0] in _CODES else _NOBODY
    base = name.rpartition("/")[2].partition("@")[0].lower().removesuffix(".service")
    if _ID.fullmatch(base) and "/" in name:  # as containers are tagged: by name and number
        return dialects_of_container(name.rpartition("/")[0])
    for pattern, dialects in _PROGRAMS:
        if pattern.fullmatch(base):
            return dialects
    return _NOBODY


def dialects_of_container(name: str) -> frozenset[str]:
    """The same by the name of a container, or of an image."""
    known = dialects_of(name)
    if known:
        return known
    parts = set(re.split(r"[-_./:\d]+", name.lower()))
    return next((dialects for words, dialects in _PARTS if parts & words), _NOBODY)


def head_of(line: bytes) -> Head:
    """Who tells a line, by its own beginning."""
    end = line.find(b"]: ", 0, _TAGGED) + 3
    if end > 2 and not line.startswith(b"message ", end) and b">1 " not in line[:6]:
        return _remembered(line[:end])  # nothing behind it matters
    return _head_of(line[:_LOOKED_AT])


@lru_cache(maxsize=2048)
def _remembered(tagged: bytes) -> Head:
    """The same of what is before a message, for lines of a second differ in that alone."""
    return _head_of(tagged)


def _head_of(raw: bytes) -> Head:
    contained = CONTAINER.match(raw)
    if contained:
        name = (contained["inner"] or contained["name"]).decode("latin-1")
        dialects = dialects_of_container(name)
        if not dialects and not _GROUP.match(raw, contained.end()):
            return Head(_NOBODY, True, (contained.end(),))
        dialects = dialects or _CHARONS
        inner = head_of(raw[contained.end() :]) if len(raw) > contained.end() else None
        if inner is None:
            return Head(dialects, True, (contained.end(),))
        begins = tuple(contained.end() + each for each in inner.begins)
        allowed = dialects & inner.dialects
        return Head(allowed, True, begins)
    return _of_syslog(raw)


def _of_syslog(raw: bytes) -> Head:
    end = end_of_stamp(raw)
    if end is not None:
        stream = _STREAM.match(raw, end)
        end = stream.end() if stream else end
        fields = _FIELDS.match(raw, end) if raw.startswith(b"<") else None
        if fields is not None:
            return _of_fields(raw, fields)
        zone = _ZONE.match(raw, end)
        end = zone.end() if zone else end
        return _of_device(raw, end) or _of_program(raw, end, stamped=True)
    lead = _LEAD.match(raw)
    start = lead.end() if lead else 0
    clock = _CLOCK.match(raw, start)
    if clock:
        end = clock.end() - 1
        return _of_device(raw, end) or _of_program(raw, end, stamped=True)
    # As behind a stamp, a blank stands before the first word.
    padded = b" " + raw[start:]
    head = _of_device(padded, 0) or _of_program(padded, 0, stamped=raw.startswith(b"<"))
    return head._replace(begins=tuple(each + start - 1 for each in head.begins))


def _of_fields(raw: bytes, fields: re.Match[bytes]) -> Head:
    """A line of RFC 5424, whose writer may have given no name."""
    end = fields.end()
    if fields[1] != b"-":
        return Head(dialects_of(fields[1].decode("latin-1")), True, (end,))
    padded = b" " + raw[end:]
    head = _of_device(padded, 0) or Head(_EVERY, False, (1,))
    return head._replace(begins=tuple(each + end - 1 for each in head.begins))


def _of_device(raw: bytes, begin: int) -> Head | None:
    """A line of an appliance, which names the subsystem."""
    code = _CODE.match(raw, begin)
    if code:
        own = code[2].decode() in _CODES
        return Head(frozenset({CISCO}) if own else _NOBODY, True, (code.start("code"),))
    topics = _TOPICS.match(raw, begin)
    if topics:
        own = b"ipsec" in re.split(rb"[, ]+", topics["topics"])
        return Head(frozenset({MIKROTIK}) if own else _NOBODY, True, (topics.start("topics"),))
    record = _RECORD.match(raw, begin)
    if record:
        own = record["maker"] in (None, b"Fortinet")
        return Head(frozenset({FORTIGATE}) if own else _NOBODY, True, (begin,))
    return None


def _of_program(raw: bytes, begin: int, *, stamped: bool) -> Head:
    """A line with the tag of a program, or with none."""
    tag = _TAG.match(raw, begin)
    if tag and _is_tag(tag, stamped=stamped):
        repeated = _REPEATED.match(raw, tag.end()) or tag
        return Head(dialects_of(tag["name"].decode("latin-1")), True, (repeated.end(),))
    shown = _SHOWN.match(raw, begin)
    if shown:
        name = (shown[1] or shown[2]).decode("latin-1")
        return Head(dialects_of(name), True, (shown.end(),))
    host = _HOST.match(raw, begin)
    places = [begin] if host is None else [begin, host.end()]
    return Head(_EVERY, False, tuple(_after_space(raw, each) for each in places))


def _is_tag(tag: re.Match[bytes], *, stamped: bool) -> bool:
    """Without a stamp a word and a colon may be anything, as in the rest of a message that was wrapped."""
    name = tag["name"]
    if name.isdigit() or _NO_TAG.fullmatch(name):
        return False
    words = tag["hosts"].split()
    if len(words) > 1 and not (_NO_TAG.fullmatch(words[1]) or _RELAY.fullmatch(words[0])):
        return False  # of a program whose own name has no colon behind it
    if stamped or tag["pid"] or dialects_of(name.decode("latin-1")):
        return True
    return name.islower() and not tag["hosts"]


def _after_space(raw: bytes, at: int) -> int:
    space = _SPACE.match(raw, at)
    return space.end() if space else at
