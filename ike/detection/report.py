"""What an analysis comes to: connections, alerts, and one word for it all. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ike.detection.alert import Alert
from ike.events.summary import Connection

OK, WARNING, ALERT = "ok", "warning", "alert"
SEVERITIES: Final = ("critical", "high", "medium", "low")
_GRAVE: Final = frozenset({"critical", "high"})

#: Line numbers of several logs in one: that of the log stands above that of the line.
STRIDE: Final = 1 << 40
BandKey = tuple[str | None, str | None, str]

#: What an alert of each kind is called.
TITLES: Final[Mapping[str, str]] = {
    "rekey_too_fast": "SAs are rekeyed faster than their lifetimes allow",
    "rekey_missed": "An SA was not rekeyed in time",
    "sa_flapping": "SAs are made and deleted again and again",
    "duplicate_sas": "More SAs are up than the connection needs",
    "rekey_collisions": "Both ends keep rekeying at the same time",
    "auth_failures": "Authentication of a peer keeps failing",
    "auth_guessing": "Somebody is guessing keys or identities",
    "half_open_flood": "A flood of half-open IKE SAs",
    "events_lost": "Events were lost on their way",
    "downgrade": "A weaker algorithm was agreed on than before",
    "weak_algorithm": "Weak algorithms are in use",
    "proposal_mismatch": "The policies of the two ends do not match",
    "unknown_peers": "Peers that are not configured are asking",
    "dpd_flapping": "A peer is lost and found again and again",
    "peer_unreachable": "A peer does not answer any more",
    "retransmit_storm": "Many messages are sent again",
    "certificate_rejected": "A peer's certificate was rejected",
    "revocation_unchecked": "Certificates are accepted without a check of revocation",
    "identity_conflict": "One identity is used by two hosts",
    "sa_shared": "One SA serves several policies",
    "rotation_failed": "A rotated key is not accepted",
    "clock": "A clock is wrong",
}


@dataclass(frozen=True)
class Band:
    """Between how many seconds an SA is to be rekeyed; `origin` is "configured" or "learned"."""

    lower: float
    upper: float | None = None
    origin: str = "learned"


@dataclass(frozen=True)
class Report:
    """One analysis. `sources` names the logs; `bands` are by gateway, connection and "ike" or "child". A line's number
    tells the log too: see `place`. `problems` are what kept logs from being read to their ends.
    """

    sources: tuple[str, ...]
    lines: int
    events: int
    first: float | None
    last: float | None
    connections: tuple[Connection, ...]
    alerts: tuple[Alert, ...]
    bands: Mapping[BandKey, Band] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """`alert` where something is critical or high; `warning` where anything else is wrong, where nothing or not all
        could be judged, or where a log could not be read to its end; else `ok`.
        """
        if not self.alerts:
            return WARNING if self.problems or not self.events or self.is_untimed else OK
        return ALERT if _GRAVE & {each.severity for each in self.alerts} else WARNING

    @property
    def is_untimed(self) -> bool:
        """Whether no line shows a time."""
        return self.events > 0 and self.first is None

    @property
    def remarks(self) -> list[str]:
        """What the verdict does not cover."""
        told = [f"Not read to its end: {each}" for each in self.problems]
        if not self.events:
            why = (
                "Nothing in it is of an IKE daemon that is known here."
                if self.lines
                else "The log is empty."
            )
            told.append(
                f"{why} Give the log that the daemon itself writes, as /var/log/charon.log, or its part of the "
                "journal: journalctl -u strongswan -o short-iso-precise | ikewarden sa analyze -"
            )
        if self.is_untimed:
            told.append(
                "The lines have no times, so nothing could be judged that depends on them: how often SAs are rekeyed, "
                "how fast messages come. Have the daemon write them (`time_format`)."
            )
        return told

    @property
    def ranked(self) -> list[Alert]:
        """The alerts, the worst first, then in the order of their start."""
        return sorted(
            self.alerts, key=lambda each: (rank(each.severity), each.start or 0.0, each.kind)
        )

    def band_of(self, connection: Connection, kind: str) -> Band | None:
        """What is known of a connection's IKE or Child SAs."""
        return self.bands.get((connection.gateway, connection.name, kind))

    def place(self, line: int) -> str:
        """Where a line is: its number, behind the name of the log where there are several."""
        log, number = divmod(line, STRIDE)
        return f"{self.sources[log]}:{number}" if len(self.sources) > 1 else str(number)

    def places(self, lines: Iterable[int]) -> str:
        """Where several lines are, with each log named once."""
        logs: dict[int, list[str]] = {}
        for line in lines:
            log, number = divmod(line, STRIDE)
            logs.setdefault(log, []).append(str(number))
        if len(self.sources) == 1:
            return ", ".join(number for numbers in logs.values() for number in numbers)
        return "; ".join(
            f"{', '.join(numbers)} of {self.sources[log]}" for log, numbers in logs.items()
        )

    def alerts_of(self, connection: Connection) -> list[Alert]:
        """Those about a connection, or about a peer where no connection is known."""
        return [
            each
            for each in self.ranked
            if (each.connection == connection.name)
            and each.gateway in (None, connection.gateway)
            and (connection.name is not None or each.peer == connection.peer)
        ]

    @property
    def strangers(self) -> list[Connection]:
        """The peers of which no connection is known and no SA."""
        return [each for each in self.connections if each.name is None and not each.lives]

    @property
    def told(self) -> list[Connection]:
        """The connections as they are shown: those with alerts first, then those that did most."""
        known = [each for each in self.connections if each.name is not None or each.lives]
        return sorted(
            known,
            key=lambda each: (
                min((rank(alert.severity) for alert in self.alerts_of(each)), default=9),
                each.name is None,
                each.gateway or "",
                each.name or each.peer or "",
            ),
        )


def rank(severity: str) -> int:
    """0 for the worst."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def title(alert: Alert) -> str:
    """What it is called."""
    return TITLES.get(alert.kind, alert.kind)


def page(alert: Alert) -> str:
    """The command that prints what it means and what to do."""
    return f"ikewarden alert explain {alert.kind}"
