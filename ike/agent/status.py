"""What the agent can tell of itself without the service: a document, from the home or from what a running one left."""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from ike.agent import report
from ike.agent.clock import instant
from ike.agent.generations import Generation
from ike.agent.home import Home, Notes, stamp
from ike.agent.keys import kind_of, names_of, validity
from ike.agent.renewal import EnrollmentNeeded
from ike.agent.schedule import due_at
from ike.agent.sharing import sound
from ike.atomic import write_atomically
from ike.daemons.port import TokenKey, fingerprint

PUBLIC: Final = Path("/run/ikewarden-agent/status.json")


def status(home: Home, now: datetime) -> dict[str, Any]:
    """Identity, generations, next renewal, last contact, daemon, drift, shared secrets, SAs. Nothing in it is
    secret.

    Raises NotEnrolled, HomeNotPrivate, HomeNotWritable, HomeDamaged.
    """
    home.check()
    settings, notes = home.settings(), home.notes()
    current = home.generations.current()
    return {
        "gateway": settings.gateway,
        "url": settings.url,
        "home": str(home.path),
        "state": _state(home, notes, current, now),
        "names": list(names_of(current.certified)) if current else [],
        "certificate": _certificate(current, now) if current else None,
        "channel": _channel(home.channel.current()),
        "next_renewal": stamp(due_at(current, settings.gateway)) if current else None,
        "generations": [_generation(each) for each in home.generations.all()],
        "last_contact": notes.contact_at,
        "contact_error": notes.contact_error,
        "clock_skew_seconds": notes.skew_seconds,
        "applied_version": notes.version,
        "last_report": notes.applied_at,
        "daemon": {"wanted": settings.daemon, **notes.daemon, "incarnation": notes.incarnation},
        "drift": notes.drift,
        "errors": notes.errors,
        "secrets": [_slot(name, each, now) for name, each in sound(notes.secrets).items()],
        "sas": notes.sas,
        "audit": home.audit_notes(),
        "watch": home.watch_notes(),
        "at": stamp(now),
    }


def publish(home: Home, environ: Mapping[str, str], now: datetime) -> None:
    """Leave the document where everybody may read it, if systemd made a place for it."""
    place = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if place:
        content = json.dumps(status(home, now), indent=1).encode()
        write_atomically(Path(place) / PUBLIC.name, content, 0o644)


def published(path: Path = PUBLIC) -> dict[str, Any] | None:
    """The document that a running agent left; None where there is none."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def may_read(home: Home) -> bool:
    """Whether this user may look into the home."""
    return os.access(home.path, os.R_OK | os.X_OK) or not os.path.lexists(home.path)


def _state(home: Home, notes: Notes, current: Generation | None, now: datetime) -> str:
    """In one word: working, pending (nothing in use yet), expired, not_yet_valid, refused (the service said that the
    certificate counts no more).
    """
    if current is None:
        return "pending" if home.generations.all() else "not_enrolled"
    start, end = validity(current.certified)
    if now >= end:
        return "expired"
    if now < start:
        return "not_yet_valid"
    ended = any(error.get("code") == EnrollmentNeeded.code for error in notes.errors)
    return "refused" if notes.contact_error and ended else "working"


def _channel(generation: Generation | None) -> dict[str, Any] | None:
    """The certificate by which the agent speaks to the service, where it is not the gateway's own."""
    if generation is None:
        return None
    _, end = validity(generation.certified)
    return {"serial": generation.serial, "not_after": stamp(end)}


def _certificate(generation: Generation, now: datetime) -> dict[str, Any]:
    start, end = validity(generation.certified)
    return {
        "serial": generation.serial,
        "fingerprint": fingerprint(generation.certified),
        "subject": generation.certified.subject.rfc4514_string(),
        "issuer": generation.certified.issuer.rfc4514_string(),
        "key": kind_of(generation.key),
        "key_in": str(generation.key.uri) if isinstance(generation.key, TokenKey) else "file",
        "not_before": stamp(start),
        "not_after": stamp(end),
        "days_left": max(0, (end - now).days),
        "proof": generation.proof,
    }


def _generation(generation: Generation) -> dict[str, Any]:
    certificate = generation.certificate
    return {
        "number": generation.number,
        "stage": str(generation.stage),
        "serial": generation.serial if certificate else None,
        "not_after": stamp(certificate.not_valid_after_utc) if certificate else None,
    }


def _slot(name: str, record: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """A slot of shared secrets, with how long ago a peer last authenticated under the version that is in use."""
    seen = record["authenticated"]
    at = instant(seen.get("at")) if seen and record["versions"][:1] == [seen["version"]] else None
    age = max(0, int((now - at).total_seconds())) if at is not None else None
    return {**report.slot(name, record), "authenticated_seconds": age}
