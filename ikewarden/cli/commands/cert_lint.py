"""`ikewarden cert lint`: what IKE daemons will say of a certificate; no server is asked."""

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from core.errors import InvalidInput
from ikewarden.cli.failures import FAILED
from ikewarden.cli.files import named
from ikewarden.cli.help import command
from ikewarden.cli.options import example, format_option
from ikewarden.cli.screen import Column, Screen
from ikewarden.cli.session import Session, pass_session
from pki.x509.profile import DIALECTS, Dialect

if TYPE_CHECKING:
    from cryptography import x509

    from pki.x509.lint import LintReport

_LONGEST: Final = 2**20
_VERDICTS: Final = (
    Column("Dialect", "dialect", whole=True),
    Column("Verdict", "verdict", whole=True),
    Column("Fails", "fail"),
    Column("Warnings", "warn"),
    Column("Notes", "info"),
)


class CertificateUnreadable(InvalidInput):
    """A file that holds no certificate."""

    code = "certificate_unreadable"
    next_step = "Give a certificate in PEM or DER."


@command(
    epilog=example(
        "ikewarden cert lint gw1.pem",
        "ikewarden cert lint gw1.pem --dialect strongswan --dialect windows --format json",
    )
)
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@click.option(
    "--dialect",
    "dialects",
    type=click.Choice(DIALECTS),
    multiple=True,
    help="Only these; more than once for several. [default: all]",
)
@format_option()
@pass_session
def lint(session: Session, file: Path, dialects: tuple[Dialect, ...]) -> int:
    """Check a certificate file against what IKE daemons accept.

    No server is asked. FILE (- for standard input) is PEM or DER; certificates after the first one in PEM are taken
    for its chain. Exit code 1 means that a dialect would refuse the certificate, 2 that it cannot be read.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    from pki.x509.lint import lint as judge
    from pki.x509.lint import report_document

    with warnings.catch_warnings():
        # What the library has to say of a certificate, with lines of its source, the rules say themselves.
        warnings.simplefilter("ignore")
        first, *chain = _read(file)
        octets = sum(len(each.public_bytes(Encoding.DER)) for each in chain)
        report = judge(first, dialects or DIALECTS, at=session.clock(), chain_octets=octets)
    if session.screen.is_json:
        session.screen.json(report_document(report))
    else:
        _show(session.screen, first, report)
    return FAILED if any(report.verdict(each) == "fail" for each in report.dialects) else 0


def _read(file: Path) -> "list[x509.Certificate]":
    from cryptography import x509

    from pki.x509.malformed import MALFORMED

    if str(file) == "-":
        content = sys.stdin.buffer.read(_LONGEST + 1)
    else:
        with file.open("rb") as opened:
            content = opened.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise CertificateUnreadable(f"{named(file)} is far too large for a certificate.")
    try:
        if b"-----BEGIN" in content:
            return x509.load_pem_x509_certificates(content)
        return [x509.load_der_x509_certificate(content)]
    except MALFORMED:
        raise CertificateUnreadable(f"{named(file)} holds no certificate.") from None


def _show(screen: Screen, certificate: "x509.Certificate", report: "LintReport") -> None:
    screen.fields(
        [
            ("Subject", _subject(certificate)),
            ("Expires", certificate.not_valid_after_utc),
        ]
    )
    screen.line()
    rows = []
    for dialect in report.dialects:
        severities = [finding.severity for finding in report.findings(dialect)]
        counts: dict[str, Any] = {each: severities.count(each) for each in ("fail", "warn", "info")}
        rows.append({"dialect": dialect, "verdict": report.verdict(dialect), **counts})
    screen.table(_VERDICTS, rows)
    for (severity, rule), (dialects, message, source, fix) in _findings(report).items():
        screen.line()
        screen.line(f"{severity.upper()} {rule} ({', '.join(dialects)})")
        screen.line(f"  {message}")
        screen.line(f"  Fix: {fix}")
        screen.line(f"  Source: {source}")


def _findings(
    report: "LintReport",
) -> dict[tuple[str, str], tuple[list[str], str, str, str]]:
    """Each finding once with the dialects that have it, the gravest first."""
    found: dict[tuple[str, str], tuple[list[str], str, str, str]] = {}
    for severity in ("fail", "warn", "info"):
        for dialect in report.dialects:
            for finding in report.findings(dialect):
                if finding.severity == severity:
                    entry: tuple[list[str], str, str, str] = (
                        [],
                        finding.message,
                        finding.source,
                        finding.fix,
                    )
                    found.setdefault((severity, finding.rule), entry)[0].append(dialect)
    return found


def _subject(certificate: "x509.Certificate") -> str:
    try:
        return certificate.subject.rfc4514_string()
    except ValueError:
        return "(unreadable)"
