"""What the agent tells the service, as JSON documents. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from core.errors import IkewardenError
from ike.agent.home import Notes, stamp
from ike.daemons.port import Cut, DaemonInfo, IkeSa, Inventory

Document = dict[str, Any]
_LONGEST = 500


def agent_version() -> str:
    """The version of this program."""
    try:
        return version("ikewarden")
    except PackageNotFoundError:
        return "0"


def applied(
    notes: Notes,
    *,
    version: int,
    daemon: DaemonInfo | None,
    certificate: str | None,
    proof: str | None,
    inventory: Inventory,
    errors: Sequence[Mapping[str, str]],
) -> Document:
    """The body of POST /v1/gateways/self/applied."""
    unsaid = [each for each in notes.commands.values() if not each.get("told")]
    return {
        "version": version,
        "agent_version": agent_version(),
        "daemon": {
            "kind": daemon.kind if daemon else notes.daemon.get("kind", ""),
            "version": daemon.version if daemon else notes.daemon.get("version", ""),
            "incarnation": daemon.incarnation if daemon else notes.incarnation,
        },
        "certificate": certificate,
        "proof": proof,
        "inventory": {
            "certificates": [asdict(each) for each in inventory.certificates],
            "keys": list(inventory.keys),
            "crls": [asdict(each) for each in inventory.crls],
            "connections": list(inventory.connections),
        },
        "errors": list(errors),
        "commands": [{k: v for k, v in each.items() if k != "told"} for each in unsaid],
    }


def sas(found: Sequence[IkeSa], now: datetime) -> Document:
    """The body of POST /v1/gateways/self/sas."""
    return {"at": stamp(now), "sas": [sa_document(each) for each in found]}


def sa_document(sa: IkeSa) -> Document:
    """An IKE_SA as JSON: the port's members, times in RFC 3339."""
    return {**asdict(sa), "established_at": stamp(sa.established_at)}


def outcome(
    command: str, *, done: bool, now: datetime, error: str = "", cuts: Sequence[Cut] = ()
) -> Document:
    """What became of a command."""
    return {
        "id": command,
        "outcome": "done" if done else "failed",
        "error": error[:_LONGEST],
        "cuts": [
            {
                "connection": each.sa.connection,
                "remote_id": each.sa.remote_id,
                "matched_by": each.matched_by,
                "ended": each.ended,
                "error": each.error[:_LONGEST],
                "sa_id": each.sa.id,
            }
            for each in cuts
        ],
        "at": stamp(now),
    }


def error_entry(error: IkewardenError) -> dict[str, str]:
    """An error as it is reported."""
    return {"code": error.code, "message": error.message[:_LONGEST]}
