"""Managed connections in charon: one file in conf.d for each, and the same loaded over VICI."""

import ipaddress
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import IkewardenError
from ike.daemons.connections import require_valid
from ike.daemons.port import (
    Child,
    Connection,
    ConnectionForeign,
    ConnectionInvalid,
    DaemonRefused,
    fingerprint,
)
from ike.daemons.strongswan import names
from ike.daemons.strongswan.files import SwanctlFiles
from ike.daemons.strongswan.session import Endpoint, Session
from ike.daemons.strongswan.settings import HEAD, render

# What to do when the peer is gone or closes: nothing, wait for traffic, start anew.
_DPD_ACTION = {"none": "clear", "trap": "trap", "start": "restart"}
_DPD_DELAY = "30s"


class ManagedConnections:
    """The managed connections of one charon.

    A name is ours if its file is there, or if it was being loaded when the agent died (`loading.json`).
    """

    def __init__(self, endpoint: Endpoint, files: SwanctlFiles) -> None:
        self._endpoint = endpoint
        self._files = files
        self._loading = files.own / "loading.json"

    def connect(self, connections: Sequence[Connection]) -> None:
        authorities = {fingerprint(each): each for each in self._files.authorities()}
        refused: list[IkewardenError] = []
        with self._endpoint.session() as session:
            loaded = set(session.ask("get-conns").get("conns", []))
            unsure = self._unsure()
            ours = self._files.connections() | unsure
            wanted: dict[str, Connection] = {}
            for each in connections:
                try:
                    require_valid(each, authorities)
                    _require_ours(each.name, loaded, ours)
                    wanted[each.name] = each
                except (ConnectionInvalid, ConnectionForeign) as refusal:
                    refused.append(refusal)
            self._unload(session, ours - {each.name for each in connections}, loaded)
            sure = loaded - unsure
            new = {
                name: each
                for name, each in wanted.items()
                if name not in sure or not self._is_written(each, authorities)
            }
            self._announce(new)
            for each in new.values():
                try:
                    self._load(session, each, authorities)
                except DaemonRefused as refusal:
                    refused.append(refusal)
            self._announce({})
            self._bring_up(session, [each for name, each in wanted.items() if name not in new])
        if refused:
            raise refused[0]

    # inside

    def _bring_up(self, session: Session, connections: Sequence[Connection]) -> None:
        """Start what is to be up and is not: charon tries once, and a peer that was not ready yet has refused it.

        Only where there is no IKE_SA at all, so that one that is coming up, or is made anew, is left alone.
        """
        starting = [
            (each.name, child.name)
            for each in connections
            for child in each.children
            if child.start_action == "start"
        ]
        if not starting:
            return
        listed = session.stream("list-sas", "list-sa", {})
        present = {name for entry in listed for name in entry}
        for name, child in starting:
            if name not in present:
                # No waiting, and no complaint: whether it came up is seen in the SAs.
                request = {"ike": name, "child": child, "timeout": "-1"}
                with suppress(DaemonRefused):
                    session.stream("initiate", "control-log", request)

    def _load(
        self, session: Session, connection: Connection, authorities: dict[str, x509.Certificate]
    ) -> None:
        anchor = authorities.get(connection.remote_authority or "")
        cacerts = [anchor.public_bytes(Encoding.DER)] if anchor else []
        session.ask("load-conn", {connection.name: section(connection, cacerts)})
        path = self._files.connection_path(connection.name)
        self._files.write(path, self._text(connection, authorities).encode())

    def _unload(self, session: Session, gone: set[str], loaded: set[str]) -> None:
        for name in sorted(gone):
            self._files.remove(self._files.connection_path(name))
            if name in loaded:
                session.ask("unload-conn", {"name": name})
            with suppress(DaemonRefused):  # nothing was up
                session.stream("terminate", "control-log", {"ike": name, "force": "yes"})

    def _is_written(self, connection: Connection, authorities: dict[str, x509.Certificate]) -> bool:
        with suppress(FileNotFoundError):
            had = self._files.connection_path(connection.name).read_text("utf-8")
            return had == self._text(connection, authorities)
        return False

    def _text(self, connection: Connection, authorities: dict[str, x509.Certificate]) -> str:
        anchor = authorities.get(connection.remote_authority or "")
        cacerts = [str(self._files.authority_path(anchor).absolute())] if anchor else []
        return HEAD + render({"connections": {connection.name: section(connection, cacerts)}})

    def _announce(self, connections: dict[str, Connection]) -> None:
        if connections:
            self._files.write(self._loading, json.dumps(sorted(connections)).encode())
        else:
            self._files.remove(self._loading)

    def _unsure(self) -> set[str]:
        with suppress(FileNotFoundError, ValueError, TypeError):
            return set(json.loads(self._loading.read_bytes()))
        return set()


def section(connection: Connection, cacerts: Sequence[str | bytes]) -> dict[str, Any]:
    """A connection as a section of swanctl.conf, which is a message of load-conn at the same time.

    No certificate of our own is named: charon finds it by the identity, so a new one needs no change here.
    """
    remote: dict[str, Any] = {
        "auth": "pubkey",
        "id": names.for_charon(connection.remote_id),
        "revocation": connection.revocation,
    }
    if cacerts:
        remote["cacerts"] = list(cacerts)
    made: dict[str, Any] = {
        "version": "2",
        "local_addrs": list(connection.local_addresses),
        "remote_addrs": list(connection.remote_addresses),
        "send_cert": "always",
        "dpd_delay": _DPD_DELAY,
        "local": {"auth": "pubkey", "id": names.for_charon(connection.local_id)},
        "remote": remote,
        "children": {child.name: _child(child) for child in connection.children},
    }
    if not connection.local_addresses:
        del made["local_addrs"]
    if connection.proposals:
        made["proposals"] = list(connection.proposals)
    if connection.rekey_seconds is not None:
        made["rekey_time"] = f"{connection.rekey_seconds}s"
    return made


def _child(child: Child) -> dict[str, Any]:
    made: dict[str, Any] = {
        "local_ts": [_network(each) for each in child.local_ts],
        "remote_ts": [_network(each) for each in child.remote_ts],
        "start_action": child.start_action,
        "dpd_action": _DPD_ACTION[child.start_action],
    }
    if child.esp_proposals:
        made["esp_proposals"] = list(child.esp_proposals)
    if child.rekey_seconds is not None:
        made["rekey_time"] = f"{child.rekey_seconds}s"
    return made


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text, strict=False))


def _require_ours(name: str, loaded: set[str], ours: set[str]) -> None:
    if name in loaded and name not in ours:
        raise ConnectionForeign(
            f"charon has a connection '{name}' already, which is not of this agent."
        )
