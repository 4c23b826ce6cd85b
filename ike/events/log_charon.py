"""The log of strongSwan's charon, whatever writes it: syslog, journald, files, containers."""

import re
from collections.abc import Sequence
from typing import Any, Final

from ike.events.event import SaEvent
from ike.events.log_charon_rules import RULES, Rule

_GROUPS: Final = b"IKE|CFG|NET|ENC|KNL|CHD|JOB|MGR|LIB|DMN|APP|ASN|ESP|TNC|IMC|IMV|PTS|TLS|WCH"
_GROUPED: Final = rb"(?P<thread>\d{2,3})?\[(?P<group>" + _GROUPS + rb")\d?\] (?:<(?:(?P<name>[^\n]{0,255}?)\|)?(?P<number>\d+)> )?"
CUE: Final = re.compile(
    rb"(?:^|[\s>|])\d{0,3}\[(?:" + _GROUPS + rb")\d?\] |\bcharon(?:-[a-z]+)?(?:\[\d+\])?: "
)
_PREFIX: Final = re.compile(_GROUPED + rb"|\bcharon(?:-[a-z]+)?(?:\[\d+\])?: (?!\d{0,3}\[(?:" + _GROUPS + rb"))")


class Parser:
    """Reads the lines of charon, of one host or of many."""

    def line(
        self, number: int, raw: bytes, time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        """The events of one line; () for none."""
        found = _PREFIX.search(raw)
        if found is None:
            return ()
        message = raw[found.end() :].decode("utf-8", "replace").strip()
        for rule in RULES:
            read = rule.opening.match(message)
            if read:
                read = rule.whole.match(message) or read
                fields = {
                    name: int(value) if name.endswith("_id") or name == "seq" else value
                    for name, value in read.groupdict().items()
                    if value is not None and name in SaEvent._fields
                }
                return (SaEvent(rule.kind, number, time, host=host, daemon="charon", **fields),)
        return ()

    def close(self) -> Sequence[SaEvent]:
        """Nothing is owed."""
        return ()
