"""Typed keys taken under management: what would be done for each connection, and doing it.

Nothing is changed on the gateway. The service gets the value in the body of one request, over TLS.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from core.errors import InvalidInput
from ike.secrets import identities
from ike.secrets.looking import Overview, Seen, Tunnel
from ikewarden.cli.options import rfc3339
from ikewarden.cli.segments import segment
from ikewarden.client import Client, Document, Refused

_TUNNELS: Final = "/v1/tunnels"
_GATEWAYS: Final = "/v1/gateways"
_MOST: Final = 1_000_000
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_NAME: Final = 63
_NOT_FOUND: Final = 404
_RECENT: Final = timedelta(days=1)
_OLDEST: Final = timedelta(days=49 * 365)
# Of a new policy.
_INTERVAL: Final = 90
_JITTER: Final = 0.1


class ConnectionUnknown(InvalidInput):
    """A connection that was named and is not in the files."""

    code = "connection_unknown"
    next_step = "Name connections as `ikewarden tunnel import --look` lists them."


@dataclass(frozen=True, eq=False)
class Step:
    """What is to be done for a connection.

    `tunnel` is the name on record, `create` the body that makes it where it is not there. `left_out` says why nothing
    is done; `done` that the key is under management already.
    """

    found: Tunnel
    tunnel: str = ""
    side: str = "left"
    create: Mapping[str, Any] | None = None
    left_out: str = ""
    done: bool = False

    @property
    def connection(self) -> str:
        """The connection's name in the files."""
        return self.found.connection.name

    @property
    def secret(self) -> Seen | None:
        """The key that the daemon proves itself by."""
        return self.found.secrets[0] if self.found.secrets else None

    @property
    def to_do(self) -> bool:
        """Whether something is."""
        return not self.left_out and not self.done


def chosen(overview: Overview, only: Sequence[str]) -> tuple[Tunnel, ...]:
    """The tunnels of these connections, or all. Raises ConnectionUnknown."""
    there = {tunnel.connection.name for tunnel in overview.tunnels}
    for name in only:
        if name not in there:
            raise ConnectionUnknown(f"No connection {name!r} with a pre-shared key was found.")
    return tuple(each for each in overview.tunnels if not only or each.connection.name in only)


def plan(client: Client, gateway: Document, tunnels: Iterable[Tunnel]) -> list[Step]:
    """What would be done for each tunnel of a gateway on record, in their order. Asks, and changes nothing."""
    planning = _Planning(client, gateway)
    return [planning.step(tunnel) for tunnel in tunnels]


class _Planning:
    """What the service has on record, asked for once, and what this plan adds to it."""

    def __init__(self, client: Client, gateway: Document) -> None:
        self._client = client
        self._gateway = str(gateway["name"])
        self._own = set(gateway["identities"])
        listed = client.listing(_TUNNELS, {"gateway": self._gateway}, limit=_MOST)
        self._known = listed.items
        self._identities: dict[str, Sequence[str]] = {}
        self._planned: dict[str, Step] = {}

    def step(self, found: Tunnel) -> Step:
        """What is to be done for one connection."""
        remote = identities.on_record(found.connection.remote.identity)
        step = Step(found)
        reason = _why_not(found, remote) or self._elsewhere(found)
        if reason or remote is None:
            return replace(step, left_out=reason)
        before = self._planned.get(remote)
        if before is not None:
            return replace(step, left_out=f"its peer is that of {before.connection}")
        if remote in self._own:
            return replace(step, left_out="its remote identity is this gateway's own")
        step = self._matched(step, remote) or self._made(step, remote)
        self._planned[remote] = step
        return step

    def _elsewhere(self, found: Tunnel) -> str:
        """Why the connection cannot be this gateway's: by its local identity it is another's."""
        local = identities.on_record(found.connection.local.identity)
        if local is None or local in {*self._own, f"dns:{self._gateway}"}:
            return ""
        # An address that nobody gave as an identity; of this gateway no address is on record.
        by_default = local.startswith("ip:") and not any(
            each.startswith("ip:") for each in self._own
        )
        if by_default:
            return ""
        return f"its local identity {local} is none of {self._gateway}'s: is it another gateway's file?"

    def _matched(self, step: Step, remote: str) -> Step | None:
        """The tunnel on record that goes to this peer."""
        for tunnel in self._known:
            side = "left" if tunnel["left"]["gateway"] == self._gateway else "right"
            if remote in self._of_end(tunnel["right" if side == "left" else "left"]):
                name = str(tunnel["name"])
                return replace(step, tunnel=name, side=side, done=self._has_key(name))
        return None

    def _of_end(self, end: Mapping[str, Any]) -> Sequence[str]:
        if end["peer"] is not None:
            return list(end["peer"]["identities"])
        name = str(end["gateway"])
        if name not in self._identities:
            found = self._client.get(f"{_GATEWAYS}/{segment(name)}")
            self._identities[name] = found["identities"]
        return self._identities[name]

    def _has_key(self, tunnel: str) -> bool:
        found = self._client.get(f"{_TUNNELS}/{tunnel}/secrets")
        return any(
            each["kind"] == "psk" and each.get("version") is not None for each in found["items"]
        )

    def _made(self, step: Step, remote: str) -> Step:
        """A tunnel that is not on record: to a gateway that has the identity, or to an outside peer."""
        right: Mapping[str, Any] = {"peer": {"name": _peer_name(remote), "identities": [remote]}}
        value = remote.partition(":")[2]
        for each in self._client.listing(_GATEWAYS, {"q": value}, limit=_MOST).items:
            if remote in {*each["identities"], f"dns:{each['name']}"}:
                right = {"gateway": each["name"]}
        name = self._free_name(step.connection)
        body = {"name": name, "left": {"gateway": self._gateway}, "right": right}
        return replace(step, tunnel=name, create=body)

    def _free_name(self, connection: str) -> str:
        taken = {step.tunnel for step in self._planned.values()}
        for name in _names(connection, self._gateway):
            if name not in taken and not self._exists(name):
                return name
        raise InvalidInput(
            f"No name is free for the tunnel of {connection!r}.",
            next_step="Put the tunnel on record with `ikewarden tunnel add`; then try again.",
        )

    def _exists(self, name: str) -> bool:
        try:
            self._client.get(f"{_TUNNELS}/{name}")
        except Refused as refused:
            if refused.status == _NOT_FOUND:
                return False
            raise
        return True


def _why_not(found: Tunnel, remote: str | None) -> str:
    if not found.secrets:
        return "no secret answers for it"
    if found.answer.tied:
        return "several secrets fit equally well: leave the one in the files that the peer has"
    if remote is None:
        identity = found.connection.remote.identity
        if identity is None or identity.kind == "any":
            return "it takes any peer"
        return f"its peer {identity} is not one name that a tunnel on record can have"
    if not found.secrets[0].entry.value.reveal():
        return "its secret is empty"
    return ""


def _peer_name(remote: str) -> str:
    kind, _, value = remote.partition(":")
    return re.sub(r"[^A-Za-z0-9._:@-]+", "-", value)[:200] if kind == "dn" else value


def _names(connection: str, gateway: str) -> Iterator[str]:
    for text in (connection, f"{connection}-{gateway}"):
        name = _NOT_IN_NAMES.sub("-", text).strip("-_")[:_LONGEST_NAME]
        yield name or "imported"
    stem = name[: _LONGEST_NAME - 4]
    yield from (f"{stem or 'imported'}-{number}" for number in range(2, 100))


def since(step: Step, now: datetime) -> datetime | None:
    """Since when its key is in use at least, by the time of its file; None where that tells nothing."""
    changed = None if step.secret is None else step.secret.changed
    # A file of today may have the clock of another machine, and one of 1970 none.
    return changed if changed is not None and _RECENT < now - changed < _OLDEST else None


def is_due(step: Step, policy: Mapping[str, Any], now: datetime) -> bool:
    """Whether a rotation begins, or may begin, when its key is taken over by this policy (the time is drawn)."""
    used, interval = since(step, now), timedelta(days=policy.get("interval_days", _INTERVAL))
    if not step.to_do or used is None or not interval or policy.get("frozen"):
        return False
    jitter: float = policy.get("jitter", _JITTER)
    return used + interval * (1 - jitter) <= now


@dataclass(frozen=True)
class Terms:
    """How keys are taken over: also weak ones, and by which policy (what is left out is as in a new one)."""

    accept_weak: bool
    policy: Mapping[str, Any]


def carry_out(client: Client, step: Step, terms: Terms, *, now: datetime) -> None:
    """Put a tunnel on record where it is not, and its key under management. Raises what `Client.post` raises."""
    if step.create is not None:
        client.post(_TUNNELS, step.create)
    client.post(f"{_TUNNELS}/{step.tunnel}/secrets", _body(step, terms, now))


def _body(step: Step, terms: Terms, now: datetime) -> dict[str, Any]:
    connection, secret = step.found.connection, step.secret
    assert secret is not None  # noqa: S101 - `_why_not`
    ours, theirs = ("left", "right") if step.side == "left" else ("right", "left")
    body: dict[str, Any] = {
        "kind": "psk",
        "import": {
            "value": base64.b64encode(secret.entry.value.reveal()).decode(),
            "accept_weak": terms.accept_weak,
        },
        f"{ours}_connection": connection.name,
        "ike_version": max(connection.versions),
    }
    if terms.policy:
        body["policy"] = dict(terms.policy)
    if (used := since(step, now)) is not None:
        body["import"]["since"] = rfc3339(used)
    for side, end in ((ours, connection.local), (theirs, connection.remote)):
        identity = identities.on_record(end.identity)
        if identity is not None:
            body[f"{side}_identity"] = identity
    return body
