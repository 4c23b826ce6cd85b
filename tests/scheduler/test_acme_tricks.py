"""Every trick by which a client of ACME could turn this service against its own inside, or keep it busy.

One table: what is tried, in words, and what the client is told. Whatever is tried, nothing inside is asked.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

import pytest

from pki.acme.validation import Look, ProofMissing
from pki.endpoints import AcmeDoor
from pki.x509.names import GeneralName, InvalidName
from scheduler.acme import connecting, proofs, resolving
from tests.api.acme.world import Names, Web, answering, name_server, web_server
from tests.scheduler.test_acme_addresses import INSIDE

AUTHORIZATION = "token.thumbprint"
PATH = "/.well-known/acme-challenge/token"
NAME = "trick.example"
OUTSIDE = "127.0.0.1"
WITHIN = "127.0.0.2"


@dataclass
class Stage:
    """What a client controls (`names`, `web`), and what it wants to reach (`inside`, which shows the proof)."""

    names: Names
    web: Web
    inside: Web
    patch: pytest.MonkeyPatch

    def hurry(self) -> None:
        """What would be waited for is not waited for so long."""
        self.patch.setattr(connecting, "WHOLE", 2.0)
        self.patch.setattr(connecting, "SILENT", 1.0)

    def door(self, **changed: Any) -> AcmeDoor:
        """Of all of the inside, the client's own address is open; the ports are those of both servers."""
        given = {
            "networks": (f"{OUTSIDE}/32",),
            "resolvers": (f"127.0.0.1:{self.names.port}",),
            "http_port": self.web.port,
            "tls_port": self.inside.port,
            **changed,
        }
        return AcmeDoor(**given)

    def look(self, kind: str = "http-01", name: str = f"dns:{NAME}", **door: Any) -> None:
        proofs.probe(
            Look(1, 1, kind, GeneralName.parse(name), "token", AUTHORIZATION, 0, self.door(**door))
        )


@dataclass(frozen=True)
class Trick:
    """What is tried, and the error of the challenge (RFC 8555 §6.7) that comes of it."""

    what: str
    kinds: frozenset[str]
    attempt: Callable[[Stage], None]


def _points(*found: str, **door: Any) -> Callable[[Stage], None]:
    """The name leads there."""

    def attempt(stage: Stage) -> None:
        stage.names.records.clear()
        stage.names.point(NAME, *found)
        stage.look(http_port=stage.inside.port, **door)

    return attempt


def _ordered(address: str, kind: str) -> Callable[[Stage], None]:
    """The address itself is ordered."""
    return lambda stage: stage.look(kind, f"ip:{address}", http_port=stage.inside.port, networks=())


def _alpn(stage: Stage) -> None:
    stage.names.records.clear()
    stage.names.point(NAME, WITHIN)
    stage.look("tls-alpn-01")


def _aliases(number: int, *, loop: bool = False) -> Callable[[Stage], None]:
    """The name is another name for another name …"""

    def attempt(stage: Stage) -> None:
        stage.names.records.clear()
        chain = [NAME, *(f"alias{each}.example" for each in range(number))]
        for one, next_ in pairwise(chain):
            stage.names.records[one, "CNAME"] = [f"{next_}."]
        if loop:
            stage.names.records[chain[-1], "CNAME"] = [f"{NAME}."]
        else:
            stage.names.point(chain[-1], WITHIN)
        stage.look(http_port=stage.inside.port)

    return attempt


def _moves(stage: Stage) -> None:
    """Whoever looks the name up again is led inside."""
    times: list[str] = []

    def rebind(name: str, kind: str) -> list[str] | None:
        if kind != "A":
            return None
        times.append(name)
        return [OUTSIDE if len(times) == 1 else WITHIN]

    stage.names.rebind = rebind
    try:
        stage.look()
    finally:
        assert times == [NAME]


def _moves_between(stage: Stage) -> None:
    """The name leads inside when a redirect to it is followed."""
    answers = [OUTSIDE]
    stage.names.rebind = lambda _, kind: (
        None if kind != "A" else [answers.pop() if answers else WITHIN]
    )
    stage.web.redirects[PATH] = f"http://{NAME}:{stage.inside.port}{PATH}"
    stage.look()


def _leads(location: str) -> Callable[[Stage], None]:
    """A redirect leads there; {inside} and {web} are ports."""

    def attempt(stage: Stage) -> None:
        stage.names.point("inside.example", WITHIN)
        ports = {"inside": stage.inside.port, "web": stage.web.port}
        stage.web.redirects[PATH] = location.format(**ports) + PATH
        stage.look()

    return attempt


def _says(
    *pieces: bytes, again: bytes = b"", tls: bool = False, waits: bool = False
) -> Callable[[Stage], None]:
    """What the client's own server says; `again` is said until nobody listens any more. `waits`: only time ends it."""

    def attempt(stage: Stage) -> None:
        if waits:
            stage.hurry()

        def reply(held: socket.socket) -> None:
            held.recv(4096)
            for each in pieces:
                held.sendall(each)
            while again:
                held.sendall(again)
                time.sleep(0.001)

        with answering(reply) as port:
            if tls:
                stage.look("tls-alpn-01", tls_port=port)
            else:
                stage.look(http_port=port)

    return attempt


def _silent(kind: str) -> Callable[[Stage], None]:
    """The connection is taken, and that is all."""

    def attempt(stage: Stage) -> None:
        stage.hurry()

        def reply(held: socket.socket) -> None:
            while held.recv(4096):
                pass

        with answering(reply) as port:
            stage.look(kind, http_port=port, tls_port=port)

    return attempt


def _records(number: int) -> Callable[[Stage], None]:
    """So many TXT records, none of them right."""

    def attempt(stage: Stage) -> None:
        found = [f'"record {each}"' for each in range(number)]
        stage.names.records[f"_acme-challenge.{NAME}", "TXT"] = found
        stage.look("dns-01")

    return attempt


def _long_record(stage: Stage) -> None:
    piece = f'"{"x" * 255}" '
    stage.names.records[f"_acme-challenge.{NAME}", "TXT"] = [piece * 100]
    stage.look("dns-01")


def _no_answer(stage: Stage) -> None:
    stage.patch.setattr(resolving, "_SECONDS", 1.0)
    stage.names.silent = True
    stage.look()


def _address_of_another(stage: Stage) -> None:
    """An answer that tells of another name too is believed about none but the one that was asked for."""
    stage.names.records.clear()
    stage.names.records[NAME, "TXT"] = ['"it is there, without an address"']
    stage.names.point("other.example", WITHIN)
    stage.look()


REJECTED = frozenset({"rejectedIdentifier"})
NO_WAY = frozenset({"connection"})
NO_NAME = frozenset({"dns"})
NO_PROOF = frozenset({"unauthorized"})
_OK = b"HTTP/1.1 200 OK\r\n"
_FILE = b"%x\r\n%s\r\n" % (1024, b"x" * 1024)


def _is_name(address: str) -> bool:
    with contextlib.suppress(InvalidName):
        return bool(GeneralName.of("ip", address))
    return False


_ADDRESSES = {what: each for what, each in INSIDE.items() if ip_address(each) and "%" not in each}
TRICKS: list[Trick] = [
    # Where a name leads
    *(Trick(f"a name leads to: {what}", REJECTED, _points(each, networks=())) for what, each in _ADDRESSES.items()),
    *(
        Trick(f"{kind} of an address is ordered: {what}", REJECTED, _ordered(each, kind))
        for what, each in _ADDRESSES.items()
        if _is_name(each)
        for kind in ("http-01", "tls-alpn-01")
    ),
    Trick("tls-alpn-01 of a name that leads inside", REJECTED, _alpn),
    Trick("several addresses, all inside", REJECTED, _points(WITHIN, "10.0.0.1", "::1")),
    Trick("very many addresses, all inside", REJECTED, _points(*(f"10.0.{n}.1" for n in range(250)))),
    Trick("one address outside, where nothing is, and others inside", NO_WAY,
          _points(WITHIN, OUTSIDE, "10.0.0.1")),
    Trick("an alias of a name inside", REJECTED, _aliases(1)),
    Trick("a chain of aliases that ends inside", REJECTED, _aliases(5)),
    Trick("a chain of aliases without end", NO_NAME, _aliases(3, loop=True)),
    Trick("a very long chain of aliases", NO_NAME | REJECTED, _aliases(40)),
    Trick("rebinding: the second answer leads inside", NO_PROOF, _moves),
    Trick("rebinding between redirects", REJECTED, _moves_between),
    # Where a redirect leads
    Trick("redirect to an address inside", REJECTED, _leads(f"http://{WITHIN}:{{inside}}")),
    Trick("redirect to a name inside", REJECTED, _leads("http://inside.example:{inside}")),
    Trick("redirect inside over https", REJECTED, _leads(f"https://{WITHIN}:{{inside}}")),
    Trick("redirect to loopback 6", REJECTED, _leads("http://[::1]:{inside}")),
    Trick("redirect to an IPv4-mapped address", REJECTED, _leads(f"http://[::ffff:{WITHIN}]:{{inside}}")),
    Trick("redirect to NAT64 of an address inside", REJECTED, _leads("http://[64:ff9b::7f00:2]:{inside}")),
    Trick("redirect to 6to4 of an address inside", REJECTED, _leads("http://[2002:7f00:2::]:{inside}")),
    Trick("redirect to the metadata of clouds", REJECTED, _leads("http://169.254.169.254:80")),
    Trick("redirect to link-local", REJECTED, _leads("http://[fe80::1]:80")),
    Trick("redirect to link-local with a zone", NO_WAY, _leads("http://[fe80::1%25lo]:80")),
    Trick("redirect to this host", NO_WAY | REJECTED, _leads("http://0.0.0.0:{inside}")),
    Trick("redirect to a decimal address", NO_WAY | NO_NAME, _leads("http://2130706434:{inside}")),
    Trick("redirect to an octal address", NO_WAY | NO_NAME, _leads("http://0177.0.0.2:{inside}")),
    Trick("redirect to a hexadecimal address", NO_WAY | NO_NAME, _leads("http://0x7f000002:{inside}")),
    Trick("redirect to a hexadecimal part", NO_WAY | NO_NAME, _leads("http://0x7f.0.0.2:{inside}")),
    Trick("redirect to a short address", NO_WAY | NO_NAME, _leads("http://127.2:{inside}")),
    Trick("redirect to a name of the hosts file", NO_NAME, _leads("http://localhost:{inside}")),
    Trick("redirect to a name with a dot behind", NO_WAY, _leads("http://inside.example.:{inside}")),
    Trick("redirect to digits of another script", NO_WAY, _leads("http://\uff11\uff12\uff17.0.0.2:{inside}")),
    Trick("redirect with a name in front of the address", NO_WAY,
          _leads(f"http://{NAME}@{WITHIN}:{{inside}}")),
    Trick("redirect with a backslash", NO_WAY, _leads(f"http://{WITHIN}:{{inside}}\\@{NAME}")),
    Trick("redirect without a scheme", REJECTED, _leads(f"//{WITHIN}:{{inside}}")),
    Trick("redirect to another port", NO_WAY, _leads(f"http://{OUTSIDE}:22")),
    Trick("redirect to a file", NO_WAY, _leads("file:///etc/passwd")),
    Trick("redirect to another protocol", NO_WAY, _leads(f"gopher://{WITHIN}:{{inside}}")),
    Trick("redirect without end", NO_WAY, _leads("")),
    # What answers
    Trick("a line without end", NO_WAY, _says(b"HTTP/1.1 200 ", again=b"x" * 4096)),
    Trick("headers without end", NO_WAY, _says(_OK, again=b"X: y\r\n" * 50)),
    Trick("one header without end", NO_WAY, _says(_OK + b"X: ", again=b"y" * 4096)),
    Trick("a huge header", NO_WAY, _says(_OK + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n")),
    Trick("a body without end", NO_PROOF, _says(_OK + b"\r\n", again=b"x" * 4096)),
    Trick("chunks without end", NO_PROOF,
          _says(_OK + b"Transfer-Encoding: chunked\r\n\r\n", again=_FILE)),
    Trick("a chunk's length without end", NO_WAY,
          _says(_OK + b"Transfer-Encoding: chunked\r\n\r\n", again=b"0" * 4096)),
    Trick("more than it says", NO_PROOF, _says(_OK + b"Content-Length: 9\r\n\r\n" + b"x" * 90_000)),
    Trick("less than it says", NO_WAY | NO_PROOF, _says(_OK + b"Content-Length: 900\r\n\r\nx")),
    Trick("it goes on, and on", NO_WAY, _says(again=b"HTTP/1.1 100 Continue\r\n\r\n", waits=True)),
    Trick("it goes on very often, and then shows the proof", NO_WAY,
          _says(b"HTTP/1.1 100 Continue\r\n\r\n" * 8000, _OK + b"\r\n" + AUTHORIZATION.encode())),
    Trick("very much behind the proof", NO_WAY,
          _says(_OK + b"Transfer-Encoding: chunked\r\n\r\n10\r\n" + AUTHORIZATION.encode() + b"\r\n0\r\n",
                b"X: y\r\n" * 30_000 + b"\r\n")),
    Trick("an octet now and then", NO_WAY | NO_PROOF, _says(_OK + b"X: ", again=b"y", waits=True)),
    Trick("nothing", NO_WAY, _silent("http-01")),
    Trick("no HTTP", NO_WAY, _says(b"SSH-2.0-x\r\n")),
    Trick("a redirect that leads nowhere", NO_WAY, _says(b"HTTP/1.1 302 Found\r\n\r\n")),
    Trick("a redirect of octets that are no text", NO_WAY,
          _says(b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe/\r\n\r\n")),
    Trick("tls-alpn-01: nothing", NO_WAY | {"tls"}, _silent("tls-alpn-01")),
    Trick("tls-alpn-01: an octet now and then", NO_WAY | {"tls"},
          _says(b"\x16\x03\x03\x40\x00", again=b"x", tls=True, waits=True)),
    Trick("tls-alpn-01: no TLS", frozenset({"tls"}), _says(b"HTTP/1.1 200 OK\r\n\r\n", tls=True)),
    # What the name server says
    Trick("no answer", NO_NAME, _no_answer),
    Trick("no address", NO_NAME, _address_of_another),
    Trick("dns-01: very many records", NO_PROOF, _records(1000)),
    Trick("dns-01: one very long record", NO_PROOF, _long_record),
]  # fmt: skip


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with name_server() as names, web_server() as web, web_server(WITHIN) as inside:
        names.point(NAME, OUTSIDE)
        inside.show("token", AUTHORIZATION)
        yield Stage(names, web, inside, monkeypatch)


@pytest.mark.parametrize("trick", TRICKS, ids=lambda each: each.what)
def test_no_trick_leads_inside(stage: Stage, trick: Trick) -> None:
    with pytest.raises(ProofMissing) as caught:
        trick.attempt(stage)
    assert caught.value.kind in trick.kinds, caught.value
    assert stage.inside.asked == []


def test_the_same_stage_shows_a_proof_where_there_is_no_trick(stage: Stage) -> None:
    stage.web.show("token", AUTHORIZATION)
    stage.look()
    stage.names.records.clear()
    stage.names.point(NAME, WITHIN)
    stage.look(http_port=stage.inside.port, networks=(f"{WITHIN}/32",))
    assert stage.inside.asked
