"""The tables of rollovers: which authority succeeds which, and which certified another one's key beside its parent."""

from typing import Final

from sqlalchemy import Column, ForeignKey, Index, Table, UniqueConstraint

from store.columns import key, metadata, text, when
from store.types import BigKey


def _authority(name: str) -> Column[int]:
    return Column(name, BigKey, ForeignKey("authorities.id"), nullable=False, autoincrement=False)


# `state` as in pki.rollover.records. From `switch_at` on the successor issues in place of the authority; None: it does
# not. Who and when of a phase are empty again after a way back.
rollovers: Final = Table(
    "rollovers",
    metadata,
    key(),
    _authority("authority_id"),
    _authority("successor_id"),
    text("state"),
    when("switch_at", null=True),
    when("created_at"),
    text("created_by"),
    when("published_at", null=True),
    text("published_by", null=True),
    when("switched_at", null=True),
    text("switched_by", null=True),
    when("ended_at", null=True),
    text("ended_by", null=True),
    UniqueConstraint("successor_id"),
    Index(None, "authority_id"),
    sqlite_autoincrement=True,
)

# The certificate itself is one of the issuer's, with this serial number.
cross_certificates: Final = Table(
    "cross_certificates",
    metadata,
    key(),
    _authority("subject_id"),
    _authority("issuer_id"),
    text("serial"),
    when("created_at"),
    text("created_by"),
    UniqueConstraint("issuer_id", "serial"),
    Index(None, "subject_id"),
    sqlite_autoincrement=True,
)
