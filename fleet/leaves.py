"""The certificate that a gateway should be using: the newest valid one that speaks for it."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, bindparam, func, select

from pki.descent import ended
from pki.identity import CHANNEL
from store.tables import certificates

# Under a name of its own, so that a query may look at certificates beside it.
_LEAF = certificates.alias("leaf")


def _valid(gateway: ColumnElement[str]) -> tuple[ColumnElement[bool], ...]:
    # That of its agent's channel is no certificate that it could use for IKE.
    return _LEAF.c.gateway == gateway, _LEAF.c.status == "valid", _LEAF.c.profile != CHANNEL


def newest(gateway: ColumnElement[str], now: datetime | None = None) -> ScalarSelect[Any]:
    """The id of the gateway's newest valid certificate, in SQL; without `now` its value is bound later as `moment`."""
    moment = bindparam("moment", type_=certificates.c.not_after.type) if now is None else now
    return (
        select(_LEAF.c.id)
        .where(*_valid(gateway), _LEAF.c.not_after > moment)
        .order_by(_LEAF.c.id.desc())
        .limit(1)
        .correlate_except(_LEAF)
        .scalar_subquery()
    )


def latest_end(gateway: ColumnElement[str]) -> ScalarSelect[Any]:
    """When the last of the gateway's valid certificates ends, in SQL; null where there is none. Those below an
    authority that is revoked or on hold do not count: no peer accepts them.
    """
    return (
        select(func.max(_LEAF.c.not_after))
        .where(*_valid(gateway), _LEAF.c.authority_id.not_in(ended()))
        .correlate_except(_LEAF)
        .scalar_subquery()
    )
