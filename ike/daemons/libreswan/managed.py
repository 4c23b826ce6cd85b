"""The connections that the service manages: one file among those that ipsec.conf includes, loaded by addconn."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cryptography import x509

from core.errors import IkewardenError
from ike.daemons.connections import require_valid
from ike.daemons.libreswan import sections, status
from ike.daemons.libreswan.places import Places
from ike.daemons.libreswan.whack import Whack
from ike.daemons.port import (
    Connection,
    ConnectionForeign,
    ConnectionInvalid,
    DaemonFilesUnwritable,
    DaemonRefused,
    NotYetInForce,
)


class Managed:
    """The file, and what pluto has of it."""

    def __init__(self, places: Places, whack: Whack, nickname: str) -> None:
        self._places = places
        self._whack = whack
        self._nickname = nickname

    def recorded(self) -> tuple[Connection, ...]:
        """The connections of the file."""
        return sections.parse(self._text())

    def _text(self) -> str:
        try:
            return self._places.managed.read_text()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise DaemonFilesUnwritable(
                f"{self._places.managed} cannot be read: {error.strerror}."
            ) from error

    def make(
        self,
        connections: Sequence[Connection],
        authorities: Mapping[str, x509.Certificate],
        own: x509.Certificate | None,
    ) -> None:
        """As `connect` of the port; `authorities` by fingerprint, `own` is the certificate in use."""
        around = sections.Around(self._nickname, sections.methods_for(own), authorities)
        was = self._text()
        before = sections.parse(was)
        state = status.parse(self._whack.ask("--status"))
        wanted, refused = self._sifted(connections, around, before, state)
        texts = {each.name: sections.render(each, around) for each in wanted}
        if wanted or before:
            write(self._places.managed, (sections.HEAD + "".join(texts.values())).encode())
        kept = {
            each.name
            for each in wanted
            if sections.for_pluto(texts[each.name]) in sections.for_pluto(was)
            and set(sections.conns_of(each)) <= _plain(state)
        }
        up = {sections.plain(each.name) for each in state.states if each.established}
        for each in before:
            if each.name not in kept:
                for conn in sections.conns_of(each):
                    self._whack.ask("--delete", "--name", conn)
        for each in wanted:
            if each.name not in kept:
                refused += self._load(each, up)
        if not refused and state.settings.get("crl-strict") == "no":
            refused += [
                NotYetInForce(
                    f"Connection {each.name} asks for strict revocation checking, which pluto does for all"
                    " connections or none, and here for none.",
                    next_step="Set crl-strict=yes in config setup of ipsec.conf, and restart Libreswan.",
                )
                for each in wanted
                if each.revocation == "strict" and each.authentication == "certificate"
            ]
        if refused:
            raise refused[0]

    def _sifted(
        self,
        connections: Sequence[Connection],
        around: sections.Around,
        before: tuple[Connection, ...],
        state: status.Status,
    ) -> tuple[list[Connection], list[IkewardenError]]:
        ours = {conn for each in before for conn in sections.conns_of(each)}
        wanted: list[Connection] = []
        refused: list[IkewardenError] = []
        for each in connections:
            try:
                require_valid(each, around.authorities)
                sections.render(each, around)
            except ConnectionInvalid as refusal:
                refused.append(refusal)
                continue
            foreign = (set(sections.conns_of(each)) & _plain(state)) - ours
            if foreign:
                words = f"pluto has a connection '{min(foreign)}' of its own."
                refused.append(ConnectionForeign(words))
            else:
                wanted.append(each)
        return wanted, refused

    def _load(self, connection: Connection, up: set[str]) -> list[IkewardenError]:
        refused: list[IkewardenError] = []
        for conn, child in sections.conns_of(connection).items():
            done = self._whack.load(conn)
            loaded = status.parse(self._whack.ask("--status"))
            if conn not in _plain(loaded):
                step = f"Look whether ipsec.conf includes {self._places.managed}."
                if connection.ike_version == 1 and loaded.settings.get("ikev1-policy") != "accept":
                    step = "Set ikev1-policy=accept in config setup of ipsec.conf, and restart Libreswan."
                words = f"pluto did not load connection {conn}: {done.last_words}"
                refused.append(DaemonRefused(words, next_step=step))
            else:
                # pluto ended the SAs of what it has anew.
                begun = child.start_action == "start" or conn in up
                verbs = ["--route"] * (child.start_action == "trap") + ["--initiate"] * begun
                for verb in verbs:
                    self._whack.try_for(2.0, verb, "--asynchronous", "--name", conn)
        return refused


def _plain(state: status.Status) -> set[str]:
    """Names of pluto's connections, those made from subnets by the name they were made from."""
    return {sections.plain(name) for name in state.names}


def write(path: Path, content: bytes) -> None:
    """Replace a file of ours in one step, mode 0600, folders made; raises DaemonFilesUnwritable."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as sink:
            sink.write(content)
            sink.flush()
            os.fsync(sink.fileno())
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise DaemonFilesUnwritable(f"{path} cannot be written: {error.strerror}.") from error
