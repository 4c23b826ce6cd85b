"""IKE_SAs as charon lists them, as values of the port."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ike.daemons.port import ChildSa, IkeSa
from ike.daemons.strongswan import names
from ike.daemons.strongswan.session import Session

_ALGORITHMS = ("encr-alg", "encr-keysize", "integ-alg", "prf-alg", "dh-group")


def listed_sas(session: Session, now: datetime, **filters: str) -> list[IkeSa]:
    """The IKE_SAs, also those that are coming up or going down; of proofs not the latter: nothing depends on them."""
    listed = session.stream("list-sas", "list-sa", filters)
    return [
        sa_of(name, raw, now)
        for entry in listed
        for name, raw in entry.items()
        if not (names.is_proof(name) and raw.get("state") == "DELETING")
    ]


def sas_of(session: Session, now: datetime, connection: str) -> list[IkeSa]:
    """The IKE_SAs of one connection, also those that its companion answered."""
    both = (connection, names.companion(connection))
    return [sa for name in both for sa in listed_sas(session, now, ike=name)]


def sa_of(connection: str, raw: Mapping[str, Any], now: datetime) -> IkeSa:
    """One IKE_SA of `list-sas` or of an event."""
    age = raw.get("established")
    state = raw.get("state", "")
    return IkeSa(
        id=raw.get("uniqueid", ""),
        connection=names.connection_of(connection),
        state=state,
        version=int(raw.get("version", 0)),
        local_address=raw.get("local-host", ""),
        remote_address=raw.get("remote-host", ""),
        local_id=raw.get("local-id", ""),
        remote_id=raw.get("remote-id", ""),
        established=state in {"ESTABLISHED", "REKEYING"},
        established_at=now - timedelta(seconds=int(age)) if age is not None else None,
        initiator=raw.get("initiator") == "yes",
        spi_initiator=raw.get("initiator-spi", ""),
        spi_responder=raw.get("responder-spi", ""),
        algorithms="-".join(raw[each] for each in _ALGORITHMS if each in raw),
        children=tuple(_child_of(child) for child in raw.get("child-sas", {}).values()),
        # Only what is real: with `encap` charon pretends that there is one.
        nat_t=any(raw.get(each) == "yes" for each in ("nat-local", "nat-remote")),
        rekey_seconds=_seconds(raw, "rekey-time"),
        reauth_seconds=_seconds(raw, "reauth-time"),
    )


def _child_of(raw: Mapping[str, Any]) -> ChildSa:
    return ChildSa(
        name=raw.get("name", ""),
        state=raw.get("state", ""),
        spi_in=raw.get("spi-in", ""),
        spi_out=raw.get("spi-out", ""),
        local_ts=tuple(raw.get("local-ts", ())),
        remote_ts=tuple(raw.get("remote-ts", ())),
        bytes_in=int(raw.get("bytes-in", 0)),
        bytes_out=int(raw.get("bytes-out", 0)),
        protocol=raw.get("protocol", ""),
        mode=raw.get("mode", "").lower(),
        nat_t=raw.get("encap") == "yes",
        algorithms="-".join(raw[each] for each in _ALGORITHMS if each in raw),
        rekey_seconds=_seconds(raw, "rekey-time"),
        expire_seconds=_seconds(raw, "life-time"),
    )


def _seconds(raw: Mapping[str, Any], name: str) -> int | None:
    """Times that have passed are told as negative ones."""
    return max(0, int(raw[name])) if name in raw else None
