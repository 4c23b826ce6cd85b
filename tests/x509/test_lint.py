"""Verdicts, reports, and a linter that nothing stops."""

import datetime as dt
import json
from functools import cache
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from pki.x509.builtin import builtin_profiles
from pki.x509.lint import Finding, LintReport, lint, report_document
from pki.x509.lint.reference import reference_page
from pki.x509.profile import DIALECTS
from tests.x509.lint_cases import CASES, QUIET
from tests.x509.workshop import (
    NOW,
    altered,
    authority,
    dns,
    ec_key,
    ed25519_key,
    end_entity,
    key_usage,
    load,
    name,
    rsa_key,
    usages,
)

_ROOT = Path(__file__).parents[2]


def _rules(certificate: x509.Certificate, dialect: str) -> list[str]:
    return [f"{f.severity} {f.rule}" for f in lint(certificate, [dialect]).findings(dialect)]


# Reports


def test_only_the_dialects_asked_for_are_judged() -> None:
    report = lint(end_entity(), ["windows", "strongswan", "windows"])
    assert report.dialects == ("windows", "strongswan")
    with pytest.raises(KeyError):
        report.verdict("libreswan")
    assert lint(end_entity(), []).dialects == ()


def test_the_document_is_what_the_command_line_promises() -> None:
    document = report_document(lint(end_entity(), ["rfc4945", "strongswan"]))
    assert json.loads(json.dumps(document)) == {
        "dialects": {
            "rfc4945": {
                "verdict": "warn",
                "findings": [
                    {
                        "rule": "rfc4945.extended_key_usage_present",
                        "severity": "warn",
                        "message": "The certificate has an extendedKeyUsage.",
                        "source": "RFC 4945 section 5.1.3.12: the CA SHOULD NOT include it",
                        "fix": "Use the profile strict-rfc4945 if no peer needs extendedKeyUsage "
                        "(Windows and Apple do).",
                    }
                ],
            },
            "strongswan": {"verdict": "pass", "findings": []},
        }
    }


def test_the_gravest_comes_first_and_makes_the_verdict() -> None:
    certificate = end_entity(
        plus=[(key_usage("key_encipherment"), False)], without=(x509.SubjectKeyIdentifier,)
    )
    report = lint(certificate, ["strongswan"])
    severities = [finding.severity for finding in report.findings("strongswan")]
    assert severities == sorted(severities, key=["fail", "warn", "info"].index)
    assert set(severities) == {"fail", "info"}
    assert report.verdict("strongswan") == "fail"


@pytest.mark.parametrize(
    ("severity", "verdict"), [("fail", "fail"), ("warn", "warn"), ("info", "pass")]
)
def test_verdicts(severity: str, verdict: str) -> None:
    finding = Finding("x509.x", severity, "M.", "S", "F.")
    assert LintReport({"cisco": (finding,)}).verdict("cisco") == verdict
    assert LintReport({"cisco": ()}).verdict("cisco") == "pass"


def test_what_blocks() -> None:
    report = lint(end_entity(public_key=ed25519_key().public_key()))
    assert report.blocking({"windows": "block", "strongswan": "block"}) == ("windows",)
    assert report.blocking({"windows": "warn", "libreswan": "off"}) == ()
    assert report.blocking({}) == ()


@pytest.mark.parametrize("profile", builtin_profiles().values(), ids=lambda p: p.name)
def test_no_built_in_profile_blocks_its_own_certificates(profile) -> None:
    for curve in ("secp256r1", "secp384r1"):
        certificate = end_entity(profile.name, public_key=ec_key(curve).public_key())
        assert lint(certificate).blocking(profile.lint) == ()


def test_reports_are_values() -> None:
    assert lint(end_entity()) == lint(end_entity())


# Cases that need more than one look


def test_time_counts_only_where_it_is_given() -> None:
    certificate = end_entity()
    assert lint(certificate) == lint(certificate, at=NOW)
    late = lint(certificate, ["strongswan"], at=dt.datetime(2030, 1, 1, tzinfo=dt.UTC))
    assert late.verdict("strongswan") == "fail"


def test_the_chain_counts_for_the_size() -> None:
    assert lint(end_entity(), ["strongswan"], chain_octets=4000).verdict("strongswan") == "pass"
    assert lint(end_entity(), ["strongswan"], chain_octets=9000).verdict("strongswan") == "fail"


def test_without_names_the_whole_subject_is_the_identity() -> None:
    bare = end_entity(
        subject=name(o="Example", cn="Gateway One"), without=(x509.SubjectAlternativeName,)
    )
    assert _rules(bare, "strongswan") == ["warn x509.san_missing"]
    assert "fail x509.san_missing" in _rules(bare, "apple")
    host = end_entity(without=(x509.SubjectAlternativeName,))
    assert _rules(host, "libreswan") == ["warn x509.cn_only_identity"]
    # Windows does look into the CN.
    assert _rules(host, "windows") == []


@pytest.mark.parametrize(
    ("common_name", "names", "complains"),
    [
        ("gw1.example.com", [x509.DNSName("GW1.example.com")], False),
        ("gw1.example.com", [x509.DNSName("gw2.example.com")], True),
        ("192.0.2.1", [x509.IPAddress(ip_network("192.0.2.1").network_address)], False),
        ("192.0.2.1", [x509.DNSName("gw1.example.com")], True),
        ("carol@example.com", [x509.RFC822Name("carol@example.com")], False),
        ("carol@example.com", [x509.DNSName("gw1.example.com")], True),
        ("Gateway One", [x509.DNSName("gw1.example.com")], False),
        ("gw1", [x509.DNSName("gw1.example.com")], False),
    ],
)
def test_the_common_name_should_be_among_the_names(
    common_name: str, names: list[x509.GeneralName], complains: bool
) -> None:
    certificate = end_entity(
        subject=name(cn=common_name), plus=[(x509.SubjectAlternativeName(names), False)]
    )
    assert ("warn x509.cn_not_in_san" in _rules(certificate, "strongswan")) is complains


def test_an_address_repeated_as_a_name_pleases_windows() -> None:
    address = x509.IPAddress(ip_network("192.0.2.1").network_address)
    both = x509.SubjectAlternativeName([x509.DNSName("192.0.2.1"), address])
    certificate = end_entity(subject=name(o="Example"), plus=[(both, False)])
    assert _rules(certificate, "windows") == []


@pytest.mark.parametrize(
    ("oid", "accepted"),
    [
        ("1.3.6.1.5.5.7.3.1", True),
        ("1.3.6.1.5.5.7.3.2", True),
        ("1.3.6.1.5.5.7.3.3", False),
        ("1.3.6.1.5.5.7.3.4", True),
        ("1.3.6.1.5.5.7.3.5", True),
        ("1.3.6.1.5.5.7.3.6", True),
        ("1.3.6.1.5.5.7.3.7", True),
        ("1.3.6.1.5.5.7.3.8", False),
        ("1.3.6.1.5.5.7.3.9", False),
        ("1.3.6.1.5.5.7.3.17", True),
        ("1.3.6.1.5.5.8.2.1", True),
        ("1.3.6.1.5.5.8.2.2", True),
        ("2.5.29.37.0", True),
    ],
)
def test_usages_as_nss_takes_them(oid: str, accepted: bool) -> None:
    report = lint(end_entity(plus=[(usages(oid), False)]), DIALECTS)
    assert (report.verdict("libreswan") != "fail") is accepted
    # RFC 4945 is stricter, charon never looks.
    standard = oid in {"1.3.6.1.5.5.7.3.17", "2.5.29.37.0"}
    assert (report.verdict("rfc4945") != "fail") is standard
    assert report.verdict("strongswan") != "fail"


def test_a_marked_authority_with_names_is_an_end_entity() -> None:
    ca = x509.BasicConstraints(ca=True, path_length=None)
    mistaken = end_entity(plus=[(ca, True)])
    assert "fail x509.end_entity_is_authority" in _rules(mistaken, "libreswan")
    # An authority that only certifies stays one, whatever names it has.
    named = authority(plus=[(dns("ca.example.com"), False)])
    assert _rules(named, "libreswan") == []


def test_an_old_root_without_basic_constraints_is_an_authority() -> None:
    old = authority(root=True, without=(x509.BasicConstraints,))
    assert "fail x509.ca_basic_constraints_missing" in _rules(old, "strongswan")


def test_a_root_may_be_signed_with_anything() -> None:
    made = authority(root=True, public_key=rsa_key().public_key(), signer=rsa_key())
    old = altered(made, bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105"))
    assert isinstance(old.signature_hash_algorithm, hashes.SHA1)
    assert _rules(old, "strongswan") == ["warn x509.rsa_below_3072"]


def test_constraints_on_every_kind_leave_nothing_open() -> None:
    limits = x509.NameConstraints(
        [x509.DNSName("example.com"), x509.RFC822Name("example.com")],
        [x509.IPAddress(ip_network("0.0.0.0/0")), x509.IPAddress(ip_network("::/0"))],
    )
    certificate = authority(plus=[(limits, True)])
    assert "warn x509.name_constraints_partial" not in _rules(certificate, "libreswan")
    open_kind = authority(plus=[(x509.NameConstraints([x509.DNSName("example.com")], None), True)])
    (finding,) = lint(open_kind, ["libreswan"]).findings("libreswan")
    assert finding.message == "The nameConstraints do not restrict iPAddress and rfc822Name."


def test_a_certificate_that_cannot_be_read_has_one_finding() -> None:
    twice = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"\x05\x00")
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.2"), b"\x05\x00")
    certificate = altered(
        end_entity(plus=[(twice, False), (other, False)]),
        bytes.fromhex("0609 2b06 0104 0181 fd59 02"),
        bytes.fromhex("0609 2b06 0104 0181 fd59 01"),
    )
    (finding,) = lint(certificate, ["cisco"]).findings("cisco")
    assert finding.rule == "x509.unreadable"
    assert finding.message == (
        "The certificate cannot be read: the extension 1.3.6.1.4.1.32473.1 is there twice."
    )


@cache
def _der(rule: str) -> bytes:
    return CASES[rule].certificate().public_bytes(Encoding.DER)


@QUIET
@given(st.data())
def test_no_certificate_stops_the_linter(data: st.DataObject) -> None:
    der = bytearray(_der(data.draw(st.sampled_from(sorted(CASES)))))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        certificate = load(bytes(der))
    except (ValueError, x509.InvalidVersion):
        return
    report = lint(certificate, at=NOW)
    for dialect in DIALECTS:
        for finding in report.findings(dialect):
            assert finding.message.isprintable()
    json.dumps(report_document(report))


# The reference page


def test_the_reference_page_is_up_to_date() -> None:
    page = (_ROOT / "docs" / "reference" / "lint.md").read_text("utf-8")
    assert page == reference_page(), (
        "run: python -m pki.x509.lint.reference > docs/reference/lint.md"
    )
