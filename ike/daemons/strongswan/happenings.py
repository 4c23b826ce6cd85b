"""charon's events over VICI as events of SAs. Pure.

What charon says by `ike-updown` and its like is all that it says there of SAs that came up; why one did not, `alert`
tells from 6.0.3 on, and before that only the log.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ike.events.event import SaEvent

#: Every charon that is supported knows these.
EVENTS: Final = ("ike-updown", "ike-rekey", "ike-update", "child-updown", "child-rekey")
#: charon 6.0.3 and later.
ALERT: Final = "alert"
# By charon's word: the event, and the reason where there is one.
_ALERTS: Final[Mapping[str, tuple[str, str | None]]] = {
    "local-auth-failed": ("auth_failed", "refused"),
    "peer-auth-failed": ("auth_failed", "key"),
    "authorization-failed": ("auth_failed", None),
    "cert-expired": ("cert_invalid", "expired"),
    "cert-revoked": ("cert_revoked", None),
    "cert-no-issuer": ("cert_invalid", "issuer"),
    "cert-untrusted-root": ("cert_invalid", "issuer"),
    "cert-validation-failed": ("cert_invalid", None),
    "cert-exceeded-path-len": ("cert_invalid", None),
    "cert-policy-violation": ("cert_invalid", None),
    "half-open-timeout": ("ike_timeout", None),
    "proposal-mismatch-ike": ("proposal_mismatch", None),
    "proposal-mismatch-child": ("proposal_mismatch", None),
    "ts-mismatch": ("ts_unacceptable", None),
    "retransmit-send": ("retransmit", None),
    "retransmit-send-timeout": ("giving_up", None),
    "unique-replace": ("duplicate_replaced", "duplicate"),
}
_IKE: Final = ("encr-alg", "integ-alg", "prf-alg", "dh-group")


def events_of(name: str, message: Mapping[str, Any], at: float) -> list[SaEvent]:
    """What one message says, as of `at`, POSIX seconds. Of what is not known, nothing."""
    return list(_Telling(message, at).told(name))


class _Telling:
    def __init__(self, message: Mapping[str, Any], at: float) -> None:
        self._message, self._at = message, at
        self._up = message.get("up") == "yes"

    def told(self, name: str) -> Iterator[SaEvent]:
        if name == ALERT:
            yield from self._alert()
            return
        for connection, raw in self._message.items():
            if not isinstance(raw, Mapping):
                continue
            if name == "ike-updown":
                yield from self._ike(connection, raw)
            elif name == "ike-rekey":
                yield from self._rekeyed(connection, raw)
            elif name == "ike-update":
                yield self._event("address_changed", connection, raw, peer=self._new_address(raw))
            elif name in ("child-updown", "child-rekey"):
                for key, child in _mappings(raw.get("child-sas")):
                    yield from self._child(name, connection, raw, key, child)

    def _ike(self, connection: str, raw: Mapping[str, Any]) -> Iterator[SaEvent]:
        if self._up:
            yield from self._chosen(connection, raw, "IKE", raw)
            yield self._event("ike_established", connection, raw)
        elif raw.get("state") != "CONNECTING":  # one that never came up is no loss
            yield self._event("ike_deleted", connection, raw)

    def _rekeyed(self, connection: str, raw: Mapping[str, Any]) -> Iterator[SaEvent]:
        old, new = raw.get("old"), raw.get("new")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from self._chosen(connection, new, "IKE", new)
            replaced = _number(old.get("uniqueid"))
            yield self._event("ike_rekeyed", connection, new, old_ike_id=replaced)

    def _child(
        self,
        name: str,
        connection: str,
        raw: Mapping[str, Any],
        key: str,
        child: Mapping[str, Any],
    ) -> Iterator[SaEvent]:
        if name == "child-rekey":
            old, new = child.get("old"), child.get("new")
            if isinstance(old, Mapping) and isinstance(new, Mapping):
                yield from self._chosen(connection, raw, _protocol(new), new)
                yield self._event(
                    "child_rekeyed",
                    connection,
                    raw,
                    child=old.get("name") or key,
                    child_id=_number(old.get("uniqueid")),
                    new_child_id=_number(new.get("uniqueid")),
                    size=_size(old),
                    **_spis(new),
                )
            return
        if self._up:
            yield from self._chosen(connection, raw, _protocol(child), child)
        yield self._event(
            "child_established" if self._up else "child_closed",
            connection,
            raw,
            child=child.get("name") or key,
            child_id=_number(child.get("uniqueid")),
            size=None if self._up else _size(child),
            **_spis(child),
        )

    def _alert(self) -> Iterator[SaEvent]:
        kind, reason = _ALERTS.get(str(self._message.get("type")), (None, None))
        if kind is None:
            return
        found = list(_mappings(self._message.get("ike-sa")))
        for connection, raw in found:
            yield self._event(kind, connection, raw, reason=reason)
        if not found:
            yield SaEvent(kind, 0, self._at, reason=reason, daemon="charon")

    def _chosen(
        self, connection: str, raw: Mapping[str, Any], layer: str, chosen: Mapping[str, Any]
    ) -> Iterator[SaEvent]:
        """The proposal, as charon's log writes it."""
        parts = []
        for each in _IKE:
            size = chosen.get(each.replace("alg", "keysize")) if each == "encr-alg" else None
            if chosen.get(each):
                parts.append(f"{chosen[each]}_{size}" if size else chosen[each])
        if parts:
            algorithms = f"{layer}:{'/'.join(parts)}"
            yield self._event("algorithms", connection, raw, algorithms=algorithms)

    def _new_address(self, raw: Mapping[str, Any]) -> str | None:
        return self._message.get("remote-host") or raw.get("remote-host")

    def _event(self, kind: str, connection: str, raw: Mapping[str, Any], **fields: Any) -> SaEvent:
        # A connection that is not chosen yet has a name that says so.
        name = connection if connection and connection != "(unnamed)" else None
        peer = fields.pop("peer", None) or raw.get("remote-host") or None
        return SaEvent(
            kind,
            0,
            self._at,
            peer=peer,
            source=peer,
            connection=name,
            name=name,
            ike_id=_number(raw.get("uniqueid")),
            identity=raw.get("remote-eap-id") or raw.get("remote-id") or None,
            daemon="charon",
            **fields,
        )


def _protocol(child: Mapping[str, Any]) -> str:
    return str(child.get("protocol") or "ESP")


def _spis(child: Mapping[str, Any]) -> dict[str, Any]:
    return {"spi_in": child.get("spi-in") or None, "spi_out": child.get("spi-out") or None}


def _size(child: Mapping[str, Any]) -> int | None:
    carried = [_number(child.get(each)) for each in ("bytes-in", "bytes-out")]
    return None if None in carried else sum(filter(None, carried))


def _mappings(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            if isinstance(each, Mapping):
                yield key, each


def _number(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 19 else None
