"""CRLs put together from stored entries: what `cryptography` and OpenSSL read out of them, and what pkilint says."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import CRLEntryExtensionOID
from hypothesis import given
from hypothesis import strategies as st

from hsm.ports import KeyAlgorithm
from pki.x509 import serials
from pki.x509.authority import AuthoritySpec, Pointers, draft_root
from pki.x509.constraints import NameConstraints
from pki.x509.crl import CrlSpec, Reason, draft_crl, entry
from pki.x509.signing import complete, default_hash, sign
from tests import judges
from tests.fixtures.desk import NOW
from tests.pki.requests import DER, name, private_key

SPEC = CrlSpec(number=7, this_update=NOW, next_update=NOW + timedelta(days=1))
SERIAL = st.integers(min_value=1, max_value=(1 << 159) - 1)
MOMENT = st.datetimes(
    datetime(1970, 1, 1),  # noqa: DTZ001 - Hypothesis adds the zone
    datetime(2300, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda at: at.replace(microsecond=0))


def issuer(algorithm: KeyAlgorithm = "ec-p256") -> x509.Certificate:
    key = private_key(algorithm, 30)
    spec = AuthoritySpec(
        subject=name(CN="Issuing", O="Example"),
        public_key=key.public_key(),
        serial=99,
        not_before=NOW - timedelta(days=1),
        not_after=NOW + timedelta(days=1000),
        path_length=0,
        constraints=NameConstraints(),
        pointers=Pointers(),
    )
    tbs = draft_root(spec)
    return x509.load_der_x509_certificate(
        complete(tbs, sign(key, tbs, default_hash(key.public_key())))
    )


def signed(spec: CrlSpec, entries: list[bytes], algorithm: KeyAlgorithm = "ec-p256") -> bytes:
    key = private_key(algorithm, 30)
    tbs = draft_crl(spec, issuer(algorithm), key.public_key(), entries)
    return complete(tbs, sign(key, tbs, default_hash(key.public_key())))


def load(der: bytes, algorithm: KeyAlgorithm = "ec-p256") -> x509.CertificateRevocationList:
    found = x509.load_der_x509_crl(der)
    assert found.is_signature_valid(private_key(algorithm, 30).public_key())
    return found


@given(SERIAL, MOMENT, st.sampled_from(Reason), st.none() | MOMENT)
def test_an_entry_says_what_was_put_in(
    serial: int, at: datetime, reason: Reason, invalidity: datetime | None
) -> None:
    (found,) = load(signed(SPEC, [entry(serial, at, reason, invalidity)]))
    assert (found.serial_number, found.revocation_date_utc) == (serial, at)
    said = {each.oid: each.value for each in found.extensions}
    # RFC 5280 §5.3.1: unspecified is said by saying nothing.
    assert (CRLEntryExtensionOID.CRL_REASON in said) is (reason is not Reason.unspecified)
    if reason is not Reason.unspecified:
        code = said[CRLEntryExtensionOID.CRL_REASON]
        assert isinstance(code, x509.CRLReason)
        assert code.reason.value == reason.name
    assert (CRLEntryExtensionOID.INVALIDITY_DATE in said) is (invalidity is not None)
    if invalidity is not None:
        lost = said[CRLEntryExtensionOID.INVALIDITY_DATE]
        assert isinstance(lost, x509.InvalidityDate)
        assert lost.invalidity_date_utc == invalidity


@pytest.mark.parametrize("algorithm", ["ec-p256", "ec-p384", "rsa-2048", "ed25519"])
@pytest.mark.parametrize("count", [0, 1, 200])
def test_lists_pass_all_judges(algorithm: KeyAlgorithm, count: int) -> None:
    entries = [
        entry(n, NOW, Reason.superseded, NOW - timedelta(days=3)) for n in range(1, count + 1)
    ]
    made = signed(SPEC, entries, algorithm)
    found = load(made, algorithm)
    assert len(found) == count
    authority = issuer(algorithm).public_bytes(DER)
    text = judges.openssl_crl(made, issuer=authority)
    assert text.count("Serial Number") == count
    assert ("No Revoked Certificates" in text) is (count == 0)
    assert judges.grave(judges.pkilint_crl(made)) == []
    assert f"{count} revoked cert" in judges.strongswan_print(made, "crl")


def test_openssl_reads_every_reason() -> None:
    entries = [entry(0x1000 + each.value, NOW, each, None) for each in Reason]
    found = judges.openssl_reasons(signed(SPEC, entries), issuer=issuer().public_bytes(DER))
    assert found == {
        "1000": "",
        "1001": "Key Compromise",
        "1002": "CA Compromise",
        "1003": "Affiliation Changed",
        "1004": "Superseded",
        "1005": "Cessation Of Operation",
        "1006": "Certificate Hold",
        "1008": "Remove From CRL",
        "1009": "Privilege Withdrawn",
        "100a": "AA Compromise",
    }


def test_a_full_list_says_its_number_its_issuer_and_its_times() -> None:
    found = load(signed(SPEC, []))
    assert (found.last_update_utc, found.next_update_utc) == (NOW, NOW + timedelta(days=1))
    assert found.issuer == issuer().subject
    kinds = {type(each.value): each for each in found.extensions}
    assert set(kinds) == {x509.AuthorityKeyIdentifier, x509.CRLNumber}
    number = kinds[x509.CRLNumber]
    assert number.value == x509.CRLNumber(7)
    assert not number.critical


def test_a_shard_has_a_critical_scope_with_its_url() -> None:
    url = "http://c.example/crl/i/3.crl"
    made = signed(CrlSpec(7, NOW, NOW + timedelta(days=1), shard_url=url), [])
    scope = load(made).extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert scope.critical
    assert scope.value.full_name == [x509.UniformResourceIdentifier(url)]
    # RFC 5280 §5.2.5: flags that are false are not encoded, and this list is about everything in the shard.
    assert not scope.value.only_contains_user_certs
    assert not scope.value.indirect_crl
    assert judges.grave(judges.pkilint_crl(made)) == []


def test_a_delta_names_its_base_critically() -> None:
    made = signed(CrlSpec(9, NOW, NOW + timedelta(days=1), base_number=7), [])
    base = load(made).extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert base.critical
    assert base.value.crl_number == 7
    assert judges.grave(judges.pkilint_crl(made)) == []


def test_a_full_list_may_tell_where_its_delta_is() -> None:
    url = "http://c.example/delta.crl"
    made = signed(CrlSpec(9, NOW, NOW + timedelta(days=1), freshest_url=url), [])
    freshest = load(made).extensions.get_extension_for_class(x509.FreshestCRL)
    assert not freshest.critical
    assert freshest.value[0].full_name == [x509.UniformResourceIdentifier(url)]
    assert judges.grave(judges.pkilint_crl(made)) == []


def test_large_numbers_stay_positive() -> None:
    # RFC 5280 §5.2.3: up to 20 octets.
    number = (1 << 159) - 1
    found = load(signed(CrlSpec(number, NOW, NOW + timedelta(days=1)), []))
    assert found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == number


def test_a_list_past_2050_uses_generalized_time() -> None:
    at = datetime(2056, 1, 2, 3, 4, 5, tzinfo=UTC)
    made = signed(CrlSpec(7, at, at + timedelta(days=1)), [entry(5, at, Reason.superseded, at)])
    found = load(made)
    assert found.last_update_utc == at
    assert [each.revocation_date_utc for each in found] == [at]
    assert judges.grave(judges.pkilint_crl(made)) == []


def test_ten_thousand_entries_are_all_there() -> None:
    wanted = [serials.from_random(n.to_bytes(16, "big"), NOW) for n in range(10_000)]
    made = signed(SPEC, [entry(n, NOW, Reason.keyCompromise, None) for n in wanted])
    found = load(made)
    assert [each.serial_number for each in found] == wanted
    assert found.get_revoked_certificate_by_serial_number(wanted[5_000]) is not None
