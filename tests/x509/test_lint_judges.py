"""The linter against the verifiers of the daemons themselves: strongSwan's pki and NSS's vfychain.

pki loads certificates with the plugins charon uses, and follows the chain; it looks at no keyUsage. NSS
judges for its IPsec usage, as pluto asks it to.
"""

import datetime as dt
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ObjectIdentifier

from pki.x509.builtin import builtin_profiles
from pki.x509.lint import lint
from tests.fixtures.needs import needs_program
from tests.x509.lint_cases import CODE, IPSEC_IKE, UNKNOWN
from tests.x509.workshop import (
    SERIAL,
    access,
    authority,
    crl_at,
    ec_key,
    ed25519_key,
    end_entity,
    key_usage,
    rsa_key,
    usages,
)

_IPSEC_USAGE = "12"  # certificateUsageIPsec is 1 << 12
_DAY = dt.timedelta(days=1)

Chain = tuple[x509.Certificate, x509.Certificate]


def _times() -> dict[str, dt.datetime]:
    # The verifiers read the machine's clock.
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    return {"not_before": now - _DAY, "not_after": now + 89 * _DAY}


def _chain(ca: dict[str, object] | None = None, **order: object) -> Chain:
    """An end entity and the root that issued it."""
    pointers = (x509.CRLDistributionPoints, x509.AuthorityInformationAccess)
    given = {"without": (), **order}
    given["without"] = (*given["without"], *pointers)  # so that nobody goes and fetches
    return end_entity(**_times(), **given), _root(**(ca or {}))


def _root(**order: object) -> x509.Certificate:
    return authority(root=True, **_times(), **{"serial": SERIAL + 1, **order})


def _critical(value: x509.ExtensionType) -> Callable[[], Chain]:
    return lambda: _chain(plus=[(value, True)])


def _ca(**order: object) -> Callable[[], Chain]:
    return lambda: _chain(ca=order)


def _pointed(value: x509.ExtensionType) -> Chain:
    return end_entity(**_times(), plus=[(value, True)]), _root()


CHAINS: dict[str, Callable[[], Chain]] = {
    **{
        profile.name: (lambda name=profile.name: _chain(profile=name))
        for profile in builtin_profiles().values()
        if not profile.internal
    },
    "p384": lambda: _chain(public_key=ec_key("secp384r1").public_key()),
    "p521": lambda: _chain(public_key=ec_key("secp521r1").public_key()),
    "rsa": lambda: _chain(public_key=rsa_key().public_key()),
    "ed25519": lambda: _chain(public_key=ed25519_key().public_key()),
    "dsa": lambda: _chain(public_key=dsa.generate_private_key(2048).public_key()),
    "sha224": lambda: _chain(hash=hashes.SHA224()),
    "nonrepudiation": _critical(key_usage("content_commitment")),
    "no key usage": lambda: _chain(without=(x509.KeyUsage,)),
    "no usage": lambda: _chain(without=(x509.ExtendedKeyUsage,)),
    "code signing": lambda: _chain(plus=[(usages(CODE), False)]),
    "code signing and ipsecIKE": lambda: _chain(plus=[(usages(CODE, IPSEC_IKE), False)]),
    **{
        f"usage {oid}": (lambda oid=oid: _chain(plus=[(usages(oid), False)]))
        for oid in (
            *(f"1.3.6.1.5.5.7.3.{n}" for n in (1, 2, 4, 5, 6, 7, 8, 9, 17)),
            "1.3.6.1.5.5.8.2.1",
            "1.3.6.1.5.5.8.2.2",
            "2.5.29.37.0",
        )
    },
    "critical unknown": _critical(x509.UnrecognizedExtension(UNKNOWN, b"\x05\x00")),
    "critical usage": _critical(usages(IPSEC_IKE)),
    "critical key identifier": _critical(x509.SubjectKeyIdentifier(b"12345678")),
    "critical tls feature": _critical(x509.TLSFeature([x509.TLSFeatureType.status_request])),
    "critical no check": _critical(x509.OCSPNoCheck()),
    "critical policy": _critical(
        x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier("1.2.3"), None)])
    ),
    "critical crl point": lambda: _pointed(crl_at("http://127.0.0.1:9/a.crl")),
    "critical access": lambda: _pointed(access("http://127.0.0.1:9/o", "http://127.0.0.1:9/c")),
    "end entity is authority": _critical(x509.BasicConstraints(ca=True, path_length=None)),
    "path length 0": _ca(),
    "ca without key usage": _ca(without=(x509.KeyUsage,)),
    "ca for code signing": _ca(plus=[(usages(CODE), False)]),
    "ca for ipsecIKE": _ca(plus=[(usages(IPSEC_IKE), False)]),
    "ca with constraints": _ca(
        plus=[(x509.NameConstraints([x509.DNSName("example.com")], None), True)]
    ),
}


@pytest.fixture(params=CHAINS)
def chain(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """The name of a chain, and the folder with its leaf.der and root.der."""
    leaf, root = CHAINS[request.param]()
    for name, certificate in {"leaf": leaf, "root": root}.items():
        (tmp_path / f"{name}.der").write_bytes(certificate.public_bytes(Encoding.DER))
    return request.param, tmp_path


def _passes(folder: Path, dialect: str) -> bool:
    """Whether the linter lets both certificates through."""
    ders = [(folder / f"{name}.der").read_bytes() for name in ("leaf", "root")]
    reports = [lint(x509.load_der_x509_certificate(der), [dialect]) for der in ders]
    return all(report.verdict(dialect) != "fail" for report in reports)


def _run(*command: str | Path) -> bool:
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    return done.returncode == 0


@needs_program("pki", "strongswan-pki")
def test_strongswan_agrees(chain: tuple[str, Path]) -> None:
    label, folder = chain
    leaf, root = folder / "leaf.der", folder / "root.der"
    accepted = _run("pki", "--verify", "--in", leaf, "--cacert", root)
    # What the linter refuses on its own account, although the certificate loads.
    stricter = {"end entity is authority"}
    assert _passes(folder, "strongswan") is (accepted and label not in stricter)
    assert accepted or label not in stricter


@needs_program("vfychain", "libnss3-tools")
def test_nss_agrees(chain: tuple[str, Path]) -> None:
    label, folder = chain
    leaf, root, database = folder / "leaf.der", folder / "root.der", f"sql:{folder}"
    assert _run("certutil", "-N", "-d", database, "--empty-password")
    assert _run("certutil", "-A", "-d", database, "-n", "root", "-t", "CT,C,C", "-i", root)
    accepted = _run("vfychain", "-d", database, "-u", _IPSEC_USAGE, "-p", "-p", leaf)
    stricter = {"dsa"}
    assert _passes(folder, "libreswan") is (accepted and label not in stricter)
    assert accepted or label not in stricter
