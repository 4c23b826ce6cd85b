"""Reports from the command line, over a real service: on the screen, in files, signed."""

import subprocess
from pathlib import Path

import pytest

from tests.fixtures.needs import needs_program
from tests.fixtures.served import Served

pytestmark = pytest.mark.usefixtures("served")
KINDS = ("inventory", "expiring", "revocations", "psk-age", "sa-health", "audit", "compliance")


def openssl(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, timeout=60, check=False
    )


def test_every_kind_on_the_screen_and_in_files(served: Served, tmp_path: Path) -> None:
    served.json("gateway", "add", "reported.example")
    for kind in KINDS:
        done = served.run("report", kind)
        assert done.code == 0, done.err
        assert served.json("report", kind)["made_at"]
        assert "<!doctype html>" in served.run("report", kind, "--format", "html").out
        path = tmp_path / f"{kind}.pdf"
        path.write_bytes(b"the one before")
        done = served.run("report", kind, "--format", "pdf", "--lang", "zh", "--out", path)
        assert done.code == 0, done.err
        assert path.read_bytes().startswith(b"%PDF-")
    # The service's own certificate has two names.
    assert "dns:localhost, ip:127.0.0.1" in served.run("report", "inventory").out
    # A table comes whole (a screen shows its beginning), and names its columns once.
    table = served.run("report", "inventory", "--format", "csv").out
    assert "reported.example" in table
    assert table.startswith("what,name,kind,")
    assert table.count("what,name,kind,") == 1


def test_nothing_binary_goes_to_a_screen(served: Served, tmp_path: Path) -> None:
    for wrong in (
        ("--format", "pdf"),
        ("--format", "csv", "--signed"),
        ("--signed",),
        ("--out", tmp_path / "x"),
    ):
        done = served.run("report", "audit", *wrong)
        assert (done.code, done.out) == (2, ""), wrong
        assert "--" in done.err
    done = served.run("report", "expiring", "--period", "2026-Q9")
    assert (done.code, "report_period_invalid" in done.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_signed_reports_are_verified_by_others(served: Served, tmp_path: Path) -> None:
    root = served.directory / "root-ca.pem"
    same = ("--at", "2027-03-01T00:00:00Z")
    for form in ("csv", "json", "html"):
        path = tmp_path / f"report.{form}"
        asked = ("report", "audit", *same, "--format", form)
        assert served.run(*asked, "--signed", "--out", path).code == 0
        signature = tmp_path / f"report.{form}.p7s"
        verify = (
            *("cms", "-verify", "-binary", "-inform", "DER", "-in", signature),
            *("-content", path, "-CAfile", root, "-purpose", "any", "-out", "/dev/null"),
        )
        done = openssl(*verify)
        assert done.returncode == 0, done.stderr
        plain = tmp_path / f"plain.{form}"
        assert served.run(*asked, "--out", plain).code == 0
        assert plain.read_bytes() == path.read_bytes()
        path.write_bytes(path.read_bytes() + b" ")
        assert openssl(*verify).returncode != 0
    # One certificate signs all, and it is on record.
    signers = [
        each for each in served.json("cert", "list")["items"] if each["profile"] == "report-signer"
    ]
    assert len(signers) == 1


@needs_program("pdfsig", "poppler-utils")
def test_a_signed_pdf_is_the_same_with_a_signature_behind(served: Served, tmp_path: Path) -> None:
    asked = ("report", "audit", "--at", "2027-03-01T00:00:00Z", "--format", "pdf")
    signed, plain = tmp_path / "signed.pdf", tmp_path / "plain.pdf"
    assert served.run(*asked, "--signed", "--out", signed).code == 0
    assert served.run(*asked, "--out", plain).code == 0
    assert signed.read_bytes().startswith(plain.read_bytes())
    told = subprocess.run(
        ["pdfsig", "-nocert", str(signed)], capture_output=True, timeout=60, check=True
    ).stdout.decode()
    assert "Signature is Valid." in told
    assert "ETSI.CAdES.detached" in told
    assert "Total document signed" in told
    spoiled = signed.read_bytes().replace(b"/Title", b"/Tilte", 1)
    signed.write_bytes(spoiled)
    told = subprocess.run(
        ["pdfsig", "-nocert", str(signed)], capture_output=True, timeout=60, check=False
    ).stdout.decode()
    assert "Signature is Valid." not in told
