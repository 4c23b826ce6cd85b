"""Other people's verifiers and linters, asked for their verdict: OpenSSL, strongSwan's `pki`, pkilint.

Each gets DER and raises `Refused` with its own words, so that a failing test shows what the judge said.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding


class Refused(AssertionError):
    """A judge said no."""


def _run(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, check=False, timeout=300, env=_environment()
    )
    said = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode != 0:
        raise Refused(f"{' '.join(command)}\n{said}")
    return said


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", "OPENSSL_CONF": "/dev/null", "TZ": "UTC"}


@contextmanager
def _files(**contents: bytes) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="judge-") as folder:
        paths = {}
        for name, content in contents.items():
            path = Path(folder) / name
            path.write_bytes(content)
            paths[name] = str(path)
        yield paths


def _pem(certificates: Iterable[bytes]) -> bytes:
    return b"".join(
        x509.load_der_x509_certificate(each).public_bytes(Encoding.PEM) for each in certificates
    )


def _crl_pem(crls: Iterable[bytes]) -> bytes:
    return b"".join(x509.load_der_x509_crl(each).public_bytes(Encoding.PEM) for each in crls)


# OpenSSL


def openssl_verify(
    leaf: bytes,
    *options: str,
    root: bytes,
    between: Iterable[bytes] = (),
    crls: Iterable[bytes] = (),
) -> None:
    """`openssl verify` of a chain; with CRLs when some are given (say `-crl_check` or `-crl_check_all` too)."""
    lists, chain = list(crls), list(between)
    with _files(
        leaf=_pem([leaf]), root=_pem([root]), between=_pem(chain), crls=_crl_pem(lists)
    ) as paths:
        command = ["openssl", "verify", *options, "-CAfile", paths["root"]]
        command += ["-untrusted", paths["between"]] if chain else []
        command += ["-CRLfile", paths["crls"]] if lists else []
        _run(*command, paths["leaf"])


def openssl_ocsp(
    answer: bytes, *, leaf: bytes, issuer: bytes, root: bytes, digest: str = "sha1"
) -> str:
    """The status in an OCSP answer, after OpenSSL has verified it: "good", "revoked" or "unknown", and the reason."""
    with _files(
        answer=answer, leaf=_pem([leaf]), issuer=_pem([issuer]), root=_pem([root])
    ) as paths:
        said = _run(
            *("openssl", "ocsp", "-respin", paths["answer"], "-CAfile", paths["root"]),
            *("-verify_other", paths["issuer"], "-issuer", paths["issuer"], f"-{digest}"),
            *("-cert", paths["leaf"], "-no_nonce"),
        )
        if "Response verify OK" not in said or "WARNING" in said:
            raise Refused(said)
        status = re.search(rf"{re.escape(paths['leaf'])}: (\w+)", said)
        reason = re.search(r"Reason: (\w+)", said)
    if status is None:
        raise Refused(said)
    return f"{status[1]} {reason[1]}" if reason else status[1]


def openssl_crl(crl: bytes, *, issuer: bytes) -> str:
    """What `openssl crl -text` prints about a list whose signature it has verified."""
    with _files(crl=crl, issuer=_pem([issuer])) as paths:
        said = _run(
            *("openssl", "crl", "-inform", "DER", "-in", paths["crl"]),
            *("-CAfile", paths["issuer"], "-noout", "-text"),
        )
    if "verify OK" not in said:
        raise Refused(said)
    return said


def openssl_reasons(crl: bytes, *, issuer: bytes) -> dict[str, str]:
    """Serial numbers on a list and their reasons, both as OpenSSL reads them."""
    found: dict[str, str] = {}
    text = openssl_crl(crl, issuer=issuer)
    for part in text.split("Serial Number: ")[1:]:
        reason = re.search(r"CRL Reason Code:[^\n]*\n\s+([^\n]+)", part)
        found[part.split()[0].lower()] = reason[1] if reason else ""
    return found


# strongSwan


def strongswan_verify(leaf: bytes, *, authorities: Iterable[bytes], crls: Iterable[bytes]) -> None:
    """`pki --verify` of a chain with CRLs for every certificate in it."""
    contents = {"leaf": leaf}
    contents |= {f"ca{number}": each for number, each in enumerate(authorities)}
    contents |= {f"crl{number}": each for number, each in enumerate(crls)}
    with _files(**contents) as paths:
        command = ["pki", "--verify", "--in", paths["leaf"]]
        for name, path in paths.items():
            if name.startswith("ca"):
                command += ["--cacert", path]
            elif name.startswith("crl"):
                command += ["--crl", path]
        said = _run(*command)
    if "certificate trusted" not in said or "validation failed" in said:
        raise Refused(said)


def strongswan_print(der: bytes, kind: str = "x509") -> str:
    """What `pki --print` says of a certificate ("x509") or list ("crl")."""
    with _files(der=der) as paths:
        return _run("pki", "--print", "--type", kind, "--in", paths["der"])


# pkilint


@dataclass(frozen=True)
class Finding:
    """What pkilint found: severity (FATAL, ERROR, WARNING, NOTICE, INFO, DEBUG), code, message, where."""

    severity: str
    code: str
    message: str
    path: str


def _findings(results: Iterable[Any]) -> list[Finding]:
    return [
        Finding(
            described.finding.severity.name,
            described.finding.code,
            described.message or "",
            result.node.path,
        )
        for result in results
        for described in result.finding_descriptions
    ]


def _load(kind: str, der: bytes, name: str, group: dict[str, Any] | None = None) -> Any:
    from pkilint import loader

    loaders = {
        "certificate": loader.RFC5280CertificateDocumentLoader,
        "crl": loader.RFC5280CertificateListDocumentLoader,
        "ocsp": loader.RFC6960OCSPResponseDocumentLoader,
    }
    document = loaders[kind]().load_der_document(der, name, name, group)
    if group is not None:
        group[name] = document
    return document.root


@cache
def _certificate_linter() -> Any:
    from pkilint.pkix import certificate, extension, name

    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


@cache
def _crl_linter() -> Any:
    from pkilint import pkix
    from pkilint.pkix import crl, extension, name

    return crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )


@cache
def _ocsp_linter() -> Any:
    from pkilint import pkix
    from pkilint.pkix import extension, name, ocsp

    return ocsp.create_pkix_ocsp_response_validator_container(
        [
            ocsp.create_response_decoder(),
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [],
    )


def pkilint_certificate(der: bytes) -> list[Finding]:
    """`lint_pkix_cert`: RFC 5280."""
    return _findings(_certificate_linter().validate(_load("certificate", der, "certificate")))


def pkilint_crl(der: bytes) -> list[Finding]:
    """`lint_crl -t CRL -p PKIX`."""
    return _findings(_crl_linter().validate(_load("crl", der, "crl")))


def pkilint_ocsp(der: bytes) -> list[Finding]:
    """`lint_ocsp_response`: RFC 6960."""
    return _findings(_ocsp_linter().validate(_load("ocsp", der, "ocsp")))


def pkilint_chain(issuer: bytes, subject: bytes) -> list[Finding]:
    """`lint_pkix_signer_signee_cert_chain`."""
    from pkilint.bin import lint_pkix_signer_signee_cert_chain as program

    group: dict[str, Any] = {}
    issuer_root = _load("certificate", issuer, "issuer", group)
    subject_root = _load("certificate", subject, "subject", group)
    decoders = program.create_decoder_validation_container()
    results = [*decoders.validate(issuer_root), *decoders.validate(subject_root)]
    results += program.create_issuer_validation_container().validate(issuer_root)
    results += program.create_subject_validation_container().validate(subject_root)
    return _findings(results)


def grave(findings: Iterable[Finding]) -> list[Finding]:
    """Those that break a MUST or a SHOULD."""
    return [each for each in findings if each.severity in {"FATAL", "ERROR", "WARNING"}]
