"""What charon's sentences mean: one table, from 4.x to 6.x, IKEv1 and IKEv2 (EVENTS of `event.py`).

A pattern is a regular expression over a whole message, with names in angle brackets for what is filled in. What stands
before `~` decides; the rest gives fields, and may be missing where a line was cut off.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

# Identities may hold anything, and the remote one is the peer's choice: of two, the local one ends at its first end.
_FILLED: Final = {
    "<ike>": r"(?P<connection>.+?)\[(?P<ike_id>\d+)\]",
    "<child>": r"(?P<child>.+?)\{(?P<child_id>\d+)\}",
    "<peer>": r"(?P<peer>\S.*?)",
    "<spi_in>": r"(?:(?P<spi_in>[0-9a-fA-F]{8})\b|[^\s_]+?)",
    "<spi_out>": r"(?:(?P<spi_out>[0-9a-fA-F]{8})\b|[^\s_]+?)",
    "<in_i>": r"(?:(?P<spi_in>[0-9a-fA-F]{8})|\S+?)_i",
    "<out_o>": r"(?:(?P<spi_out>[0-9a-fA-F]{8})|\S+?)_o",
    "<ends>": r"(?P<local>[^\[]*?)\[.*?\]\.\.\.(?P<peer>[^\[]*?)\[(?P<identity>.*)\]",
    "<ids>": r"'.*?'(?:\[[^\]]*\])? - '(?P<identity>.*)'(?:\[(?P<peer>[^\[\]]*)\])?",
    "<id>": r"'(?P<identity>.*)'",
    "<ts>": r".*",
    "<seconds>": r"(?P<seconds>\d+)",
}


@dataclass(frozen=True)
class Rule:
    """A kind of event or remark and how its sentence reads.

    `timer`: the daemon's clock speaks, so the packet that its thread saw last has nothing to do with it. `tail` is
    false where nothing follows the deciding words. `names_identity`: the remote identity stands for the peer.
    """

    kind: str
    opening: re.Pattern[str]
    whole: re.Pattern[str]
    literal: str
    timer: bool = False
    fixed: dict[str, Any] = field(default_factory=dict)


def _rule(kind: str, pattern: str, *, timer: bool = False, **fixed: Any) -> Rule:
    literal = re.match(r"[^\\<(\[{.?*|~]*", pattern)[0]  # type: ignore[index]
    if pattern[len(literal) : len(literal) + 1] == "?":
        literal = literal[:-1]
    for name, filled in _FILLED.items():
        pattern = pattern.replace(name, filled)
    opening, _, tail = pattern.partition("~")
    return Rule(
        kind, re.compile(opening), re.compile(f"{opening}{tail}\\s*$"), literal, timer, fixed
    )


_UNFIT: Final = "(?:un|in)acceptable"

RULES: Final = (
    _rule("ike_initiate", r"initiating (?:(?:Main|Aggressive) Mode )?IKE_SA <ike>~ to <peer>"),
    _rule("ike_initiate", r"reinitiating IKE_SA <ike>"),
    _rule("ike_respond", r"<peer> is initiating an? (?:(?:Main|Aggressive) Mode )?IKE_SA"),
    _rule("ike_respond", r"<peer> is initiating IKE_SA <ike>"),
    _rule("ike_established", r"IKE_SA <ike> established~ between <ends>"),
    _rule("ike_rekeyed", r"IKE_SA <ike> rekeyed~ between <ends>"),
    _rule("ike_reauth", r"reauthenticating IKE_SA <ike>", timer=True),
    _rule("ike_reauth", r"reauthenticating (?:actively )?IKE_SA due to address change"),
    _rule("ike_deleted", r"deleting IKE_SA <ike>~ between <ends>", timer=True),
    _rule("ike_deleted", r"IKE_SA deleted"),
    _rule("child_established", r"(?:outbound )?CHILD_SA <child> established~ with SPIs <in_i> <out_o> and TS <ts>"),
    _rule("child_closed", r"closing CHILD_SA <child>~ with SPIs <in_i>(?: \((?P<size_in>\d+) bytes\))? <out_o>(?: \((?P<size_out>\d+) bytes\))? and TS <ts>", timer=True),
    _rule("auth_failed", r"tried \d+ shared keys? for~ <ids>, but MAC mismatched", reason="psk"),
    _rule("auth_failed", r"received AUTHENTICATION_FAILED (?:error notify|notify error)"),
    _rule("retransmit", r"retransmit (?P<seq>\d+) of request~ with message ID \d+", timer=True),
    _rule("giving_up", r"giving up after \d+ retransmits", timer=True),
)
