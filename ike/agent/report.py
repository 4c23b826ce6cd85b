"""What the agent tells the service, as JSON documents. Pure.

The service takes nothing that is too long, too much or holds control characters, and what a daemon lists may come from
a peer. So text is cleaned and lists are cut here: a report that says less is better than one that is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from core.errors import IkewardenError
from ike.agent.desired import Command
from ike.agent.home import Notes, stamp
from ike.daemons.port import Cut, DaemonInfo, IkeSa, Inventory

Document = dict[str, Any]

_TEXT: Final = 200
_LONG: Final = {"message": 1000, "error": 1000}
_NAMES: Final = dict.fromkeys(("subject", "issuer", "local_id", "remote_id"), 1024)
_MOST: Final = {
    "certificates": 2000,
    "keys": 1000,
    "crls": 1000,
    "connections": 10_000,
    "errors": 100,
    "commands": 1000,
    "cuts": 5000,
    "sas": 10_000,
    "children": 500,
    "local_ts": 300,
    "remote_ts": 300,
    "secrets": 5000,
    "versions": 20,
    "held": 20,
    "foreign": 50,
}


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
    secrets: bool = False,
) -> Document:
    """The body of POST /v1/gateways/self/applied; `secrets`: the service knows of shared secrets."""
    unsaid = [each for each in notes.commands.values() if not each.get("told")]
    document = {
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
        "errors": [{name: each[name] for name in ("code", "message")} for each in errors],
        "commands": [
            {k: v for k, v in each.items() if not k.startswith("told")} for each in unsaid
        ],
    }
    if secrets and notes.abilities:
        document["abilities"] = notes.abilities
    if secrets:
        document["secrets"] = [slot(name, each) for name, each in notes.secrets.items()]
    cleaned: Document = _cleaned("", document)
    return cleaned


def slot(name: str, record: Mapping[str, Any]) -> Document:
    """A slot of shared secrets as it is told of; `record` is that of the notes."""
    seen = record["authenticated"]
    told = ("version", "at", "spi_initiator", "spi_responder")
    return {
        "name": name,
        "versions": record["versions"],
        "held": record["held"],
        "foreign": record["foreign"],
        "authenticated": {each: seen.get(each) for each in told} if seen is not None else None,
        "error_code": record["error_code"],
        "error": record["error"],
    }


def sas_report(documents: Sequence[Document], now: datetime) -> Document:
    """The body of POST /v1/gateways/self/sas, of SAs as `sa_document` makes them."""
    cleaned: Document = _cleaned("", {"at": stamp(now), "sas": list(documents)})
    return cleaned


def sa_document(sa: IkeSa, secrets: Mapping[str, Mapping[str, Any]]) -> Document:
    """An IKE_SA as JSON: the port's members, times in RFC 3339, and the versions of shared secrets that authenticated
    it. `secrets` are the slots of the notes; after a rekeying of the IKE_SA they do not know it any longer.
    """
    seen = ((name, slot["authenticated"]) for name, slot in secrets.items())
    used = [
        {"name": name, "version": each["version"]}
        for name, each in seen
        if each is not None
        and sa.spi_initiator
        and each.get("spi_initiator") == sa.spi_initiator.lower().removeprefix("0x")
    ]
    return {**asdict(sa), "established_at": stamp(sa.established_at), "secrets": used}


def outcome(
    command: Command, *, done: bool, now: datetime, error: str = "", cuts: Sequence[Cut] = ()
) -> Document:
    """What became of a command."""
    return {
        "id": command.id,
        "outcome": "done" if done else "failed",
        "error": error,
        "cuts": [
            {
                "connection": each.sa.connection,
                "remote_id": each.sa.remote_id,
                "matched_by": each.matched_by,
                "ended": each.ended,
                "error": each.error,
                "sa_id": each.sa.id,
            }
            for each in cuts
        ],
        "at": stamp(now),
    }


def error_entry(error: IkewardenError) -> dict[str, str]:
    """An error as it is written down: its next step too, where it has one. The service is told code and message."""
    next_step = {"next_step": error.next_step} if error.next_step else {}
    return {"code": error.code, "message": error.message, **next_step}


def _cleaned(name: str, value: Any) -> Any:
    """The value as the service takes it."""
    if isinstance(value, str):
        limit = _LONG.get(name) or _NAMES.get(name) or _TEXT
        return "".join(c if c.isprintable() else "?" for c in value)[:limit]
    if isinstance(value, dict):
        return {key: _cleaned(key, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(name, inner) for inner in value[: _MOST.get(name, 1000)]]
    return value
