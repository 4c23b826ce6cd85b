"""Whose line it is: in a log that many programs write to, others' words are no daemon's, whatever they quote."""

import re
from typing import Final

from ike.events.stamps import end_of_stamp

_NAME: Final = rb"([A-Za-z_][\w./@-]{0,63})"
_PROCESS: Final = rb"\[\d{1,10}\]"
# Behind the stamp: RFC 3164, as it is sent and as it stands in files; RFC 5424.
_TAG: Final = re.compile(rb" +[\w.:-]{1,255} +" + _NAME + rb"(?:" + _PROCESS + rb")?: ")
_FIELDS: Final = re.compile(
    rb" \S{1,255} "
    + _NAME
    + rb" \S{1,128} \S{1,32} (?:-|(?:\[[^\]\n]{0,1024}\])+) (?:\xef\xbb\xbf)?"
)
# Without a stamp: what is put together from a journal's fields.
_BARE: Final = re.compile(_NAME + _PROCESS + rb": ")
# Daemons of IKE, and what hands on the lines of a daemon that it started.
_DAEMON: Final = re.compile(
    rb"(?i)charon|swan|ipsec|pluto|racoon|\bkmd|\bike|isakmpd|(?<!open)vpn|NetworkManager|nm-"
    rb"|docker|containerd|podman|conmon|Security|\A[0-9a-f]{12,64}\Z"
)


def told_by_another(raw: bytes) -> bytes | None:
    """The message of a line whose tag names a program that is no daemon of IKE; None for any other line.

    Anybody who may log in, send a mail or ask for a page can have words of their own in such a message.
    """
    end = end_of_stamp(raw)
    if end is None:
        tag = _BARE.match(raw)
    else:
        tag = _TAG.match(raw, end) or (_FIELDS.match(raw, end) if raw.startswith(b"<") else None)
    if tag is None or _DAEMON.search(tag[1]):
        return None
    return raw[tag.end() :]
