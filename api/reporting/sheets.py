"""How reports that are lists are laid out on a page: tiles with numbers, and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from api.reporting.words import N_
from fleet.reporting.expiring import ExpiringFigures
from fleet.reporting.inventory import InventoryFigures, Listed
from fleet.reporting.psk_age import PskAgeFigures
from fleet.reporting.revocations import RevocationFigures


@dataclass(frozen=True)
class Column:
    """A column: what it is called, whose value it shows, and how: `name`, `text`, `number`, `time`, `term`, `code`."""

    label: str
    key: str
    form: str = "text"


@dataclass(frozen=True)
class Table:
    """Rows under a heading; `more` are those that are not told of."""

    heading: str
    columns: Sequence[Column]
    rows: Sequence[Any]
    more: int = 0
    about: str = ""


@dataclass(frozen=True)
class Tile:
    """A number; `form` is the class that colours it where it is not nought."""

    label: str
    value: int | None
    form: str = ""


@dataclass(frozen=True)
class Sheet:
    """What a page shows. `nothing` says why it is empty, and what to do."""

    tiles: Sequence[Tile]
    tables: Sequence[Table]
    sums: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    nothing: tuple[str, str] | None = None


_GATEWAY: Final = Column(N_("gateway"), "gateway", "name")
_SERIAL: Final = Column(N_("serial number"), "serial", "code")
_AUTHORITY: Final = Column(N_("authority"), "authority")
_NAME: Final = Column(N_("name"), "name", "name")
_NAMES: Final = Column(N_("names"), "names", "name")
_PROFILE: Final = Column(N_("profile"), "profile")
_KIND: Final = Column(N_("kind"), "kind", "term")
_STATE: Final = Column(N_("state"), "state", "term")
_STATUS: Final = Column(N_("state"), "status", "term")
_ENDS: Final = Column(N_("ends"), "not_after", "time")
_DAYS: Final = Column(N_("days left"), "days", "number")
_ITEMS: Final = {
    N_("Authorities"): (
        *(_NAME, _KIND, _STATE, Column(N_("above it"), "authority"), _SERIAL),
        Column(N_("ends"), "until", "time"),
    ),
    N_("Gateways"): (
        *(_NAME, Column(N_("daemon"), "kind"), _STATE, _AUTHORITY),
        Column(N_("on record since"), "since", "time"),
    ),
    N_("Tunnels"): (
        *(_NAME, _KIND, _STATE, _GATEWAY, Column(N_("peer"), "peer", "name")),
        Column(N_("on record since"), "since", "time"),
    ),
    N_("Shared secrets"): (
        *(_NAME, _KIND, _STATE, _GATEWAY, Column(N_("in use since"), "since", "time")),
        Column(N_("due"), "until", "time"),
    ),
    N_("Certificates in force"): (
        *(_NAME, Column(N_("profile"), "kind"), _STATE, _GATEWAY, _AUTHORITY, _SERIAL),
        Column(N_("ends"), "until", "time"),
    ),
}


def inventory(found: InventoryFigures) -> Sheet:
    """What there is."""
    listed: Sequence[Listed] = (
        *(found.authorities, found.gateways, found.tunnels, found.secrets, found.in_force),
    )
    tables = [
        Table(heading, columns, each.items, each.more)
        for (heading, columns), each in zip(_ITEMS.items(), listed, strict=True)
    ]
    tiles = [Tile(table.heading, each.total) for table, each in zip(tables, listed, strict=True)]
    nothing = None
    if not any(each.total for each in listed):
        nothing = (
            N_("There is neither an authority nor a gateway."),
            N_(
                "`ikewarden ca create` makes the first authority, `ikewarden gateway add` a gateway."
            ),
        )
    return Sheet(
        tiles,
        tables,
        {
            N_("Certificates by state"): found.certificates,
            N_("Certificates in force by profile"): found.profiles,
        },
        nothing,
    )


def expiring(found: ExpiringFigures) -> Sheet:
    """What ends."""
    nothing = None
    if not found.total and not found.authorities:
        nothing = (
            N_("No certificate that is in force ends in this time."),
            N_("Give another time with `--period`, as `next-90d`."),
        )
    return Sheet(
        (
            Tile(N_("certificates that end"), found.total, "medium"),
            Tile(N_("renewed already"), found.renewed),
            Tile(N_("on hold"), found.held),
            Tile(N_("authorities that end"), len(found.authorities), "high"),
        ),
        (
            Table(N_("Authorities"), (_NAME, _KIND, _STATUS, _ENDS, _DAYS), found.authorities),
            Table(
                N_("Certificates"),
                (
                    *(_NAMES, _GATEWAY, _PROFILE, _AUTHORITY, _SERIAL, _STATUS),
                    *(_ENDS, _DAYS, Column(N_("renewed"), "renewed")),
                ),
                found.certificates,
                found.more,
                N_("The soonest first."),
            ),
        ),
        nothing=nothing,
    )


def revocations(found: RevocationFigures) -> Sheet:
    """What was revoked."""
    nothing = None
    if not found.revoked and not found.held:
        nothing = (
            N_("Nothing was revoked or put on hold in this time."),
            N_("Give another time with `--period`, as `2026-Q3`."),
        )
    told = found.latency
    return Sheet(
        (
            Tile(N_("revoked"), found.revoked, "high"),
            Tile(N_("on hold"), found.held, "medium"),
            Tile(N_("gateways told"), told.cuts),
            Tile(N_("have confirmed"), told.confirmed),
            Tile(N_("seconds, half of them"), told.median),
            Tile(N_("seconds, the slowest"), told.slowest),
        ),
        (
            Table(
                N_("Certificates"),
                (
                    *(_NAMES, _GATEWAY, _PROFILE, _AUTHORITY, _SERIAL, _STATE),
                    *(Column(N_("reason"), "reason"), Column(N_("at"), "revoked_at", "time")),
                    Column(N_("gateways"), "gateways", "number"),
                    Column(N_("confirmed"), "confirmed", "number"),
                    Column(N_("seconds"), "seconds", "number"),
                ),
                found.certificates,
                found.more,
                N_("The latest first. Seconds: until the last gateway had confirmed."),
            ),
        ),
        {N_("By reason"): found.reasons},
        nothing,
    )


def psk_age(found: PskAgeFigures) -> Sheet:
    """How old shared secrets are."""
    nothing = None
    if not found.total:
        nothing = (
            N_("No tunnel has a shared secret that is kept here."),
            N_(
                "`ikewarden tunnel secret-add TUNNEL` gives it one, or takes over the one that it has."
            ),
        )
    return Sheet(
        (
            Tile(N_("shared secrets"), found.total),
            Tile(N_("overdue"), found.overdue, "high"),
            Tile(N_("in rotation"), found.rotating),
            Tile(N_("none yet"), found.none_yet, "medium"),
            Tile(N_("days, the oldest"), found.oldest_days),
        ),
        (
            Table(
                N_("Shared secrets"),
                (
                    Column(N_("tunnel"), "tunnel", "name"),
                    *(_KIND, Column(N_("left"), "left", "name")),
                    Column(N_("right"), "right", "name"),
                    Column(N_("version"), "version", "number"),
                    Column(N_("source"), "source"),
                    Column(N_("strength"), "strength"),
                    Column(N_("in use since"), "current_at", "time"),
                    Column(N_("days"), "days", "number"),
                    Column(N_("due"), "due_at", "time"),
                    Column(N_("overdue"), "overdue"),
                    Column(N_("rotation"), "rotation"),
                ),
                found.secrets,
                found.more,
                N_("The oldest first. Values are never told."),
            ),
        ),
        {N_("By days in use"): found.ages},
        nothing,
    )
