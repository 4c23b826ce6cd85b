"""What a rule says: which condition, since when, by which numbers and lines, why, and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

#: Every kind of alert and its usual severity. A kind is a promise: scripts and runbooks are named by it.
KINDS: Final = {
    "rekey_too_fast": "high",
    "rekey_missed": "high",
    "sa_flapping": "high",
    "duplicate_sas": "medium",
    "rekey_collisions": "low",
    "auth_failures": "high",
    "auth_guessing": "critical",
    "half_open_flood": "critical",
    "downgrade": "critical",
    "weak_algorithm": "high",
    "proposal_mismatch": "medium",
    "unknown_peers": "medium",
    "dpd_flapping": "medium",
    "retransmit_storm": "medium",
    "peer_unreachable": "medium",
    "certificate_rejected": "high",
    "revocation_unchecked": "medium",
    "identity_conflict": "high",
    "sa_shared": "high",
    "rotation_failed": "critical",
    "clock": "medium",
    "events_lost": "high",
}
#: What evidence is called, of whatever kind.
EVIDENCE: Final = frozenset(
    {
        *("addresses", "age_seconds", "at_once", "attempts", "authentications", "before"),
        *("beside_each_other_seconds", "bound", "changes", "claimed_identities", "collisions"),
        *("deletions", "established", "events", "exchanges", "identities", "last_connection"),
        *("layer", "longest_life_seconds", "longest_seconds", "losses", "lower_bound_seconds"),
        *("now", "of_the_last_rekeys", "other_child", "other_connection", "pause_seconds"),
        *("peers", "peers_out_of_date", "proposal", "reason", "refusals", "refused", "rekeys"),
        *("repeated_more_than_once", "requests", "sa", "said", "sas", "shortest_seconds"),
        *("source", "sources", "spi_in", "timed_out", "tries", "usual", "weak"),
        *("went_back_seconds", "window_seconds"),
    }
)
#: Kinds that are about one peer of a connection, which may have many: each of them is a condition of its own.
PERSONAL: Final = frozenset(
    {"auth_failures", "certificate_rejected", "proposal_mismatch", "peer_unreachable"}
)
#: Variants of a kind that are less.
LESSER: Final = {("downgrade", "configured"): "medium"}


@dataclass(frozen=True, slots=True)
class Alert:
    """One condition, from its first sign to its end.

    `start` and `end` in POSIX seconds of the log (None: the log shows no times; `end` None too while it
    lasts). `evidence` holds numbers and short words, ready for JSON. `lines` are the first lines that
    show it, at most 20. `cause` and `next_step` are one sentence each, for an operator.
    """

    kind: str
    severity: str
    connection: str | None
    peer: str | None
    start: float | None
    end: float | None
    evidence: Mapping[str, object]
    lines: tuple[int, ...]
    cause: str
    next_step: str
    gateway: str | None = None
    identity: str | None = None
    updates: int = field(default=1, compare=False)
    raised: float | None = field(
        default=None, compare=False
    )  # when it was certain; `start` is its first sign
    common: bool = False  # of all strangers together; `peer` is the only one so far
    who: str | None = (
        None  # which of the peers of its connection it is about, where each has its own
    )

    @property
    def key(self) -> tuple[str, str | None, str | None, str | None]:
        """What makes it the same condition: kind, gateway, connection, and the peer where no connection is known, or
        where the kind is about one of the peers of a connection.

        Strangers are one condition together.
        """
        return (
            self.kind,
            self.gateway,
            self.connection,
            self.peer if self.connection is None and not self.common else self.who,
        )
