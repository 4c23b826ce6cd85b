"""Name constraints: we never issue what OpenSSL would then refuse, and the texts read back."""

from datetime import timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from core.errors import IkewardenError
from pki.x509.authority import AuthoritySpec, Pointers, draft_root, draft_subordinate
from pki.x509.builtin import builtin_profiles
from pki.x509.constraints import BadConstraint, NameConstraints, NameOutsideConstraints, Subtree
from pki.x509.draft import Mould, Subject
from pki.x509.names import GeneralName, InvalidName
from pki.x509.signing import PublicKey, complete, default_hash, sign
from tests import judges
from tests.fixtures.desk import NOW
from tests.pki.requests import DER, name, private_key


def check(constraints: NameConstraints, *texts: str) -> None:
    constraints.check(map(GeneralName.parse, texts))


@pytest.mark.parametrize(
    "text",
    [
        "dns:example.com",
        "ip:192.0.2.0/24",
        "ip:2001:db8::/32",
        "ip:192.0.2.7/32",
        "email:example.com",
        "email:.example.com",
        "email:Carol@example.com",
        "uri:example.com",
        "uri:.example.com",
        "dn:O=Example,C=DE",
    ],
)
def test_texts_read_back_through_a_certificate(text: str) -> None:
    subtree = Subtree.parse(text)
    constraints = NameConstraints((subtree,), ())
    certificate = _authority(constraints)
    assert NameConstraints.of(certificate) == constraints
    assert Subtree.parse(str(subtree)) == subtree


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dns:",
        "dns",
        "dns: ",
        "DNS:example.com",
        "host:example.com",
        "dns:.example.com",
        "dns:*.example.com",
        "dns:exa mple.com",
        "dns:exämple.com",
        "dns:example.com/24",
        "dns:a\x00.example",
        "dns:-a.example",
        "ip:192.0.2.1/24",
        "ip:192.0.2.0/255.0.255.0",
        "ip:nonsense",
        "ip:192.0.2.0/33",
        "email:a@b@c",
        "email:@example.com",
        "email:exa mple",
        "email:..",
        "uri:http://example.com/",
        "uri:192.0.2.1",
        "uri:exa mple",
        "dn:nonsense",
        "dn: ",
        "dn:CN=",
    ],
)
def test_what_is_no_constraint_is_refused(text: str) -> None:
    with pytest.raises(BadConstraint) as caught:
        Subtree.parse(text)
    assert caught.value.code == "name_constraint_malformed"


@given(st.sampled_from(["dns", "ip", "email", "uri", "dn"]), st.text(max_size=40))
def test_any_text_is_a_constraint_that_fits_into_a_certificate_or_our_error(
    kind: str, rest: str
) -> None:
    try:
        subtree = Subtree.parse(f"{kind}:{rest}")
    except IkewardenError:
        return
    assert Subtree.parse(str(subtree)) == subtree
    x509.NameConstraints([subtree.to_x509()], None).public_bytes()
    for other in ("dns:a.example", "ip:192.0.2.1", "email:a@b.example", "uri:http://a/", "dn:CN=a"):
        if other.startswith(kind + ":"):
            subtree.covers(GeneralName.parse(other))


def test_excluded_directory_names_break_strongswan() -> None:
    with pytest.raises(BadConstraint, match="strongSwan"):
        NameConstraints.parse([], ["dn:O=Example"])


def test_no_constraints_permit_everything() -> None:
    nothing = NameConstraints()
    assert not nothing
    check(nothing, "dns:a.example", "ip:192.0.2.1", "dn:CN=a", "uri:urn:x", "email:a@b.example")
    with pytest.raises(ValueError, match="permitted"):
        nothing.to_x509()


def test_what_is_excluded_is_refused_even_where_it_is_permitted() -> None:
    both = NameConstraints.parse(["dns:example"], ["dns:secret.example"])
    check(both, "dns:a.example")
    with pytest.raises(NameOutsideConstraints) as caught:
        check(both, "dns:a.example", "dns:a.secret.example")
    assert caught.value.code == "name_outside_constraints"
    assert "a.secret.example" in caught.value.message


# The judge: (permitted, excluded), names. Each is issued regardless and shown to OpenSSL; what it refuses, we must
# refuse. What it accepts we accept too, but for the cases below.
PERMITTED = [
    ("dns:example.com", ["dns:example.com", "dns:a.example.com", "dns:a.b.example.com"]),
    ("dns:example.com", ["dns:badexample.com", "dns:example.org", "dns:com", "ip:192.0.2.1"]),
    ("ip:192.0.2.0/24", ["ip:192.0.2.0", "ip:192.0.2.255", "ip:192.0.3.0", "ip:2001:db8::1"]),
    ("ip:2001:db8::/32", ["ip:2001:db8::1", "ip:2001:db9::1", "ip:192.0.2.1", "dns:a.example"]),
    ("email:example.com", ["email:a@example.com", "email:a@b.example.com", "email:a@b.example"]),
    (
        "email:.example.com",
        ["email:a@example.com", "email:a@b.example.com", "email:a@c.b.example.com"],
    ),
    ("email:Carol@example.com", ["email:Carol@example.com", "email:carol@example.com"]),
    ("email:carol@example.com", ["email:Carol@example.com", "email:b@example.com"]),
    ("uri:example.com", ["uri:http://example.com/", "uri:http://a.example.com/", "uri:ike://b/x"]),
    ("uri:.example.com", ["uri:http://a.example.com:80/x", "uri:http://example.com/"]),
    (
        "uri:example.com",
        ["uri:http://u@example.com/", "uri:urn:example.com", "uri:http://192.0.2.1/"],
    ),
    ("dn:O=Example", ["dn:CN=a,O=Example", "dn:O=Example", "dn:O=Other", "dn:O=Example,CN=a"]),
    ("dn:O=Example", ["dns:a.example", "dn:O=EXAMPLE"]),
]
EXCLUDED = [
    ("dns:example.com", ["dns:example.com", "dns:a.example.com", "dns:example.org"]),
    ("ip:192.0.2.0/24", ["ip:192.0.2.7", "ip:192.0.3.7", "ip:2001:db8::1"]),
    ("email:example.com", ["email:a@example.com", "email:a@b.example.com", "email:a@b.example"]),
    ("email:.example.com", ["email:a@example.com", "email:a@b.example.com"]),
    ("email:carol@example.com", ["email:carol@example.com", "email:dave@example.com"]),
    ("uri:example.com", ["uri:http://example.com/", "uri:http://example.org/", "uri:urn:a"]),
    (
        "uri:.example.com",
        ["uri:http://a.example.com/", "uri:http://192.0.2.1/", "uri:http://[::1]/"],
    ),
]
# Where we are stricter on purpose: RFC 5280 §4.2.1.10 says that a URI whose host is an address does not match, and
# directory names are compared as they are written.
STRICTER = {
    ("uri:example.com", "uri:http://192.0.2.1/"),
    ("uri:.example.com", "uri:http://192.0.2.1/"),
    ("uri:.example.com", "uri:http://[::1]/"),
    ("dn:O=Example", "dn:O=EXAMPLE"),
}
CASES = [
    pytest.param(side, constraint, text, id=f"{side} {constraint} {text}")
    for side, table in (("permitted", PERMITTED), ("excluded", EXCLUDED))
    for constraint, texts in table
    for text in texts
]


@pytest.mark.parametrize(("side", "constraint", "text"), CASES)
def test_we_refuse_what_openssl_refuses(side: str, constraint: str, text: str) -> None:
    lists = ([constraint], []) if side == "permitted" else ([], [constraint])
    constraints = NameConstraints.parse(*lists)
    ours = _verdict(lambda: check(constraints, text))
    theirs = _verdict(lambda: _openssl(constraints, GeneralName.parse(text)))
    if (constraint, text) in STRICTER:
        assert not ours
    else:
        assert ours is theirs


def _verdict(judge: object) -> bool:
    assert callable(judge)
    try:
        judge()
    except (NameOutsideConstraints, judges.Refused):
        return False
    return True


@pytest.mark.parametrize(
    ("common", "text"),
    [
        ("carol.smith", "email:carol@example.com"),
        ("carol", "email:carol@example.com"),
        ("Carol Smith", "email:carol@example.com"),
        ("carol.example.com", "email:carol@example.com"),
        ("192.0.2.1", "ip:192.0.2.1"),
        ("a_b.example.org", "ip:192.0.2.1"),
        ("-a.example.org", "ip:192.0.2.1"),
        ("a..example.org", "ip:192.0.2.1"),
        ("evil.example.org", "dns:a.example.com"),
    ],
)
def test_a_common_name_that_looks_like_a_host_name_is_constrained(common: str, text: str) -> None:
    constraints = NameConstraints.parse(["dns:example.com"], [])
    subject = Subject(name(CN=common), (GeneralName.parse(text),))
    ours = _verdict(lambda: constraints.check(subject.constrained()))
    assert ours is _verdict(lambda: _verified(constraints, subject))


@pytest.mark.parametrize(
    "common", ["a.example.org.", "*.example.org", "a.*.example.org.", " a.example.org ", "f*.example.org"]
)  # fmt: skip
def test_a_common_name_that_others_would_take_for_a_host_name_is_constrained_too(
    common: str,
) -> None:
    constraints = NameConstraints.parse(["dns:example.com"], [])
    subject = Subject(name(CN=common), (GeneralName.parse("email:carol@example.com"),))
    with pytest.raises(NameOutsideConstraints):
        constraints.check(subject.constrained())
    inside = name(CN=common.replace("example.org", "example.com"))
    constraints.check(Subject(inside, subject.names).constrained())


def _openssl(constraints: NameConstraints, text: GeneralName) -> None:
    names = (text,) if text.kind != "dn" else ()
    subject = x509.Name.from_rfc4514_string(text.value) if text.kind == "dn" else name()
    _verified(constraints, Subject(subject, names))


def _verified(constraints: NameConstraints, subject: Subject) -> None:
    authority = _authority(constraints)
    key = private_key("ec-p256", 11)
    mould = Mould(builtin_profiles()["gateway"], authority, _public(11), Pointers())
    made = mould.draft(
        subject,
        private_key().public_key(),
        serial=7,
        not_before=NOW - timedelta(hours=1),
        not_after=NOW + timedelta(days=1),
        shard=0,
    )
    leaf = complete(made.tbs, sign(key, made.tbs, made.digest))
    judges.openssl_verify(
        leaf, root=_root().public_bytes(DER), between=[authority.public_bytes(DER)]
    )


def _public(number: int) -> PublicKey:
    return private_key("ec-p256", number).public_key()


def _spec(subject: str, number: int, constraints: NameConstraints) -> AuthoritySpec:
    return AuthoritySpec(
        subject=name(CN=subject),
        public_key=_public(number),
        serial=number,
        not_before=NOW - timedelta(hours=1),
        not_after=NOW + timedelta(days=2),
        path_length=None,
        constraints=constraints,
        pointers=Pointers(),
    )


def _root() -> x509.Certificate:
    tbs = draft_root(_spec("Root", 10, NameConstraints()))
    return _signed(tbs)


def _signed(tbs: bytes) -> x509.Certificate:
    key = private_key("ec-p256", 10)
    return x509.load_der_x509_certificate(
        complete(tbs, sign(key, tbs, default_hash(key.public_key())))
    )


def _authority(constraints: NameConstraints) -> x509.Certificate:
    return _signed(draft_subordinate(_spec("Issuing", 11, constraints), _root(), _public(10)))


def test_an_authority_without_the_extension_is_not_constrained() -> None:
    assert NameConstraints.of(_root()) == NameConstraints()


def test_the_extension_is_critical() -> None:
    # RFC 5280 §4.2.1.10: Conforming CAs MUST mark this extension as critical.
    made = _authority(NameConstraints.parse(["dns:example"], []))
    assert made.extensions.get_extension_for_class(x509.NameConstraints).critical


def test_names_that_are_no_names_never_reach_the_check() -> None:
    with pytest.raises(InvalidName):
        GeneralName.parse("dns:*.example.com")
