"""Managed connections in charon: one file in conf.d for each, and the same loaded over VICI.

A connection with a PPK sends one PPK_ID, and as the responder takes that one alone. While there are two, a companion
stands before it that names none and takes both: charon answers with the first of those that fit. It goes when one is
left; SAs that it answered stay, and go on under its name.

charon ends the SAs of a connection that changes if one of its children is to be started at once. So that a PPK can
change, or the authorities of the peer in a rollover, such children are loaded as traps, which have their SAs kept, and
are started from here. Where more changes than the authorities, they are begun anew from here, too.
"""

import ipaddress
import json
from collections.abc import Callable, Sequence
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

PpkIds = Callable[[str], tuple[str, ...]]
"""The PPK_IDs of a connection, the one to be sent first."""

# What to do when the peer is gone or closes: nothing, wait for traffic, start anew.
_DPD_ACTION = {"none": "clear", "trap": "trap", "start": "restart"}
# What the file has of a child that is to be up: it is loaded as a trap.
_STARTED = 'dpd_action = "restart"'
_DPD_DELAY = "30s"
# A companion begins nothing: it has no PPK_ID to send.
_QUIET = {"start_action": "none", "dpd_action": "clear"}


class ManagedConnections:
    """The managed connections of one charon.

    A name is ours if its file is there, or if it was being loaded when the agent died (`loading.json`).
    """

    def __init__(self, endpoint: Endpoint, files: SwanctlFiles, ppk_ids: PpkIds) -> None:
        self._endpoint = endpoint
        self._files = files
        self._ppk_ids = ppk_ids
        self._loading = files.own / "loading.json"
        self._loaded: dict[str, tuple[Connection, list[bytes]]] = {}

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
            # Most fleets have no PPKs, and a hub has many connections.
            beside = {names.companion(name) for name in wanted}
            has_ppk = any(each.ppk != "none" for each in wanted.values())
            order = _order(session) if has_ppk or beside & loaded else []
            new = {
                name: each
                for name, each in wanted.items()
                if name not in sure
                or not self._is_written(each, authorities)
                or not self._is_answered(each, order)
            }
            self._announce(new)
            failed = set()
            for each in new.values():
                anew = self._begins_anew(each, authorities)
                try:
                    self._load(session, each, authorities, order)
                    if anew:
                        _end(session, each.name)
                except DaemonRefused as refusal:
                    refused.append(refusal)
                    failed.add(each.name)
            self._announce({})
            self._loaded = {
                name: (each, _ders(each, authorities))
                for name, each in wanted.items()
                if name not in failed
            }
            self._bring_up(session, [each for name, each in wanted.items() if name not in failed])
        if refused:
            raise refused[0]

    def section(self, name: str) -> dict[str, Any] | None:
        """A connection as it was loaded last, with the PPK_ID that is to be sent now; None for one that this process
        did not load, and for IKEv1.
        """
        connection, cacerts = self._loaded.get(name, (None, []))
        if connection is None or connection.ike_version == 1:
            return None
        return sections(connection, cacerts, self._ppk_ids(name))[name]

    def is_widened(self, name: str) -> bool:
        """Whether the peer's certificate may be of several authorities, as in a rollover: SAs that came up before know
        the first of them alone.
        """
        connection, _ = self._loaded.get(name, (None, []))
        return connection is not None and len(connection.remote_authorities) > 1

    # inside

    def _bring_up(self, session: Session, connections: Sequence[Connection]) -> None:
        """Start what is to be up and is not, also where a peer that was not ready yet has refused it.

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
        present = {
            names.connection_of(name)
            for entry in listed
            for name, sa in entry.items()
            if not names.is_proof(name) and sa.get("state") != "DELETING"
        }
        for name, child in starting:
            if name not in present:
                # No waiting, and no complaint: whether it came up is seen in the SAs.
                request = {"ike": name, "child": child, "timeout": "-1"}
                with suppress(DaemonRefused):
                    session.stream("initiate", "control-log", request)

    def _load(
        self,
        session: Session,
        connection: Connection,
        authorities: dict[str, x509.Certificate],
        order: Sequence[str],
    ) -> None:
        cacerts = _ders(connection, authorities)
        made = sections(connection, cacerts, self._ppk_ids(connection.name))
        beside = names.companion(connection.name)
        if beside in made:
            session.ask("load-conn", {beside: made[beside]})
            if connection.name in order and not self._is_answered(connection, order):
                # It is to stand behind its companion, which answers meanwhile.
                session.ask("unload-conn", {"name": connection.name})
        session.ask("load-conn", {connection.name: made[connection.name]})
        path = self._files.connection_path(connection.name)
        self._files.write(path, self._text(connection, authorities).encode())
        if beside in order and beside not in made:
            session.ask("unload-conn", {"name": beside})

    def _is_answered(self, connection: Connection, order: Sequence[str]) -> bool:
        """Whether a companion stands before a connection that needs one, and none beside another."""
        name, beside = connection.name, names.companion(connection.name)
        if connection.ppk == "none" or len(self._ppk_ids(name)) < 2:
            return beside not in order
        return {name, beside} <= set(order) and order.index(beside) < order.index(name)

    def _unload(self, session: Session, gone: set[str], loaded: set[str]) -> None:
        for name in sorted(gone):
            self._files.remove(self._files.connection_path(name))
            for each in (name, names.companion(name), names.proof(name)):
                if each in loaded:
                    session.ask("unload-conn", {"name": each})
                _end(session, each)

    def _is_written(self, connection: Connection, authorities: dict[str, x509.Certificate]) -> bool:
        with suppress(FileNotFoundError):
            had = self._files.connection_path(connection.name).read_text("utf-8")
            return had == self._text(connection, authorities)
        return False

    def _begins_anew(
        self, connection: Connection, authorities: dict[str, x509.Certificate]
    ) -> bool:
        """Whether what is up of one that is to be up has to be as the connection is now. SAs that a PPK protects are
        made anew when that is proven.
        """
        with suppress(FileNotFoundError):
            had = self._files.connection_path(connection.name).read_text("utf-8")
            other = _but_authorities(had) != _but_authorities(self._text(connection, authorities))
            return other and _STARTED in had and connection.ppk == "none"
        return False

    def _text(self, connection: Connection, authorities: dict[str, x509.Certificate]) -> str:
        anchors = _anchors(connection, authorities)
        cacerts = [str(self._files.authority_path(each).absolute()) for each in anchors]
        made = sections(connection, cacerts, self._ppk_ids(connection.name))
        return HEAD + render({"connections": made})

    def _announce(self, connections: dict[str, Connection]) -> None:
        if connections:
            self._files.write(self._loading, json.dumps(sorted(connections)).encode())
        else:
            self._files.remove(self._loading)

    def _unsure(self) -> set[str]:
        with suppress(FileNotFoundError, ValueError, TypeError):
            return set(json.loads(self._loading.read_bytes()))
        return set()


def _but_authorities(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.lstrip().startswith("cacerts = ")]


def _end(session: Session, name: str) -> None:
    with suppress(DaemonRefused):  # nothing was up
        session.stream("terminate", "control-log", {"ike": name, "force": "yes"})


def _anchors(
    connection: Connection, authorities: dict[str, x509.Certificate]
) -> list[x509.Certificate]:
    return [authorities[each] for each in connection.remote_authorities if each in authorities]


def _ders(connection: Connection, authorities: dict[str, x509.Certificate]) -> list[bytes]:
    return [each.public_bytes(Encoding.DER) for each in _anchors(connection, authorities)]


def sections(
    connection: Connection, cacerts: Sequence[str | bytes], ppk_ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """A connection as sections of swanctl.conf, each a message of load-conn at the same time; the companion, where it
    needs one, first.
    """
    made = _section(connection, cacerts)
    if connection.ppk == "none":
        return {connection.name: made}
    made["ppk_required"] = "yes" if connection.ppk == "required" else "no"
    if not ppk_ids:
        return {connection.name: made}
    sending = {connection.name: {**made, "ppk_id": ppk_ids[0]}}
    if len(ppk_ids) == 1:
        return sending
    quiet = {name: {**each, **_QUIET} for name, each in made["children"].items()}
    return {names.companion(connection.name): {**made, "children": quiet}, **sending}


def _section(connection: Connection, cacerts: Sequence[str | bytes]) -> dict[str, Any]:
    """No certificate of our own is named: charon finds it by the identity, so a new one needs no change here."""
    made: dict[str, Any] = {
        "version": str(connection.ike_version),
        "local_addrs": list(connection.local_addresses),
        "remote_addrs": list(connection.remote_addresses),
        "send_cert": "always",
        "dpd_delay": _DPD_DELAY,
        "local": {"auth": "pubkey", "id": names.for_charon(connection.local_id)},
        "remote": _remote(connection, cacerts),
        "children": {child.name: _child(child) for child in connection.children},
    }
    if connection.authentication == "psk":
        del made["send_cert"]
        made["local"]["auth"] = "psk"
    if not connection.local_addresses:
        del made["local_addrs"]
    if connection.proposals:
        made["proposals"] = list(connection.proposals)
    if connection.rekey_seconds is not None:
        made["rekey_time"] = f"{connection.rekey_seconds}s"
    return made


def _remote(connection: Connection, cacerts: Sequence[str | bytes]) -> dict[str, Any]:
    remote: dict[str, Any] = {"auth": "pubkey", "id": names.for_charon(connection.remote_id)}
    if connection.authentication == "psk":
        return {**remote, "auth": "psk"}
    remote["revocation"] = connection.revocation
    if cacerts:
        remote["cacerts"] = list(cacerts)
    return remote


def _child(child: Child) -> dict[str, Any]:
    start = "trap" if child.start_action == "start" else child.start_action
    made: dict[str, Any] = {
        "local_ts": [_network(each) for each in child.local_ts],
        "remote_ts": [_network(each) for each in child.remote_ts],
        "start_action": start,
        "dpd_action": _DPD_ACTION[child.start_action],
    }
    if child.esp_proposals:
        made["esp_proposals"] = list(child.esp_proposals)
    if child.rekey_seconds is not None:
        made["rekey_time"] = f"{child.rekey_seconds}s"
    return made


def _order(session: Session) -> list[str]:
    """The connections as charon looks through them for one that fits."""
    listed = session.stream("list-conns", "list-conn", {})
    return [name for entry in listed for name in entry]


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text, strict=False))


def _require_ours(name: str, loaded: set[str], ours: set[str]) -> None:
    if name in loaded and name not in ours:
        raise ConnectionForeign(
            f"charon has a connection '{name}' already, which is not of this agent."
        )
