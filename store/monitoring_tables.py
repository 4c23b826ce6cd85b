"""The tables of SA monitoring: what daemons did, what the rules know of it, what they say is wrong."""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)

from store.columns import key, metadata, text, when, whole
from store.types import BigKey


def _gateway(*, alone: bool = False) -> Column[int]:
    return Column(
        "gateway_id",
        BigKey,
        ForeignKey("gateways.id"),
        nullable=False,
        primary_key=alone,
        autoincrement=False,
    )


def _document(name: str, *, null: bool = False) -> Column[object]:
    return Column(name, JSON(none_as_null=True), nullable=null)


# Where the monitoring of each gateway stands; whoever takes events of it holds this row. `begun` is how many streams it
# has begun; `streams` says of each stream which of its events came. `memory` is what the rules remember. `minute` and
# `in_minute` count what came lately; `counted` is how many lines of counts the gateway has for all time.
sa_watches: Final = Table(
    "sa_watches",
    metadata,
    _gateway(alone=True),
    whole("begun"),
    when("seen_at"),
    when("minute"),
    whole("in_minute"),
    whole("counted"),
    _document("streams"),
    Column("memory", LargeBinary, nullable=True),
)

# `number` tells the events of a gateway apart, in the order of its streams and of the events in them; alerts refer to
# it. `sequence` is the place in the gateway's `stream`. `at` is when it happened; `clock` tells where that is not what
# the gateway said. Without a foreign key: the events of a gateway that was removed are seen by nobody, and go when they
# are old.
sa_events: Final = Table(
    "sa_events",
    metadata,
    key(),
    Column("gateway_id", BigKey, nullable=False, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    text("stream"),
    Column("sequence", BigInteger, nullable=False),
    when("at"),
    when("received_at"),
    text("clock", null=True),
    text("kind"),
    text("peer", null=True),
    text("connection", null=True),
    text("identity", null=True),
    text("reason", null=True),
    _document("document"),
    UniqueConstraint("gateway_id", "number"),
    Index(None, "at", "id"),
    Index(None, "gateway_id", "at", "id"),
    Index(None, "peer", "at", "id"),
    sqlite_autoincrement=True,
)

# How many events of a kind, and where it has one of a reason, a connection had in an hour. The hour of 1970-01-01
# stands for all time.
sa_counts: Final = Table(
    "sa_counts",
    metadata,
    _gateway(),
    when("hour"),
    text("connection"),
    text("kind"),
    text("reason"),
    Column("number", BigInteger, nullable=False),
    PrimaryKeyConstraint("gateway_id", "hour", "connection", "kind", "reason"),
    Index(None, "hour"),
)

# The same by days, of UTC: a report of a week goes through a fraction of the hours.
sa_days: Final = Table(
    "sa_days",
    metadata,
    _gateway(),
    when("day"),
    text("connection"),
    text("kind"),
    text("reason"),
    Column("number", BigInteger, nullable=False),
    PrimaryKeyConstraint("gateway_id", "day", "connection", "kind", "reason"),
    Index(None, "day"),
)

# How many events of a kind all gateways had in an hour, summed up by a job: who looks at the whole fleet would go
# through a line for each tunnel and hour.
sa_hours: Final = Table(
    "sa_hours",
    metadata,
    when("hour"),
    text("kind"),
    Column("number", BigInteger, nullable=False),
    PrimaryKeyConstraint("hour", "kind"),
)

# One condition, from its first sign to its end. `same` tells it from others of the gateway; `began` and `ended` are by
# the gateway's clock, the others by ours. `lines` are numbers of events. `told`: somebody was told that it is there.
sa_alerts: Final = Table(
    "sa_alerts",
    metadata,
    key(),
    _gateway(),
    text("same"),
    text("kind"),
    text("severity"),
    whole("rank"),
    text("state"),
    text("connection", null=True),
    text("peer", null=True),
    text("identity", null=True),
    when("began", null=True),
    when("ended", null=True),
    when("opened_at"),
    when("changed_at"),
    when("ended_at", null=True),
    whole("updates"),
    whole("told"),
    when("silenced_until", null=True),
    text("silenced_by", null=True),
    text("silenced_why", null=True),
    text("cause"),
    text("next_step"),
    _document("evidence"),
    _document("lines"),
    Index(None, "gateway_id", "same", "id"),
    Index(None, "gateway_id", "state"),
    Index(None, "state", "rank", "id"),
    Index(None, "rank", "id"),
    Index(None, "silenced_until"),
    Index(None, "ended_at"),
    sqlite_autoincrement=True,
)
