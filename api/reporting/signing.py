"""Signatures under reports: PAdES in a PDF (ETSI EN 319 142-1, baseline B-B), detached CMS (RFC 5652) beside the rest.

The bytes that are signed are those that are made without a signature. The signature itself says when it was made, and
differs each time.
"""

import io
import zipfile
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from api.reporting.values import PdfMissing, ReportFile
from pki import report_credential
from pki.actors import Actor, Role
from pki.desk import Desk
from pki.report_credential import ReportCredential

# The service signs, whoever asks.
_SERVICE: Final = Actor(name="reports", role=Role.SCHEDULER)
_FIELD: Final = "Signature"


def signed(
    desk: Desk, form: str, name: str, content: bytes, *, at: datetime, now: datetime
) -> ReportFile:
    """Sign a report; `at` is the time of its archive's entries. Raises PdfMissing, and what `report_credential.ensure`
    raises.
    """
    credential = report_credential.ensure(desk, _SERVICE, now=now)
    if form == "pdf":
        return ReportFile(pdf(content, credential), "application/pdf", name)
    entries = ((name, content), (f"{name}.p7s", cms(content, credential)))
    return ReportFile(_archive(entries, at), "application/zip", f"{name}.zip")


def cms(content: bytes, credential: ReportCredential) -> bytes:
    """A detached signature in DER, with the certificates that lead to the root."""
    builder = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(content)
        .add_signer(credential.certificate, credential.key, hashes.SHA256())
    )
    for each in credential.chain:
        builder = builder.add_certificate(each)
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
    return builder.sign(Encoding.DER, options)


def pdf(content: bytes, credential: ReportCredential) -> bytes:
    """The PDF with its signature behind it: what was there stays as it is. Raises PdfMissing."""
    try:
        from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
        from pyhanko.sign import fields, signers
    except ImportError:
        raise PdfMissing("A PDF cannot be signed here: pyHanko is not installed.") from None
    metadata = signers.PdfSignatureMetadata(
        field_name=_FIELD, md_algorithm="sha256", subfilter=fields.SigSeedSubFilter.PADES
    )
    writer = IncrementalPdfFileWriter(io.BytesIO(content))
    made: Any = signers.sign_pdf(writer, metadata, signer=_signer(credential))
    whole: bytes = made.getvalue()
    return whole


def _signer(credential: ReportCredential) -> Any:
    from asn1crypto import keys, x509
    from pyhanko.sign import signers
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    store: Any = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    for each in credential.chain:
        store.register(x509.Certificate.load(each.public_bytes(Encoding.DER)))
    private = credential.key.private_bytes(
        Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return signers.SimpleSigner(
        signing_cert=x509.Certificate.load(credential.certificate.public_bytes(Encoding.DER)),
        signing_key=keys.PrivateKeyInfo.load(private),
        cert_registry=store,
    )


def _archive(entries: tuple[tuple[str, bytes], ...], at: datetime) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            # The times of ZIP begin in 1980 and know no zone.
            moment = (max(at.year, 1980), *at.timetuple()[1:6])
            archive.writestr(zipfile.ZipInfo(name, moment), data, zipfile.ZIP_DEFLATED)
    return content.getvalue()
