"""The logs that real daemons wrote in the lab (tests/lab/recording.py), and what is right to say of each."""

from pathlib import Path
from typing import Final

RECORDED: Final = Path(__file__).parent / "recorded"

NORMAL: Final[frozenset[str]] = frozenset()
#: By `scenario.end`: kinds of which one must be found. What stands behind them may be found too: it is true as well.
EXPECTED: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {}


def _expect(scenario: str, ends: str, *kinds: str, also: str = "") -> None:
    for end in ends.split():
        EXPECTED[f"{scenario}.{end}"] = (frozenset(kinds), frozenset(also.split()))


for _quiet in ("normal_day", "normal_reauthentication", "normal_ikev1", "normal_other_group"):
    _expect(_quiet, "left right")
_expect("pluto_normal", "left right")

_expect("rekey_storm", "left right", "rekey_too_fast")
_expect("rekey_storm_by_command", "left right", "rekey_too_fast")
_expect("rekey_collision", "left right", "rekey_collisions")
_expect("rekey_refused", "left right", "rekey_missed", also="proposal_mismatch")
_expect("reauthentication_collision", "left right", "duplicate_sas")

_expect("wrong_psk", "left right", "auth_failures")
_expect("pluto_wrong_psk", "left right", "auth_failures")
_expect("psk_guessing", "left")  # it is not the one that was asked
_expect("psk_guessing", "right", "auth_guessing")
_expect("pluto_guessing", "left")
_expect("pluto_guessing", "right", "auth_guessing", also="auth_failures")
_expect("certificate_revoked", "right", "certificate_rejected", also="auth_failures")
_expect("certificate_revoked", "left", "auth_failures")
_expect("revocation_unreachable", "left right", "revocation_unchecked")

_expect(
    "revocation_unreachable_strict",
    "left",
    "auth_failures",
    "revocation_unchecked",
    also="certificate_rejected",
)
_expect(
    "revocation_unreachable_strict",
    "right",
    "certificate_rejected",
    also="revocation_unchecked auth_failures",
)
_expect("certificate_untrusted", "left", "auth_failures")
_expect("certificate_untrusted", "right", "certificate_rejected", also="auth_failures")

_expect("proposal_mismatch", "left right", "proposal_mismatch")
_expect("pluto_proposal_mismatch", "left right", "proposal_mismatch")
_expect("child_proposal_mismatch", "left right", "proposal_mismatch")
_expect("ts_mismatch", "left right", "proposal_mismatch")
_expect("weak_algorithms", "left right", "weak_algorithm")
_expect("weaker_than_before", "left right", "downgrade")  # at the left its own policy was changed
_expect("rotation_on_one_end", "left right", "auth_failures")
_expect("clock_put_back", "left")
_expect("clock_put_back", "right", "clock")
_expect("clock_behind", "left", "auth_failures")
_expect("clock_behind", "right", "clock", also="certificate_rejected auth_failures")
_expect("unknown_peer", "left")
_expect("unknown_peer", "right", "unknown_peers")
_expect("unknown_identity", "left", "auth_failures")
_expect("unknown_identity", "right", "unknown_peers", also="auth_failures")

_expect("flapping_link", "left right", "dpd_flapping")
_expect("flapping_loss", "left right", "dpd_flapping", "retransmit_storm")
_expect("flapping_ikev1", "left right", "dpd_flapping", also="retransmit_storm")
_expect("half_open_limit", "left")
_expect("half_open_limit", "right", "half_open_flood")
_expect("half_open_flood", "left")
_expect("half_open_flood", "right", "half_open_flood")
_expect("half_open_one_source", "left")
_expect("half_open_one_source", "right", "half_open_flood")
_expect("same_identity", "right", "identity_conflict")
_expect("same_identity", "left other", "dpd_flapping")


def recorded(name: str) -> Path:
    """The log of one end."""
    return RECORDED / f"{name}.log"
