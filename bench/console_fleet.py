"""A large fleet as rows: gateways, tunnels, SAs and what happened to them, keys, findings, alerts, jobs."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table

from bench.console_certificates import Crowd, city, gateway_name
from fleet import ca_sets
from fleet.monitoring.counting import ALWAYS, midnight
from fleet.monitoring.values import SEVERITIES
from fleet.rotation.records import policy_document
from fleet.rotation.values import Policy
from ike.detection.alert import KINDS
from pki.desk import Desk
from store.approval_tables import approvals
from store.finding_tables import audit_reports, finding_events, findings
from store.fleet_tables import (
    gateway_authorities,
    gateway_identities,
    gateway_reports,
    gateway_sas,
    gateways,
    tunnel_identities,
    tunnels,
)
from store.monitoring_tables import sa_alerts, sa_counts, sa_days, sa_events, sa_watches
from store.rotation_tables import rotations, secret_reports, secret_slots, secrets
from store.tables import job_runs, outbox

Part = tuple[Table, Sequence[str], Iterable[Sequence[Any]]]
_RULES = (
    ("psk-weak", "secrets", "critical", "A pre-shared key can be guessed"),
    ("key-readable", "access", "high", "Others can read a private key"),
    ("proposal-weak", "configuration", "high", "A proposal has a weak algorithm"),
    ("parent-writable", "access", "medium", "Others can replace a file"),
    ("backup-left", "exposure", "medium", "A copy of the secrets lies about"),
    ("lifetime-long", "configuration", "low", "An SA lives for too long"),
    ("crl-missing", "certificates", "info", "No revocation list is loaded"),
)
_FINDINGS = 10
_HOURS, _DAYS = 24, 7
_PER_TUNNEL = 20
_JOBS = ("crl_refresh", "ocsp_refresh", "reconcile", "expiry_notices", "cleanup", "rotations_due")
_RUNS = 300_000
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class Fleet:
    """All rows of a fleet with so many tunnels; half as many gateways."""

    def __init__(self, desk: Desk, crowd: Crowd, tunnels: int, now: datetime) -> None:
        self.crowd, self.count, self.now = crowd, tunnels, now.replace(microsecond=0)
        self.gateways = crowd.gateways
        self.trusted = [each.id for each in ca_sets.lineage(desk, "issuing")]
        # Agents that go on telling: they count as heard for as long as is measured.
        self.fresh = self.now + 12 * _HOUR

    def parts(self) -> Iterator[tuple[str, Part]]:
        """Parents before children, each with the name it has in what is told."""
        yield "gateways", _part(gateways, self._gateways())
        yield "identities", _part(gateway_identities, self._identities())
        yield "trust", _part(gateway_authorities, self._trust())
        yield "tunnels", _part(tunnels, self._tunnels())
        yield "peers", _part(tunnel_identities, self._peers())
        yield "reports", _part(gateway_reports, self._reports())
        yield "sas", _part(gateway_sas, self._sas())
        yield "watches", _part(sa_watches, self._watches())
        yield "sa_events", _part(sa_events, self._events())
        yield "counts", _part(sa_counts, self._hours())
        yield "days", _part(sa_days, self._by_days())
        yield "alerts", _part(sa_alerts, self._alerts())
        yield "audits", _part(audit_reports, self._audits())
        yield "findings", _part(findings, self._findings())
        yield "finding_events", _part(finding_events, self._finding_events())
        yield "slots", _part(secret_slots, self._slots())
        yield "secrets", _part(secrets, self._secrets())
        yield "rotations", _part(rotations, self._rotations())
        yield "secret_reports", _part(secret_reports, self._secret_reports())
        yield "job_runs", _part(job_runs, self._runs())
        yield "dead_letters", _part(outbox, self._dead())
        yield "approvals", _part(approvals, self._approvals())

    def _ends(self, number: int) -> tuple[int, int | None]:
        """The gateways of a tunnel, counted from 1; every fifth leads out of the fleet."""
        left = number % self.gateways
        if number % 5 == 4:
            return left + 1, None
        right = (left + 1 + number * 7919) % self.gateways
        return left + 1, (right if right != left else (left + 1) % self.gateways) + 1

    def _name(self, number: int) -> str:
        return f"tunnel-{number:05}-{city(number)}"

    def _gateways(self) -> Iterator[dict[str, Any]]:
        for number in range(self.gateways):
            name = gateway_name(number)
            yield {
                "id": number + 1,
                "name": name,
                "profile": "gateway",
                "authority_id": self.trusted[0],
                "identities": f"dns:{name}",
                "daemon": ("strongswan", "libreswan", "strongswan", "windows")[number % 4],
                "version": 12,
                "commanded": 0,
                "changed_at": self.now - _DAY,
                "created_at": self.now - 200 * _DAY,
                "created_by": "oscar",
            }

    def _identities(self) -> Iterator[dict[str, Any]]:
        for number in range(self.gateways):
            yield {"identity": f"dns:{gateway_name(number)}", "gateway_id": number + 1}

    def _trust(self) -> Iterator[dict[str, Any]]:
        for number in range(self.gateways):
            for authority in self.trusted:
                yield {"gateway_id": number + 1, "authority_id": authority, "crl_number": 1 << 40}

    def _tunnels(self) -> Iterator[dict[str, Any]]:
        for number in range(self.count):
            left, right = self._ends(number)
            peer = None if right is not None else f"partner{number:05}"
            yield {
                "id": number + 1,
                "name": self._name(number),
                "left_id": left,
                "right_id": right,
                "peer_name": peer,
                "peer_identities": None if peer is None else f"dns:vpn.{peer}.example",
                "managed": 0,
                "created_at": self.now - 190 * _DAY,
                "created_by": "oscar",
            }

    def _peers(self) -> Iterator[dict[str, Any]]:
        for number in range(4, self.count, 5):
            yield {"identity": f"dns:vpn.partner{number:05}.example", "tunnel_id": number + 1}

    def _reports(self) -> Iterator[dict[str, Any]]:
        for number in range(self.gateways):
            name = gateway_name(number)
            _, printed = self.crowd.leaves[name]
            silent = number % 50 == 49
            seen = self.now - _HOUR if silent else self.fresh
            held = [{"fingerprint": printed, "authority": False, "has_key": True}]
            inventory = {"certificates": held, "keys": [], "crls": [], "connections": []}
            yield {
                "gateway_id": number + 1,
                "seen_at": seen,
                "agent_version": "0.1.0",
                "daemon_kind": "strongswan",
                "daemon_version": "5.9.14",
                "incarnation": "1",
                "applied_version": 11 if number % 40 == 39 else 12,
                "applied_at": self.now - _HOUR,
                "certificate": printed,
                "proof": "loaded",
                "inventory": json.dumps(inventory),
                "errors": "[]",
                "drifting": int(number % 60 == 59),
                "sas_at": seen,
                "sas_received_at": seen,
            }

    def _is_down(self, number: int) -> bool:
        return number % 70 == 69

    def _sas(self) -> Iterator[dict[str, Any]]:
        for number in range(self.count):
            left, right = self._ends(number)
            if self._is_down(number):
                continue
            for own, other in ((left, right), (right, left)):
                if own is not None:
                    yield self._sa(number, own, other)

    def _sa(self, number: int, own: int, other: int | None) -> dict[str, Any]:
        peer = f"vpn.partner{number:05}.example" if other is None else gateway_name(other - 1)
        mine = self.crowd.leaves[gateway_name(own - 1)][1]
        far = None if other is None else self.crowd.leaves[gateway_name(other - 1)]
        document = {
            "id": str(number),
            "connection": self._name(number),
            "state": "ESTABLISHED",
            "version": 2,
            "established": True,
            "established_at": (self.now - _HOUR).isoformat(),
            "initiator": other is None or own < other,
            "local_address": f"10.{own >> 8}.{own & 255}.1",
            "remote_address": f"10.{(other or 0) >> 8}.{(other or 0) & 255}.1",
            "local_id": gateway_name(own - 1),
            "remote_id": peer,
            "spi_initiator": f"{number:016x}",
            "spi_responder": f"{number + 7:016x}",
            "algorithms": "AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384",
            "local_certificate": mine,
            "remote_certificate": None if far is None else far[1],
            "children": [],
        }
        return {
            "gateway_id": own,
            "tunnel_id": number + 1,
            "sa_id": str(number),
            "connection": self._name(number),
            "state": "ESTABLISHED",
            "remote_name": f"dns:{peer}",
            "local_certificate": mine,
            "remote_certificate": None if far is None else far[1],
            "certificate_id": None if far is None else far[0],
            "document": json.dumps(document),
        }

    def _watches(self) -> Iterator[dict[str, Any]]:
        for number in range(self.gateways):
            yield {
                "gateway_id": number + 1,
                "begun": 1,
                "seen_at": self.fresh if number % 50 != 49 else self.now - _HOUR,
                "minute": self.now,
                "in_minute": 1,
                "counted": 10,
                "streams": "{}",
            }

    def _events(self) -> Iterator[dict[str, Any]]:
        total = self.count * _PER_TUNNEL
        for place in range(total):
            number = place % self.count
            left, right = self._ends(number)
            kind = ("child_rekeyed", "child_rekeyed", "child_rekeyed", "ike_rekeyed")[place % 4]
            reason = None
            if place % 97 == 96:
                kind, reason = "auth_failed", "psk"
            at = self.now - _DAYS * _DAY * (total - place) / total
            yield {
                "gateway_id": left,
                "number": place,
                "stream": "a",
                "sequence": place,
                "at": at,
                "received_at": at,
                "kind": kind,
                "peer": f"10.{(right or 0) >> 8}.{(right or 0) & 255}.1",
                "connection": self._name(number),
                "identity": None if right is None else gateway_name(right - 1),
                "reason": reason,
                "document": json.dumps({"child": "net", "child_id": place, "ike_id": number}),
            }

    def _lines(self, begins: Sequence[datetime], times: int) -> Iterator[tuple[Any, ...]]:
        for begin in begins:
            for number in range(self.count):
                for own in self._ends(number):
                    if own is not None:
                        yield own, begin, self._name(number), "child_rekeyed", "", times

    def _hours(self) -> Iterator[dict[str, Any]]:
        latest = self.now.replace(minute=0, second=0)
        begins = [ALWAYS, *(latest - number * _HOUR for number in range(_HOURS))]
        for line in self._lines(begins, 1):
            yield dict(zip(_COUNTED[0], line, strict=True))

    def _by_days(self) -> Iterator[dict[str, Any]]:
        begins = [midnight(self.now) - number * _DAY for number in range(_DAYS)]
        for line in self._lines(begins, _HOURS):
            yield dict(zip(_COUNTED[1], line, strict=True))

    def _alerts(self) -> Iterator[dict[str, Any]]:
        kinds = sorted(KINDS.items())
        for place in range(max(20, self.count // 4)):
            number = place * 13 % self.count
            left, right = self._ends(number)
            kind, severity = kinds[place % len(kinds)]
            is_open = place % 12 == 11
            began = self.now - (0.1 + place % 90) * _DAY
            ended = None if is_open else began + _HOUR
            yield {
                "id": place + 1,
                "gateway_id": left,
                "same": f"{kind}:{number}",
                "kind": kind,
                "severity": severity,
                "rank": SEVERITIES.index(severity),
                "state": "open" if is_open else "ended",
                "connection": self._name(number),
                "peer": f"10.{(right or 0) >> 8}.{(right or 0) & 255}.1",
                "identity": None if right is None else gateway_name(right - 1),
                "began": began,
                "ended": ended,
                "opened_at": began,
                "changed_at": began,
                "ended_at": ended,
                "updates": 3,
                "told": 1,
                "cause": "The peer's key is another one.",
                "next_step": "Compare the fingerprints of both ends.",
                "evidence": json.dumps({"number": 12, "seconds": 60}),
                "lines": json.dumps([number + place for place in range(3)]),
            }

    def _audits(self) -> Iterator[dict[str, Any]]:
        document = json.dumps({"policy": {}, "errors": [], "figures": {}})
        for number in range(self.gateways):
            seen = self.now - (20 * _DAY if number % 80 == 79 else _HOUR)
            yield {
                "gateway_id": number + 1,
                "digest": hashlib.sha256(b"%d" % number).hexdigest(),
                "baseline": ("default", "strict")[number % 2],
                "complete": 1,
                "errors": 0,
                "started_at": seen,
                "received_at": seen,
                "seen_at": seen,
                "document": document,
            }

    def _findings(self) -> Iterator[dict[str, Any]]:
        document = json.dumps(
            {"why": "It is read by others.", "fix": "chmod 600", "references": []}
        )
        severities = [rule[2] for rule in _RULES]
        for place in range(self.gateways * _FINDINGS):
            number, nth = divmod(place, _FINDINGS)
            rule, area, _, title = _RULES[(place + number) % len(_RULES)]
            severity = severities[(place + number) % len(_RULES)]
            state = ("fixed", "fixed", "open", "accepted", "fixed")[place % 5]
            opened = self.now - (1 + place % 120) * _DAY
            accepted = state == "accepted"
            yield {
                "id": place + 1,
                "gateway_id": number + 1,
                "finding": hashlib.sha256(b"%d" % place).hexdigest()[:16],
                "state": state,
                "rank": SEVERITIES.index(severity),
                "severity": severity,
                "rule": rule,
                "area": area,
                "times": 0,
                "opened_at": opened,
                "changed_at": opened,
                "seen_at": None if state != "fixed" else opened,
                "fixed_at": opened + _HOUR if state == "fixed" else None,
                "accepted_until": self.now + 90 * _DAY if accepted else None,
                "accepted_by": "oscar" if accepted else None,
                "accepted_why": "replaced in spring" if accepted else None,
                "path": f"/etc/swanctl/conf.d/{nth}.conf",
                "line": 3,
                "subject": "",
                "title": title,
                "evidence": "The mode is 0644.",
                "document": document,
            }

    def _finding_events(self) -> Iterator[dict[str, Any]]:
        for place in range(self.gateways * _FINDINGS):
            yield {
                "gateway_id": place // _FINDINGS + 1,
                "finding_id": place + 1,
                "at": self.now - (1 + place % 120) * _DAY,
                "state": "open",
                "actor": f"gateway {gateway_name(place // _FINDINGS)}",
                "why": "",
            }

    def _slot_numbers(self) -> Iterator[int]:
        return (number for number in range(self.count) if number % 10 < 7)

    def _running(self, number: int) -> str | None:
        """The state of the rotation under way, where there is one; of the rest a few went wrong lately."""
        return {0: "staged", 100: "promoted", 200: "stuck", 300: "stored"}.get(number % 1000)

    def _slots(self) -> Iterator[dict[str, Any]]:
        policy = json.dumps(policy_document(Policy()))
        for number in self._slot_numbers():
            yield {
                "id": number + 1,
                "tunnel_id": number + 1,
                "kind": "psk",
                "name": f"{self._name(number)}.psk",
                "path": f"ikewarden/{self._name(number)}/psk",
                "left_keys": "[3]",
                "right_keys": "[3]",
                "policy": policy,
                "last_version": 3,
                "rotation_id": number * 3 + 3 if self._running(number) else None,
                "due_at": self.now + (10 + number % 80) * _DAY,
                "created_at": self.now - 180 * _DAY,
                "created_by": "oscar",
            }

    def _secrets(self) -> Iterator[dict[str, Any]]:
        for number in self._slot_numbers():
            for version in (1, 2, 3):
                began = self.now - (number % 85 + (3 - version) * 90 + 1) * _DAY
                current = version == 3
                yield {
                    "slot_id": number + 1,
                    "version": version,
                    "state": "current" if current else "destroyed",
                    "source": "generated",
                    "fingerprint": hashlib.sha256(b"%d:%d" % (number, version)).hexdigest()[:32],
                    "store_version": version,
                    "created_at": began,
                    "current_at": began,
                    "destroyed_at": None if current else began + 90 * _DAY,
                }

    def _rotations(self) -> Iterator[dict[str, Any]]:
        for number in self._slot_numbers():
            for version in (1, 2, 3):
                running = self._running(number) if version == 3 else None
                failed = version == 3 and number % 400 == 50
                state = running or ("rolled_back" if failed else "retired")
                began = self.now - (number % 85 + (3 - version) * 90 + 1) * _DAY
                if running or failed:
                    began = self.now - _HOUR
                wrong = failed or state == "stuck"
                yield {
                    "id": number * 3 + version,
                    "slot_id": number + 1,
                    "state": state,
                    "back": int(failed),
                    "method": "overlap" if version > 1 else "first",
                    "reason": "scheduled" if version > 1 else "first",
                    "from_version": version - 1 or None,
                    "to_version": version,
                    "created_at": began,
                    "created_by": "scheduler",
                    "entered_at": began,
                    "deadline_at": self.now + 30 * _DAY if running else None,
                    "wake_at": self.now + 30 * _DAY if running else None,
                    "tries": 0,
                    "error_code": "end_refuses" if wrong else None,
                    "error": "The right end does not take the key." if wrong else None,
                    "next_step": "Look at that gateway." if wrong else None,
                    "ended_at": None if running else began + _HOUR / 2,
                }

    def _secret_reports(self) -> Iterator[dict[str, Any]]:
        for number in self._slot_numbers():
            for side, own in zip(("left", "right"), self._ends(number), strict=True):
                if own is not None:
                    yield {
                        "slot_id": number + 1,
                        "side": side,
                        "gateway_id": own,
                        "versions": "[3]",
                        "held": "[3]",
                        "foreign": "[]",
                        "reported_at": self.now - _HOUR,
                    }

    def _runs(self) -> Iterator[dict[str, Any]]:
        total = min(_RUNS, self.count * 30)
        for place in range(total):
            at = self.now - 14 * _DAY * (total - place) / total
            job = _JOBS[place % len(_JOBS)]
            bad = place % 5003 == 5002
            yield {
                "job": job,
                "owner": "bench",
                "started_at": at,
                "finished_at": at + timedelta(milliseconds=12),
                "outcome": "failed" if bad else "ok",
                "error": "signer_unavailable: The token is away." if bad else None,
                "detail": None if bad else json.dumps({"published": 3}),
            }

    def _dead(self) -> Iterator[dict[str, Any]]:
        for place in range(12):
            at = self.now - (place + 1) * _HOUR
            yield {
                "topic": "notice.expiring",
                "key": f"issuing:{place:032x}:7",
                "payload": json.dumps({"certificate": f"issuing:{place:032x}", "days": 7}),
                "created_at": at,
                "available_at": at,
                "attempts": 12,
                "last_error": "webhook_refused: 500",
                "dead_at": at,
            }

    def _approvals(self) -> Iterator[dict[str, Any]]:
        for place in range(300):
            at = self.now - place * _HOUR
            pending = place < 5
            parameters = {"serials": [f"{place:032x}"], "reason": "superseded"}
            yield {
                "act": "mass.revoke",
                "sha256": hashlib.sha256(b"%d" % place).hexdigest(),
                "parameters": json.dumps(parameters),
                "state": "pending" if pending else "used",
                "asked_by": "oscar",
                "person": "oscar",
                "role": "operator",
                "credential": "token:bench",
                "asked_at": at,
                "expires_at": at + _DAY,
                "decided_by": None if pending else "paula",
                "decided_credential": None if pending else "token:bench2",
                "decided_at": None if pending else at,
                "reason": None if pending else "as announced",
                "ended_at": None if pending else at,
            }


_COUNTED = tuple(
    ("gateway_id", begin, "connection", "kind", "reason", "number") for begin in ("hour", "day")
)


def _part(table: Table, rows: Iterable[dict[str, Any]]) -> Part:
    left = iter(rows)
    first = next(left, None)
    if first is None:
        return table, (), ()
    names = tuple(first)

    def values() -> Iterator[Sequence[Any]]:
        yield tuple(first.values())
        for row in left:
            yield tuple(row.values())

    return table, names, values()
