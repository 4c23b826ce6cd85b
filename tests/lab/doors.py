"""Gateways that come in by the protocols of other people's clients, each inside of its own network namespace."""

import contextlib
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.api.acme.world import Names, name_server
from tests.fixtures.ports import free_ports
from tests.lab.charon import Gateway
from tests.lab.errors import LabError
from tests.lab.lab import SERVICE_ADDRESS
from tests.lab.relay import Relay
from tests.lab.story import API_PORT, VALIDATION_PORT, Enrolled, Warden


def run_in(gateway: Gateway, *command: str | Path) -> bytes:
    """What a program printed that was run in a gateway's namespace. Raises LabError where it failed."""

    def work() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*map(str, command)], capture_output=True, check=False, timeout=120)

    done = gateway.namespace.within(work)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace")
        raise LabError(f"{command[0]} exited with {done.returncode}: {words[-2000:]}")
    return bytes(done.stdout)


def token_for(warden: Warden, name: str, uses: int = 1) -> str:
    """An enroller's token for one gateway."""
    return str(_made_for(warden, name, uses)["token"])


def _made_for(warden: Warden, name: str, uses: int = 1) -> dict[str, Any]:
    wanted = {
        "name": f"enroll {name}",
        "role": "enroller",
        "profiles": ["gateway"],
        "names": [f"dns:{name}"],
        "uses": uses,
    }
    made: dict[str, Any] = warden.call("POST", "/v1/tokens", wanted)
    return made


def enrolled(name: str, key: bytes, certificate: bytes, chain: tuple[bytes, ...]) -> Enrolled:
    """Credentials in PEM, as the story takes them."""
    serial = x509.load_pem_x509_certificate(certificate).serial_number
    return Enrolled(name, f"{serial:x}", key, certificate, chain)


def by_est(warden: Warden, name: str, algorithm: str, gateway: Gateway) -> Enrolled:
    """Enroll with strongSwan's `pki --est`, and renew with a new key at once."""
    url = f"https://{SERVICE_ADDRESS}:{API_PORT}"
    with tempfile.TemporaryDirectory(prefix="ikewarden-est-") as scratch:
        home = Path(scratch)
        root = warden.instance.directory / "root-ca.pem"
        cas = home / "ca"
        run_in(gateway, "pki", "--estca", "--url", url, "--cacert", root, "--caout", cas)
        trusted = [word for each in sorted(home.glob("ca*")) for word in ("--cacert", str(each))]
        first = _requested(gateway, home / "first", name)
        given = ("--url", url, *trusted, "--outform", "pem")
        proof = ("--userpass", f"{name}:{token_for(warden, name)}")
        old = home / "old.pem"
        old.write_bytes(run_in(gateway, "pki", "--est", "--in", first[1], *given, *proof))
        second = _requested(gateway, home / "second", name)
        proof = ("--cert", str(old), "--key", str(first[0]))
        made = run_in(gateway, "pki", "--est", "--in", second[1], *given, *proof)
        chain = tuple(
            _pem(each.read_bytes()) for each in sorted(home.glob("ca*"))
        )  # ca-1.der: who issues
        return enrolled(name, second[0].read_bytes(), made, chain)


#: What `by_scep` asks: it is off until a file says otherwise.
SCEP_ENDPOINT = 'name = "vpn"\nprofile = "gateway"\n[scep]\n'


def by_scep(warden: Warden, name: str, algorithm: str, gateway: Gateway) -> Enrolled:
    """Enroll with strongSwan's `pki --scep` over plain HTTP, with an RSA key whatever the algorithm of the others; and
    renew with a new key at once.
    """
    url = f"http://{SERVICE_ADDRESS}:{VALIDATION_PORT}/scep/vpn"
    with tempfile.TemporaryDirectory(prefix="ikewarden-scep-") as scratch:
        home = Path(scratch)
        ca, ra = home / "ca.pem", home / "ra.pem"
        given = ("--url", url, "--outform", "pem")
        run_in(gateway, "pki", "--scepca", *given, "--caout", ca, "--raout", ra)
        issuer = home / "ca-1.pem"
        trusted = ("--cacert", ca, "--cacert", issuer, "--cacert-enc", ra, "--cacert-sig", ra)

        def ask(key: Path, *proof: str | Path) -> bytes:
            made = run_in(
                gateway, "pki", "--gen", "--type", "rsa", "--size", "3072", "--outform", "pem"
            )
            key.write_bytes(made)
            who = ("--in", key, "--dn", f"CN={name}", "--san", name)
            return run_in(gateway, "pki", "--scep", *given, *who, *trusted, *proof)

        first, second, old = home / "first.key", home / "second.key", home / "old.pem"
        old.write_bytes(ask(first, "--password", token_for(warden, name)))
        made = ask(second, "--cert", old, "--key", first)
        return enrolled(name, second.read_bytes(), made, (issuer.read_bytes(), ca.read_bytes()))


_ENDPOINT = """\
name = "gateway"
profile = "gateway"
[acme]
networks = ["127.0.0.0/8"]
resolvers = ["127.0.0.1:{names}"]
http_port = {port}
"""


@dataclass
class AcmeLab:
    """Where ACME clients inside of the lab prove their names to a service outside of it."""

    names: Names
    port: int
    settings: Mapping[str, str]
    closing: contextlib.ExitStack
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(11, 200)))

    def enroll(self, warden: Warden, name: str, algorithm: str, gateway: Gateway) -> Enrolled:
        """Enroll with lego, http-01 at port 80 of the gateway, and renew with a new key at once."""
        self._lead(name, gateway)
        wanted = {
            "name": f"enroll {name}",
            "role": "enroller",
            "profiles": ["gateway"],
            "names": [f"dns:{name}"],
            "uses": 1,
        }
        made: dict[str, Any] = warden.call("POST", "/v1/tokens", wanted)
        root = warden.instance.directory / "root-ca.pem"
        url = f"https://{SERVICE_ADDRESS}:{API_PORT}/acme/gateway/directory"
        with tempfile.TemporaryDirectory(prefix="ikewarden-acme-") as scratch:
            lego = ["env", f"LEGO_CA_CERTIFICATES={root}", "lego", "--server", url, "--accept-tos"]
            lego += ["--email", "ops@example.com", "--path", scratch, "--domains", name, "--eab"]
            lego += ["--kid", str(made["id"]), "--hmac", str(made["eab_hmac_key"])]
            lego += ["--key-type", "ec256", "--http"]
            run_in(gateway, *lego, "run")
            run_in(gateway, *lego, "renew", "--days", "9999", "--no-random-sleep")
            place = Path(scratch) / "certificates" / name
            chain = x509.load_pem_x509_certificates(Path(f"{place}.crt").read_bytes())
            leaf, issuer = (each.public_bytes(serialization.Encoding.PEM) for each in chain)
            key = Path(f"{place}.key").read_bytes()
            return enrolled(name, key, leaf, (issuer, root.read_bytes()))

    def _lead(self, name: str, gateway: Gateway) -> None:
        """Let a name lead to port 80 of a gateway: there is no way into the lab but by relays."""

        def connect(target: tuple[str, int]) -> socket.socket:
            return gateway.namespace.within(lambda: socket.create_connection(target, timeout=60))

        address = f"127.0.0.{next(self._numbers)}"
        self.names.point(name, address)
        listener = socket.create_server((address, self.port))
        self.closing.callback(Relay(listener, (gateway.outside, 80), connect).close)


@contextlib.contextmanager
def acme_lab(directory: Path) -> Iterator[AcmeLab]:
    """A name server, a port, and the settings of a service that uses them."""
    (port,) = free_ports(1)
    directory.mkdir()
    with name_server() as names, contextlib.ExitStack() as closing:
        file = directory / "gateway.toml"
        file.write_text(_ENDPOINT.format(names=names.port, port=port))
        settings = {
            "IKEWARDEN_ENROLLMENT__ENDPOINTS_DIRECTORY": str(directory),
            "IKEWARDEN_FLEET__URL": f"https://{SERVICE_ADDRESS}:{API_PORT}",
        }
        yield AcmeLab(names, port, settings, closing)


#: What `by_cmp` asks: it is off until a file says otherwise.
CMP_ENDPOINT = 'name = "managed"\nprofile = "gateway"\n[cmp]\n'


def by_cmp(warden: Warden, name: str, algorithm: str, gateway: Gateway) -> Enrolled:
    """Enroll with `openssl cmp` by a shared secret, over plain HTTP, and renew with a new key at once."""
    server = f"{SERVICE_ADDRESS}:{VALIDATION_PORT}/.well-known/cmp/p/managed"
    token = _made_for(warden, name)
    with tempfile.TemporaryDirectory(prefix="ikewarden-cmp-") as scratch:
        home = Path(scratch)
        first, second = home / "first.key", home / "second.key"
        old, made, chain, secret = (home / each for each in ("old", "new", "chain", "secret"))
        secret.write_text(token["cmp_secret"])
        root = warden.instance.directory / "root-ca.pem"

        def ask(kind: str, key: Path, *proof: str | Path) -> None:
            curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
            run_in(gateway, "openssl", "genpkey", *curve, "-out", key)
            where = ("-config", "", "-server", server, "-trusted", root, "-newkey", key)
            run_in(gateway, "openssl", "cmp", "-cmd", kind, *where, *proof)

        who = ("-ref", token["id"], "-secret", f"file:{secret}", "-mac", "hmacWithSHA256")
        wanted = ("-recipient", "/CN=ca", "-subject", f"/CN={name}", "-sans", name)
        ask("ir", first, *who, *wanted, "-certout", old, "-chainout", chain)
        proof = ("-cert", old, "-key", first, "-untrusted", chain)
        ask("kur", second, *proof, "-certout", made)
        above = (chain.read_bytes(), root.read_bytes())
        return enrolled(name, second.read_bytes(), made.read_bytes(), above)


def _requested(gateway: Gateway, place: Path, name: str) -> tuple[Path, Path]:
    """A new key (PEM) and a request for it, as `pki` makes them."""
    key, request = place.with_suffix(".key"), place.with_suffix(".csr")
    key.write_bytes(
        run_in(gateway, "pki", "--gen", "--type", "ecdsa", "--size", "256", "--outform", "pem")
    )
    asked = ("--in", key, "--type", "ecdsa", "--dn", f"CN={name}", "--san", name)
    request.write_bytes(run_in(gateway, "pki", "--req", *asked))
    return key, request


def _pem(der: bytes) -> bytes:
    found = x509.load_der_x509_certificate(der)
    return found.public_bytes(serialization.Encoding.PEM)
