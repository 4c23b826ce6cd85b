"""Alerts for an Alertmanager: what is there is told again and again, and what has ended is told as ended."""

import base64
import json
import ssl
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from core.deadline import trusting
from core.errors import Unavailable
from core.escaping import escaped
from core.receivers import Alertmanager
from fleet.monitoring.records import AlertView
from fleet.monitoring.values import AlertState, page_url
from ike.detection.alert import PERSONAL
from scheduler import posting

#: So long it stays open over there when nobody tells it again. It is told each minute.
LASTS: Final = timedelta(minutes=10)
_LONGEST_LABEL: Final = 255
_LONGEST_NOTE: Final = 4_000
_PATH: Final = "/api/v2/alerts"


class AlertmanagerFailed(Unavailable):
    """The Alertmanager did not take alerts."""

    code = "alertmanager_failed"
    next_step = "Look at the Alertmanager and at [notices] alertmanager_*; alerts are sent again."


def told(found: Iterable[AlertView], service: str, now: datetime) -> list[dict[str, Any]]:
    """What its API gets. Of one condition only the last: `found` is in the order of the numbers."""
    made: dict[str, dict[str, Any]] = {}
    for view in found:
        one = _told(view, service, now)
        made[json.dumps(one["labels"], sort_keys=True)] = one
    return list(made.values())


def send(receiver: Alertmanager, alerts: Sequence[Mapping[str, Any]]) -> None:
    """Post them. What was sent before may be sent again. Raises AlertmanagerFailed."""
    context = _context(receiver) if receiver.url.startswith("https:") else None
    body = json.dumps(alerts).encode()
    try:
        status = posting.post(receiver.url + _PATH, body, _login(receiver), context)
    except posting.FAILURES as error:
        raise AlertmanagerFailed(f"The Alertmanager failed: {type(error).__name__}.") from None
    if status != 200:
        # Not where it leads to elsewhere either: the login is for nobody else.
        raise AlertmanagerFailed(f"The Alertmanager answered {status}.")


def _context(receiver: Alertmanager) -> ssl.SSLContext:
    try:
        return trusting(receiver.ca_file)
    except OSError as error:
        raise AlertmanagerFailed(
            f"The file of alertmanager_ca_file fails: {type(error).__name__}."
        ) from None


def _login(receiver: Alertmanager) -> dict[str, str]:
    if receiver.token is not None:
        return {"Authorization": f"Bearer {receiver.token.reveal().decode()}"}
    if receiver.login is not None:
        return {"Authorization": f"Basic {base64.b64encode(receiver.login.reveal()).decode()}"}
    return {}


def _told(view: AlertView, service: str, now: datetime) -> dict[str, Any]:
    ends = now + LASTS
    if view.state == AlertState.ENDED:
        # It takes for ended what ended in its past, and nothing that ended before it began.
        ends = min(view.ended or view.ended_at or now, now)
    starts = min(view.began or view.opened_at, now)
    labels = {
        "alertname": view.kind,
        "severity": view.severity,
        "gateway": view.gateway,
        "connection": view.connection,
        # By its labels an alert is known: they stay, and the peer of one about many is whoever is alone so far.
        "peer": None if "sources" in view.evidence else view.peer,
        # Peers behind one address are told apart.
        "identity": view.identity if view.kind in PERSONAL else None,
    }
    notes = {
        "cause": view.cause,
        "next_step": view.next_step,
        "evidence": json.dumps(dict(view.evidence), sort_keys=True),
        "identity": view.identity,
        "runbook_url": page_url(service, view.kind),
        "peer": view.peer,
    }
    return {
        "labels": {
            name: escaped(value)[:_LONGEST_LABEL] for name, value in labels.items() if value
        },
        "annotations": {
            name: escaped(value)[:_LONGEST_NOTE] for name, value in notes.items() if value
        },
        "startsAt": starts.isoformat(),
        "endsAt": max(starts, ends).isoformat(),
        "generatorURL": f"{service}/v1/alerts/{view.id}",
    }
