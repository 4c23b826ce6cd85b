"""Signatures, as others check them: OpenSSL, and pyHanko's validator."""

import io
import subprocess
import zipfile
from pathlib import Path

import pytest
from asn1crypto import x509 as asn1
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko_certvalidator import ValidationContext

from pki import authorities
from pki.desk import Desk
from tests.reporting.scene import THEN, Fleet


def root_of(desk: Desk) -> bytes:
    return authorities.load(desk, "root").certificate.public_bytes(Encoding.DER)


def checked(desk: Desk, content: bytes) -> bool:
    """What pyHanko says of the one signature of a PDF."""
    [signature] = PdfFileReader(io.BytesIO(content)).embedded_signatures
    context = ValidationContext(
        trust_roots=[asn1.Certificate.load(root_of(desk))], moment=THEN, allow_fetching=False
    )
    usage = KeyUsageConstraints(key_usage={"digital_signature"})
    status = validate_pdf_signature(signature, context, key_usage_settings=usage)
    return bool(status.bottom_line)


def test_a_pdf_carries_its_signature(fleet: Fleet) -> None:
    plain = fleet.made("psk-age", format="pdf", at=THEN)
    signed = fleet.made("psk-age", format="pdf", at=THEN, signed=True)
    assert (signed.filename, signed.media_type) == (plain.filename, "application/pdf")
    assert signed.content.startswith(plain.content)
    assert checked(fleet.desk, signed.content)
    [place] = [signed.content.index(b"/Title")]
    spoiled = bytearray(signed.content)
    spoiled[place + 10] ^= 1
    assert not checked(fleet.desk, bytes(spoiled))


@pytest.mark.parametrize("form", ["json", "csv", "html"])
def test_what_is_no_pdf_has_its_signature_beside(fleet: Fleet, tmp_path: Path, form: str) -> None:
    plain = fleet.made("revocations", format=form, at=THEN)
    signed = fleet.made("revocations", format=form, at=THEN, signed=True)
    assert (signed.filename, signed.media_type) == (f"{plain.filename}.zip", "application/zip")
    with zipfile.ZipFile(io.BytesIO(signed.content)) as archive:
        assert archive.namelist() == [plain.filename, f"{plain.filename}.p7s"]
        assert archive.read(plain.filename) == plain.content
        archive.extractall(tmp_path)
    root = tmp_path / "root.der"
    root.write_bytes(root_of(fleet.desk))
    subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-in", root, "-out", tmp_path / "root.pem"],
        check=True,
    )
    told = subprocess.run(
        [
            *("openssl", "cms", "-verify", "-binary", "-inform", "DER"),
            *("-in", tmp_path / f"{plain.filename}.p7s", "-content", tmp_path / plain.filename),
            *("-CAfile", tmp_path / "root.pem", "-purpose", "any", "-out", "/dev/null"),
            *("-attime", str(int(THEN.timestamp()))),
        ],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert told.returncode == 0, told.stderr
