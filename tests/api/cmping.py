"""CMP over a socket: `openssl cmp` as the device, and messages that it made sent as they are, or changed."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509

from core.secret import Secret
from hsm.seal import ScryptCost, Seal
from hsm.sealedfiles import SealedFileKeyStore
from pki import authorities, ra_credential, tokens
from pki.actors import Role, Scope
from pki.endpoints import CmpDoor, Endpoint, EstDoor
from pki.tokens import CreatedToken, TokenRequest
from pki.x509 import der
from tests.api.plain import Listener, listening
from tests.api.serving import Reply
from tests.api.site import CLOCKWORK, CONSOLE, Site

PROFILE = "gateway"
MEDIA_TYPE = "application/pkixcmp"
ENDPOINTS = (
    Endpoint("devices", PROFILE, cmp=CmpDoor()),
    Endpoint("secrets", PROFILE, cmp=CmpDoor(ways=("token",))),
    Endpoint("keys", PROFILE, cmp=CmpDoor(ways=("certificate",))),
    Endpoint("watched", PROFILE, manual=True, cmp=CmpDoor()),
    Endpoint("shut", PROFILE, est=EstDoor()),
)


@contextmanager
def open_doors(site: Site) -> Iterator[Listener]:
    """Two processes that answer for a site with several endpoints, for the duration of a block."""
    equip(site)
    with listening(site) as running:
        yield running


def equip(site: Site) -> None:
    """Give a site several endpoints, and its registration authority."""
    directory = site.directory / f"keys-{site.url.rpartition('/')[2]}"
    seal = Seal.create(directory, Secret("correct horse battery"), cost=ScryptCost(n=2**14))
    rules = replace(site.desk.rules, endpoints={each.name: each for each in ENDPOINTS})
    site.desk = replace(
        site.desk, rules=rules, blobs=SealedFileKeyStore(directory, seal), derive=seal.derive
    )
    assert ra_credential.ensure(site.desk, CLOCKWORK, now=site.clock()) == 1


def token(listener: Listener, name: str, uses: int = 1, **rest: Any) -> CreatedToken:
    """An enroller's token for one device."""
    return token_of(listener.site, name, uses, **rest)


def token_of(site: Site, name: str, uses: int = 1, **rest: Any) -> CreatedToken:
    """The same, of a site."""
    scope = Scope(profiles=(rest.pop("profile", PROFILE),), names=(f"dns:{name}",))
    wanted = TokenRequest(name=name, role=Role.ENROLLER, uses=uses, scope=scope, **rest)
    return tokens.create(site.desk, CONSOLE, wanted, now=site.clock())


def by_secret(made: CreatedToken, *, mac: str = "hmacWithSHA256") -> tuple[str, ...]:
    """How openssl is told reference and secret."""
    assert made.cmp is not None
    secret = made.cmp.reveal().decode()
    return ("-ref", made.view.id, "-secret", f"pass:{secret}", "-mac", mac)


@dataclass(frozen=True)
class Told:
    """An answer, taken apart by hand: the tag of its body, its first status, the bits of its PKIFailureInfo, its words,
    and whether it is protected by a MAC.
    """

    kind: str
    status: int
    failures: frozenset[int]
    text: str
    by_mac: bool
    has_certificates: bool
    nonce: bytes
    certificate: bytes | None

    @property
    def code(self) -> str:
        """The code of ours."""
        return self.text.partition(":")[0]


KINDS = {
    1: "ip", 3: "cp", 8: "kup", 12: "rp", 19: "pkiconf", 22: "genp", 23: "error", 26: "pollRep",
}  # fmt: skip
_MACS = (bytes.fromhex("06092a864886f67d07420d"), bytes.fromhex("06092a864886f70d01050e"))


def told(reply: Reply) -> Told:
    """Take an answer apart; it must be a PKIMessage."""
    assert reply.status == 200, reply
    assert reply.headers["content-type"] == MEDIA_TYPE
    data = reply.body
    header, body, *others = der.children(data, der.read(data, 0))
    kind = KINDS[body.tag - 0xA0]
    status, failures, text = _status(data, body, kind)
    return Told(
        kind=kind,
        status=status,
        failures=failures,
        text=text,
        by_mac=any(each in data[header.start : header.end] for each in _MACS),
        has_certificates=any(each.tag == 0xA1 for each in others),
        nonce=_nonce(data, header),
        certificate=_certificate(data, body, kind),
    )


def _nonce(data: bytes, header: der.Element) -> bytes:
    """The senderNonce."""
    [place] = [each for each in der.children(data, header)[3:] if each.tag == 0xA5]
    value = der.read(data, place.content)
    return data[value.content : value.end]


def _certificate(data: bytes, body: der.Element, kind: str) -> bytes | None:
    if kind not in {"ip", "cp", "kup"}:
        return None
    (response,) = der.children(data, der.children(data, der.read(data, body.content))[-1])
    pair = der.children(data, response)[2:]
    if not pair:
        return None
    wrapped = der.children(data, pair[0])[0]
    return data[wrapped.content : wrapped.end]


def _status(data: bytes, body: der.Element, kind: str) -> tuple[int, frozenset[int], str]:
    if kind in {"pkiconf", "genp", "pollRep"}:
        return 0, frozenset(), ""
    place = der.read(data, body.content)
    if kind in {"ip", "cp", "kup"}:
        parts = der.children(data, place)
        (response,) = der.children(data, parts[-1])
        place = der.children(data, response)[1]
    elif kind == "rp":
        (place,) = der.children(data, der.children(data, place)[0])
    elif kind == "error":
        place = der.children(data, place)[0]
    number, *rest = der.children(data, place)
    failures: frozenset[int] = frozenset()
    text = ""
    for each in rest:
        if each.tag == der.BIT_STRING:
            bits = data[each.content + 1 : each.end]
            failures = frozenset(
                at for at in range(len(bits) * 8) if bits[at // 8] & (0x80 >> at % 8)
            )
        else:
            words = der.children(data, each)
            text = data[words[0].content : words[0].end].decode()
    return int.from_bytes(data[number.content : number.end], "big"), failures, text


class Openssl:
    """A directory of a device, and its `openssl cmp`."""

    def __init__(self, listener: Listener, home: Path, endpoint: str = "devices") -> None:
        self.listener, self.home = listener, home
        self.path = f"/.well-known/cmp/p/{endpoint}"
        root = authorities.load(listener.site.desk, "root").certificate
        (home / "root.pem").write_text(authorities.pem(root))

    def key(self, name: str, *options: str) -> str:
        """The name of a file with a new key."""
        given = options or ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        self.run("genpkey", *given, "-out", f"{name}.key")
        return f"{name}.key"

    def run(self, *words: str, may_fail: bool = False) -> subprocess.CompletedProcess[bytes]:
        """Run a command of openssl here."""
        done = subprocess.run(
            ["openssl", *words], cwd=self.home, check=False, capture_output=True, timeout=120
        )
        assert may_fail or done.returncode == 0, (done.stdout + done.stderr).decode()
        return done

    def words(self, kind: str, *options: str) -> tuple[str, ...]:
        """A command of CMP."""
        server = f"127.0.0.1:{self.listener.port}{self.path}"
        where = (
            "-config",
            "",
            "-server",
            server,
            "-recipient",
            "/CN=ca",
            "-msg_timeout",
            "60",
            "-total_timeout",
            "90",
        )
        saved = ()
        if kind in {"ir", "cr", "kur", "p10cr"}:
            saved = ("-certout", "new.pem", "-chainout", "chain.pem", "-cacertsout", "pubs.pem")
        return ("cmp", "-cmd", kind, *where, *saved, "-trusted", "root.pem", *options)

    def ask(self, kind: str, *options: str) -> x509.Certificate:
        """Ask for a certificate, and get it."""
        self.run(*self.words(kind, *options))
        return x509.load_pem_x509_certificate((self.home / "new.pem").read_bytes())

    def chain(self, name: str = "chain.pem") -> Sequence[x509.Certificate]:
        """What came with it."""
        return x509.load_pem_x509_certificates((self.home / name).read_bytes())

    def refused(self, kind: str, *options: str) -> str:
        """Ask, and be told no: what openssl says."""
        done = self.run(*self.words(kind, *options), may_fail=True)
        assert done.returncode != 0
        return (done.stdout + done.stderr).decode()

    def made(self, kind: str, *options: str) -> bytes:
        """The message (DER) that openssl would send first."""
        out = self.home / "request.der"
        out.unlink(missing_ok=True)
        (self.home / "nothing").write_bytes(b"")
        self.run(
            *self.words(kind, *options), "-rspin", "nothing", "-reqout", out.name, may_fail=True
        )
        return out.read_bytes()

    def send(self, message: bytes, path: str | None = None) -> Told:
        """Send a message as it is."""
        return told(self.post(message, path))

    def post(self, message: bytes, path: str | None = None) -> Reply:
        """The same, with the answer as it came."""
        headers = {"Content-Type": MEDIA_TYPE}
        return self.listener.send("POST", path or self.path, message, headers)


def new(key: str, name: str) -> tuple[str, ...]:
    """How openssl is told of a request."""
    return ("-newkey", key, "-subject", f"/CN={name}", "-sans", name)
