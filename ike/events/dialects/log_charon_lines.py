"""The layouts of charon's lines: what stands before a message, and which lines tell nothing.

Speed is made here: most lines of a log are passed over by one pattern, many at once.
"""

import re
from functools import lru_cache
from typing import Final

from ike.events.dialects.log_charon_rules import RULES

_GROUPS: Final = (
    rb"(?:IKE|CFG|NET|ENC|KNL|CHD|JOB|MGR|LIB|DMN|APP|ASN|ESP|TNC|IMC|IMV|PTS|TLS|WCH)\d?"
)
_SA: Final = (
    rb"(?:<(?:(?P<name>[^\n]{0,255}?)\|)?(?P<number>\d{1,10})> ?"
    rb"|<(?P<alone>[^\n<>|]{1,255})> (?!is initiating))?"  # there it is a placeholder for an address
)
# Nothing but a stamp: who wrote a line with a name in it has to be asked.
_STAMPED: Final = rb"(?:[A-Z][a-z]{2},? ){0,2}+[0-9:.,T+Z/ \t-]{0,48}+"
_PROGRAM: Final = rb"\bcharon(?:-[a-z]{1,16})?(?:@[\w.-]{1,64})?(?:\[\d+\])?: "
# Spelt out, for a set with \w in it is slower to look into.
_PLAIN: Final = rb"[A-Za-z0-9_ \t.:,+\-/<>|]{0,160}+"
_USUAL: Final = _PLAIN + rb"(?:\[\d{1,10}+\]: )?+\d{0,3}+"
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
#: How a message of charon begins, where a stamp of its own may stand before it.
_OWN_STAMP: Final = rb"(?:[A-Z][a-z]{2} )?[\d:.,T+Z -]{0,40}(?:\x1b\[[\d;]{0,16}m)?"
BEGIN: Final = re.compile(_OWN_STAMP + rb"\[" + _GROUPS + rb"\] ")
#: A whole line that only charon writes, without a prefix or as NetworkManager hands it on.
NAKED: Final = re.compile(_NAKED)
#: Searched in a line: true for charon's.
CUE: Final = re.compile(
    rb"\A" + _USUAL + _BRACKET + b"|" + _BRACKET + b"|" + _PROGRAM + b"|" + _NAKED
)
# What follows a program is the message, and no second prefix.
_NO_GROUP: Final = (
    rb"(?!(?:message repeated \d+ times: \[ ?)?(?:[A-Z][a-z]{2} )?[\d:.,T+Z \t-]{0,40}\["
    + _GROUPS
    + rb"\] )"
)
_GROUP_AND_SA: Final = rb"(?<![^\d\s>|m])\[(?P<group>" + _GROUPS + rb")\] " + _SA
PREFIX: Final = re.compile(
    rb"(?:\A" + _USUAL + b")?" + _GROUP_AND_SA
    + b"|" + _PROGRAM + _NO_GROUP + b"|" + _NAKED
)  # fmt: skip
NET: Final = b"[NET] "
#: In a line without the number of an SA: a packet that a thread received.
PACKET: Final = NET + b"received packet: from "
# Beside the sentences of the rules: what tells which exchange a thread is in.
_TELLING: Final = (
    "generating CREATE_CHILD_SA ",
    "parsed CREATE_CHILD_SA ",
    "verifying ",
    "looking for ",
    "failed to establish CHILD_SA",
    "received TEMPORARY_FAILURE",
)

# RFC 3164 and RFC 5424.
_PROCESS: Final = re.compile(
    rb"(?:\[(\d{1,10})\]: {0,2}| (\d{1,10}) \S{1,32} - ?(?:\xef\xbb\xbf)?)\d{0,3}\Z"
)


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
_BARE: Final = _PLAIN + rb"(?<=[ >|]charon-systemd)\[\d{1,10}+\]: " + _NO_GROUP


def _no(*words: bytes) -> bytes:
    return rb"(?! *+(?:<|" + b"|".join(words) + b"))"


#: Matches as many whole lines of the usual layouts as there are that nothing is told by, up to "begin". The first line
#: after them may be anything; if there is nothing but a stamp before it, its prefix is matched as by `PREFIX`. Packets
#: tell whom a thread speaks with, and are of no use where each line has the number of its SA.
DULL: Final = re.compile(
    rb"(?:(?:" + _BEFORE
    + rb"(?:NET\d?\] (?:" + _SA_DULL + _no(_telling("NET"))
    + b"|" + _no(b"received packet: from ", _telling("NET")) + b")"
    + rb"|ENC\d?\] (?:" + _SA_DULL + b")?+" + _no(_telling("ENC"))
    + rb"|IKE\d?\] (?:" + _SA_DULL + b")?+" + _no(_telling("IKE"), _CALLS)
    + rb"|(?!NET|ENC|IKE)" + _GROUPS + rb"\] (?:" + _SA_DULL + b")?+" + _no(_telling())
    + b")|" + _BARE + _no(_telling(), _CALLS) + rb")[^\n]*+\n)*+(?P<begin>)"
    + b"(?:" + _STAMPED + _GROUP_AND_SA + b")?"
)  # fmt: skip


def thread_before(raw: bytes, bracket: int) -> str | None:
    """The number before the bracket of the group, if there is one."""
    return _digits_of(raw[max(0, bracket - 3) : bracket]) if bracket > 0 else None


def process_before(raw: bytes, bracket: int) -> str | None:
    """The number of the process, where a tag with one is before the thread and its group."""
    found = _PROCESS.search(raw[max(0, bracket - 64) : bracket])
    return (found[1] or found[2]).decode() if found else None


@lru_cache(maxsize=1024)
def _digits_of(end: bytes) -> str | None:
    """The digits at the end of up to three bytes. There are few threads, and many lines."""
    for size in (3, 2, 1):
        if end[-size:].isdigit():
            return end[-size:].decode()
    return None
