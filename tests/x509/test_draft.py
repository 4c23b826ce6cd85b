"""What a profile makes of a request: which names and subject, which extensions, for which dates."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from core.errors import IkewardenError
from hsm.ports import KeyAlgorithm
from pki.x509 import draft as drafts
from pki.x509.authority import AuthoritySpec, Pointers, draft_root
from pki.x509.builtin import builtin_profiles
from pki.x509.constraints import NameConstraints
from pki.x509.csr import read_csr
from pki.x509.draft import Draft, Mould, NameKindRefused, NameMissing, Subject, subject_for
from pki.x509.keys import key_algorithm
from pki.x509.names import GeneralName, InvalidName
from pki.x509.profile import Profile
from pki.x509.signing import complete, default_hash, sign
from tests.pki import requests
from tests.pki.requests import handmade, name, private_key

pytestmark = pytest.mark.filterwarnings("ignore:Attribute's length must be")

PROFILES = builtin_profiles()
START = datetime(2030, 1, 1, 12, 0, 0, 999_999, tzinfo=UTC)
URLS = Pointers("http://c.example/i.crl", "http://c.example/ocsp", "http://c.example/i.crt")
SHARDED = replace(URLS, crl="http://c.example/{shard}.crl")


def names(*texts: str) -> tuple[GeneralName, ...]:
    return tuple(map(GeneralName.parse, texts))


def texts(subject: Subject) -> list[str]:
    return [str(each) for each in subject.names]


# Subjects


def test_the_common_name_comes_from_the_names_where_the_profile_says_so() -> None:
    made = subject_for(
        PROFILES["gateway"],
        name(CN="ignored", O="Example", UID="dropped"),
        names("ip:192.0.2.1", "dns:gw1.example", "dns:gw2.example"),
    )
    assert made.name == name(O="Example", CN="gw1.example")
    assert texts(made) == ["ip:192.0.2.1", "dns:gw1.example", "dns:gw2.example"]


def test_a_name_too_long_for_a_common_name_is_passed_over() -> None:
    long = "dns:" + ".".join(["a" * 30] * 3) + ".example"
    made = subject_for(PROFILES["gateway"], name(), names(long, "ip:192.0.2.1"))
    assert made.name == name(CN="192.0.2.1")
    assert list(subject_for(PROFILES["gateway"], name(), names(long)).name) == []


def test_a_common_name_becomes_a_name_where_there_is_no_other() -> None:
    gateway = PROFILES["gateway"]
    assert texts(subject_for(gateway, name(CN="GW1.example"), ())) == ["dns:gw1.example"]
    assert texts(subject_for(gateway, name(CN="other"), names("dns:a.example"))) == [
        "dns:a.example"
    ]
    with pytest.raises(InvalidName):
        subject_for(gateway, name(CN="not a host"), ())
    with pytest.raises(NameMissing):
        subject_for(PROFILES["user"], name(CN="carol"), ())


def test_the_same_name_twice_is_there_once() -> None:
    made = subject_for(PROFILES["gateway"], name(), names("dns:a.example", "dns:A.example"))
    assert texts(made) == ["dns:a.example"]


def test_names_of_a_kind_that_the_profile_does_not_carry_are_refused() -> None:
    with pytest.raises(NameKindRefused) as caught:
        subject_for(
            PROFILES["windows-gateway"], name(), names("dns:a.example", "email:a@b.example")
        )
    assert caught.value.code == "name_kind_refused"


def test_a_certificate_without_a_needed_name_is_refused() -> None:
    with pytest.raises(NameMissing) as caught:
        subject_for(PROFILES["user"], name(CN="carol"), names("dns:a.example"))
    assert caught.value.code == "name_missing"


def test_windows_finds_addresses_among_the_host_names() -> None:
    made = subject_for(
        PROFILES["windows-gateway"],
        name(),
        names("ip:192.0.2.1", "ip:2001:db8::1", "dns:a.example"),
    )
    assert texts(made) == [
        "ip:192.0.2.1",
        "ip:2001:db8::1",
        "dns:a.example",
        "dns:192.0.2.1",
    ]
    assert made.name == name(CN="a.example")


def _subject(*attributes: tuple[str, int, bytes]) -> x509.Name:
    """A subject as it comes out of a request, with the string type and length that stood there."""
    rdns = b"".join(
        drafts_tlv(0x31, drafts_tlv(0x30, bytes.fromhex(oid) + drafts_tlv(tag, value)))
        for oid, tag, value in attributes
    )
    return read_csr(handmade(subject=drafts_tlv(0x30, rdns))).subject


def drafts_tlv(tag: int, content: bytes) -> bytes:
    return requests.der.tlv(tag, content)


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (0x0C, "Grüße".encode()),
        (0x1E, "Grüße".encode("utf-16-be")),
        (0x1C, "Grüße".encode("utf-32-be")),
    ],
    ids=["utf8", "bmp", "universal"],
)
def test_attributes_are_written_anew_as_utf8(tag: int, value: bytes) -> None:
    # RFC 5280 §4.1.2.4: CAs MUST use PrintableString or UTF8String.
    made = subject_for(
        PROFILES["user"], _subject(("060355040a", tag, value)), names("email:a@b.example")
    )
    assert b"\x0c\x07" + "Grüße".encode() in made.name.public_bytes()


@pytest.mark.parametrize(
    ("oid", "tag", "value"),
    [
        ("0603550406", 0x13, b"DEU"),
        ("0603550406", 0x13, b"D1"),
        ("0603550403", 0x0C, b"x" * 65),
        ("0603550403", 0x0C, b""),
        ("060355040a", 0x0C, b"x" * 65),
        ("060355040b", 0x0C, b"x" * 65),
        ("060355040a", 0x0C, b"  "),
        ("060355040a", 0x0C, b"Example\x00.evil"),
        ("060355040a", 0x0C, b"line\nbreak"),
        ("060355040a", 0x0C, "right\u202eleft".encode()),
    ],
    ids=[
        "country of three",
        "country of no letters",
        "long common name",
        "empty common name",
        "long organization",
        "long unit",
        "blank",
        "nul",
        "line break",
        "bidi",
    ],
)
def test_attributes_that_no_certificate_may_carry_are_refused(
    oid: str, tag: int, value: bytes
) -> None:
    with pytest.raises(drafts.SubjectRefused) as caught:
        subject_for(PROFILES["user"], _subject((oid, tag, value)), names("email:a@b.example"))
    assert caught.value.code == "subject_refused"


def test_a_name_that_the_library_cannot_write_is_refused() -> None:
    # 64 characters are allowed (RFC 5280 ub-common-name); `cryptography` counts octets.
    with pytest.raises(drafts.SubjectRefused, match="too long"):
        subject_for(
            PROFILES["user"],
            _subject(("0603550403", 0x0C, ("ж" * 64).encode())),
            names("email:a@b.example"),
        )


def test_attributes_that_are_dropped_anyway_may_be_anything() -> None:
    subject = _subject(("0603550403", 0x0C, b"x" * 200), ("0603550409", 0x0C, b"\x01"))
    assert subject_for(PROFILES["gateway"], subject, names("dns:a.example")).name == name(
        CN="a.example"
    )


@pytest.mark.parametrize("value", [b"FTX 1840-ABC", b"a_b", "ü".encode(), b"x" * 65])
def test_serial_numbers_of_devices_are_printable_strings(value: bytes) -> None:
    subject = _subject(("0603550405", 0x0C, value))
    device = PROFILES["network-device"]
    if value == b"FTX 1840-ABC":
        made = subject_for(device, subject, names("dns:r1.example"))
        assert b"\x13\x0cFTX 1840-ABC" in made.name.public_bytes()
    else:
        with pytest.raises(drafts.SubjectRefused):
            subject_for(device, subject, names("dns:r1.example"))


@given(
    st.sampled_from([each for each in PROFILES.values() if not each.internal]),
    st.lists(
        st.tuples(
            st.sampled_from(["0603550403", "0603550406", "060355040a", "0603550405"]),
            st.sampled_from([0x0C, 0x13, 0x16, 0x14]),
            st.text(max_size=70).map(lambda text: text.encode("utf-8", "replace")),
        ),
        max_size=3,
    ),
)
def test_any_subject_gives_a_name_that_can_be_written_or_our_error(
    profile: Profile, attributes: list[tuple[str, int, bytes]]
) -> None:
    wanted = {"user": "email:a@b.example"}.get(profile.name, "dns:a.example")
    try:
        made = subject_for(profile, _subject(*attributes), names(wanted))
    except IkewardenError:
        return
    assert x509.Name.from_rfc4514_string(made.name.rfc4514_string()) == made.name
    assert made.name.public_bytes()


# Certificates


def _issuer(algorithm: KeyAlgorithm = "ec-p256") -> x509.Certificate:
    key = private_key(algorithm, 7)
    spec = AuthoritySpec(
        subject=name(CN="Issuing"),
        public_key=key.public_key(),
        serial=1,
        not_before=START - timedelta(days=1),
        not_after=START + timedelta(days=100),
        path_length=0,
        constraints=NameConstraints(),
        pointers=Pointers(),
    )
    tbs = draft_root(spec)
    return x509.load_der_x509_certificate(
        complete(tbs, sign(key, tbs, default_hash(key.public_key())))
    )


def _draft(
    profile: Profile,
    subject: Subject,
    pointers: Pointers = URLS,
    algorithm: KeyAlgorithm = "ec-p256",
) -> tuple[Draft, x509.Certificate]:
    issuer = _issuer(algorithm)
    key = private_key(algorithm, 7)
    mould = Mould(profile, issuer, key.public_key(), pointers)
    made = mould.draft(
        subject,
        private_key().public_key(),
        serial=(1 << 126) + 5,
        not_before=START,
        not_after=START + timedelta(days=90),
        shard=3,
    )
    certificate = x509.load_der_x509_certificate(
        complete(made.tbs, sign(key, made.tbs, made.digest))
    )
    certificate.verify_directly_issued_by(issuer)
    return made, certificate


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_extensions_are_those_of_the_profile(profile: Profile) -> None:
    subject = Subject(name(CN="a.example"), names("dns:a.example"))
    made, certificate = _draft(profile, subject)
    found = certificate.extensions
    assert found.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
        ca=False, path_length=None
    )
    usage = found.get_extension_for_class(x509.KeyUsage)
    kind = key_algorithm(certificate.public_key())
    assert (usage.value, usage.critical) == (profile.key_usage_extension(kind), True)
    kinds = {type(each.value) for each in found}
    assert (x509.ExtendedKeyUsage in kinds) == bool(profile.extended_key_usage)
    assert (x509.OCSPNoCheck in kinds) == profile.ocsp_no_check
    assert {x509.AuthorityKeyIdentifier, x509.SubjectKeyIdentifier} <= kinds
    assert not found.get_extension_for_class(x509.SubjectAlternativeName).critical
    # The linter sees what will be signed.
    assert made.preview.tbs_certificate_bytes == made.tbs == certificate.tbs_certificate_bytes


def test_with_an_empty_subject_the_alternative_name_is_critical() -> None:
    # RFC 5280 §4.1.2.6
    _, certificate = _draft(PROFILES["user"], Subject(name(), names("email:a@b.example")))
    assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_pointers_name_the_shard() -> None:
    subject = Subject(name(CN="a"), names("dns:a.example"))
    _, certificate = _draft(PROFILES["gateway-sharded"], subject, SHARDED)
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert [point.full_name for point in points] == [
        [x509.UniformResourceIdentifier("http://c.example/3.crl")]
    ]
    assert points[0].crl_issuer is points[0].reasons is None


def test_without_pointers_there_are_no_empty_extensions() -> None:
    _, certificate = _draft(PROFILES["gateway"], Subject(name(CN="a"), ()), Pointers())
    kinds = {type(each.value) for each in certificate.extensions}
    assert not kinds & {
        x509.CRLDistributionPoints,
        x509.AuthorityInformationAccess,
        x509.SubjectAlternativeName,
    }


def test_times_are_whole_seconds() -> None:
    _, certificate = _draft(PROFILES["gateway"], Subject(name(CN="a"), names("dns:a.example")))
    assert certificate.not_valid_before_utc == START.replace(microsecond=0)


@pytest.mark.parametrize(
    ("algorithm", "profile", "digest"),
    [
        ("ec-p256", "gateway", hashes.SHA256),
        ("ec-p384", "gateway", hashes.SHA384),
        ("ec-p521", "gateway", hashes.SHA512),
        ("rsa-3072", "gateway", hashes.SHA256),
        ("rsa-3072", "cnsa", hashes.SHA384),
        ("ec-p384", "cnsa", hashes.SHA384),
        ("ed25519", "gateway", type(None)),
        ("ed25519", "cnsa", type(None)),
    ],
)
def test_the_hash_follows_the_issuers_key_or_the_profile(
    algorithm: KeyAlgorithm, profile: str, digest: type
) -> None:
    subject = Subject(name(CN="a"), names("dns:a.example"))
    _, certificate = _draft(PROFILES[profile], subject, algorithm=algorithm)
    assert isinstance(certificate.signature_hash_algorithm, digest)


def test_a_multi_valued_rdn_is_taken_apart() -> None:
    both = x509.Name(
        [
            x509.RelativeDistinguishedName(
                [
                    x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
                    x509.NameAttribute(NameOID.COMMON_NAME, "carol"),
                ]
            )
        ]
    )
    made = subject_for(PROFILES["user"], both, names("email:a@b.example"))
    assert {each.rfc4514_string() for each in made.name} == {"O=Example", "CN=carol"}
    assert len(made.name.rdns) == 2
