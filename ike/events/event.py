"""The vocabulary: what can happen to an SA, as one value, whichever daemon said it."""

from typing import Any, Final, NamedTuple

#: What is reported (docs/reference/sa-events.md), with the fields of a line that may stand with it.
EVENTS: Final = {
    "ike_initiate": ("peer", "connection", "ike_id"),
    "ike_respond": ("peer", "connection", "ike_id"),
    "ike_established": ("peer", "connection", "ike_id"),
    "ike_rekeyed": ("peer", "connection", "ike_id", "old_ike_id"),
    "ike_reauth": ("peer", "connection", "ike_id"),
    "ike_deleted": ("peer", "connection", "ike_id"),
    "ike_timeout": ("peer", "connection", "ike_id"),
    "child_established": (
        "peer",
        "connection",
        "ike_id",
        "child",
        "child_id",
        "spi_in",
        "spi_out",
    ),
    "child_rekeyed": (
        "peer",
        "connection",
        "ike_id",
        "child",
        "child_id",
        "new_child_id",
        "spi_in",
        "spi_out",
    ),
    "child_rekey_failed": ("peer", "connection", "ike_id", "child", "child_id"),
    "child_closed": ("peer", "connection", "ike_id", "child", "child_id", "spi_in", "spi_out"),
    "auth_failed": ("peer", "connection", "ike_id"),
    "cert_invalid": ("peer", "connection", "ike_id"),
    "cert_revoked": ("peer", "connection", "ike_id"),
    "crl_fetch_failed": ("peer", "connection", "ike_id"),
    "proposal_mismatch": ("peer", "connection", "ike_id", "child_id"),
    "invalid_ke": ("peer", "connection", "ike_id"),
    "ts_unacceptable": ("peer", "connection", "ike_id", "child_id"),
    "unknown_peer": ("peer", "connection", "ike_id"),
    "retransmit": ("peer", "connection", "ike_id", "child_id", "seq"),
    "giving_up": ("peer", "connection", "ike_id", "child_id"),
    "dpd_timeout": ("peer", "connection", "ike_id"),
    "half_open_limit": ("peer",),
    "cookie": ("peer", "connection", "ike_id"),
}

#: What parsers give as the reason of an event.
REASONS: Final = frozenset(
    {
        *("constraint", "credential", "crl", "duplicate", "eap", "expired", "identity", "issuer"),
        *(
            "initial_contact",
            "key",
            "mode",
            "not_yet_valid",
            "ocsp",
            "other_half",
            "own_key",
            "peer",
            "psk",
        ),
        *("reauth", "refused", "rekey", "revocation", "revoked", "untrusted", "xauth"),
    }
)

#: What daemons count and tell by no event, the reasons of `counted`: malformed messages, messages of no known IKE SA,
#: requests that no configuration fits. And what the agent left out of a flood, and what was lost on its way.
MALFORMED, UNKNOWN_SPI, REFUSED = "malformed", "unknown_spi", "refused"
LEFT_OUT, LOST = "left_out", "lost"
COUNTS: Final = frozenset({MALFORMED, UNKNOWN_SPI, REFUSED, LEFT_OUT, LOST})

#: What the rules need beside the events, and what `sa events` does not print.
REMARKS: Final = frozenset(
    {
        "algorithms",  # a proposal was selected: `algorithms`
        "collision",  # both ends rekeyed at once
        "duplicate_replaced",  # an SA gave way to another of the same identity (INITIAL_CONTACT, uniqueids)
        "address_changed",  # MOBIKE, or a mapping of NAT
        "rekey_scheduled",  # `seconds` until the daemon rekeys or reauthenticates
        "daemon_started",
        "daemon_stopped",
        "configured",  # a connection was loaded, replaced or unloaded
        "alive",  # the log goes on at this time, whatever its lines say
        "clock",  # the daemon, or its time source, speaks of a moved clock
        "half_open",  # `number` negotiations that peers began stood half-open for `seconds`
        # `number` more of what `reason`, one of COUNTS, says happened in `seconds`, of which no event tells
        "counted",
        "soft_expired",  # the kernel asks for a new SA: the soft limit that `reason` names was reached
        "acquire",  # the kernel asks for an SA that traffic needs; reason "unanswered": in vain
    }
)

_PRINTED: Final = (
    "peer",
    "connection",
    "ike_id",
    "old_ike_id",
    "child",
    "child_id",
    "new_child_id",
    "spi_in",
    "spi_out",
    "seq",
    "phase",
)


class SaEvent(NamedTuple):
    """One event or remark. What stands in the first fields is on that very line; nothing is carried over.

    `time` in POSIX seconds, None where the line shows none. `spi_in` and `spi_out` hexadecimal as
    printed, without `0x`. The fields below `thread` are for the rules and are never printed as fields
    of an event: of those, `source` and `name` may come from earlier lines.
    """

    kind: str
    line: int
    time: float | None = None
    peer: str | None = None
    connection: str | None = None
    ike_id: int | None = None
    child: str | None = None
    child_id: int | None = None
    spi_in: str | None = None
    spi_out: str | None = None
    old_ike_id: int | None = None
    new_child_id: int | None = None
    seq: int | None = None
    phase: str | None = None
    # For the rules.
    thread: str | None = None  # of the daemon, where its prefix shows one
    source: str | None = None  # the address of the peer, from this line or the ones before it
    name: str | None = None  # the connection, from this line or the ones before it
    identity: str | None = None  # the remote identity, as printed
    reason: str | None = None  # a short word of ours, as "psk" or "expired"; see the parser
    algorithms: str | None = None  # a proposal as printed
    size: int | None = None  # bytes through a Child SA that was closed, both ways
    seconds: float | None = None  # until what is scheduled
    host: str | None = None  # who wrote the line, from the prefix
    daemon: str | None = None  # "charon", "pluto", "windows", "asa", "ios", "junos", "kernel", ...
    number: int | None = None  # how many


def printed(event: SaEvent, at: str | None = None) -> dict[str, Any]:
    """`event` as `sa events` prints it: `line`, `event`, `time` (`at`, RFC 3339) and what the line shows."""
    shown: dict[str, Any] = {"line": event.line, "event": event.kind}
    if at is not None:
        shown["time"] = at
    for field in _PRINTED:
        value = getattr(event, field)
        if value is not None:
            shown[field] = value
    return shown
