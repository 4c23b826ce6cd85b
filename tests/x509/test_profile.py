"""Profiles: strict at the door, the same document out as in, and the built-in ones."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from importlib.resources import files
from typing import get_args

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from pki.x509.builtin import builtin_profiles
from pki.x509.names import NAME_KINDS
from pki.x509.profile import (
    DIALECTS,
    EXTENDED_KEY_USAGES,
    KEY_USAGES,
    SUBJECT_ATTRIBUTES,
    CrlScope,
    HashChoice,
    InvalidProfile,
    LintLevel,
    Profile,
    format_duration,
    parse_duration,
    parse_profile,
    to_document,
)

MINIMAL: Mapping[str, object] = {
    "name": "site",
    "description": "Branch offices",
    "lifetime": "30d",
    "max_lifetime": "90d",
    "key_algorithms": ["ec-p256"],
    "key_usage": ["digitalSignature"],
    "names": ["dns"],
    "names_required": ["dns"],
}


def _with(**changes: object) -> dict[str, object]:
    return {**MINIMAL, **changes}


# The built-in profiles


def test_the_built_in_profiles() -> None:
    profiles = builtin_profiles()
    assert sorted(profiles) == [
        "cnsa",
        "gateway",
        "gateway-channel",
        "gateway-sharded",
        "host",
        "network-device",
        "ocsp-responder",
        "post-quantum",
        "report-signer",
        "scep-ra",
        "service-tls",
        "strict-rfc4945",
        "user",
        "windows-gateway",
    ]
    stems = {f.name.removesuffix(".toml") for f in (files("pki") / "profiles").iterdir()}
    assert stems == set(profiles)


def test_the_caller_may_keep_the_dictionary() -> None:
    builtin_profiles().clear()
    assert builtin_profiles()


@pytest.mark.parametrize("profile", builtin_profiles().values(), ids=lambda p: p.name)
def test_a_built_in_profile_survives_its_document(profile: Profile) -> None:
    document = json.loads(json.dumps(to_document(profile)))
    assert parse_profile(document, builtin=True) == profile
    assert hash(profile) == hash(replace(profile))


@pytest.mark.parametrize("profile", builtin_profiles().values(), ids=lambda p: p.name)
def test_only_a_sharded_profile_points_at_shards(profile: Profile) -> None:
    # charon and NSS take any cached CRL of an issuer for the whole one.
    special = {"gateway-sharded": "shard", "ocsp-responder": "none", "gateway-channel": "none"}
    expected = special.get(profile.name, "full")
    assert profile.distribution.crl == expected


def test_the_gateway_profile_is_what_every_daemon_takes() -> None:
    gateway = builtin_profiles()["gateway"]
    assert gateway.lifetime == timedelta(days=90)
    assert gateway.backdate == timedelta(minutes=10)
    assert gateway.key_usage_critical
    assert gateway.key_usage_extension().digital_signature
    purposes = gateway.extended_key_usage_extension()
    assert purposes is not None
    assert {oid.dotted_string for oid in purposes} == {
        "1.3.6.1.5.5.7.3.1",
        "1.3.6.1.5.5.7.3.2",
        "1.3.6.1.5.5.7.3.17",
        "1.3.6.1.5.5.8.2.2",
    }
    assert gateway.authenticates_as == "gateway"
    assert gateway.policies_extension() is None


def test_internal_profiles() -> None:
    internal = {name for name, profile in builtin_profiles().items() if profile.internal}
    assert internal == {"service-tls", "ocsp-responder", "scep-ra", "report-signer"}
    responder = builtin_profiles()["ocsp-responder"]
    assert responder.ocsp_no_check
    assert responder.extended_key_usage == ("ocsp_signing",)


def test_profiles_of_their_own() -> None:
    profiles = builtin_profiles()
    assert profiles["strict-rfc4945"].extended_key_usage_extension() is None
    assert profiles["strict-rfc4945"].lint["rfc4945"] == "block"
    assert profiles["cnsa"].key_algorithms == ("ec-p384", "rsa-3072")
    assert profiles["cnsa"].hash == "sha384"
    assert profiles["windows-gateway"].ip_as_dns
    assert profiles["windows-gateway"].key_algorithms == ("rsa-3072", "ec-p256", "ec-p384")
    assert profiles["user"].names_required == ("email",)


def test_key_usage_bits_fit_the_key() -> None:
    device = builtin_profiles()["network-device"]
    assert device.key_usage_extension("rsa-2048").key_encipherment
    assert not device.key_usage_extension("ec-p256").key_encipherment
    assert not device.key_usage_extension("ed25519").key_encipherment
    # Where the key is not known, only what all of them can do.
    assert not device.key_usage_extension().key_encipherment
    assert replace(device, key_algorithms=("rsa-2048",)).key_usage_extension().key_encipherment
    agreement = replace(device, key_usage=("digitalSignature", "keyAgreement"))
    assert agreement.key_usage_extension("ec-p384").key_agreement
    assert not agreement.key_usage_extension("rsa-2048").key_agreement


# Strictness


def test_the_smallest_profile_has_safe_defaults() -> None:
    profile = parse_profile(MINIMAL)
    assert profile.key_usage_critical
    assert profile.distribution.crl == "full"
    assert profile.distribution.ocsp
    assert profile.hash == "auto"
    assert profile.authenticates_as == "none"
    assert not profile.internal
    assert not profile.lint


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"colour": "red"}, "colour"),
        ({"distribution": {"crls": "full"}}, "distribution.crls"),
        ({"distribution": {"crl": "some"}}, "distribution.crl"),
        ({"distribution": {"ocsp": 1}}, "distribution.ocsp"),
        ({"distribution": "full"}, "distribution"),
        ({"lint": {"openswan": "block"}}, "lint.openswan"),
        ({"lint": {"strongswan": "fail"}}, "lint.strongswan"),
        ({"lint": []}, "lint"),
        ({"name": "Site"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": "../x"}, "name"),
        ({"name": 5}, "name"),
        ({"description": ""}, "description"),
        ({"description": "two\nlines"}, "description"),
        ({"lifetime": "90"}, "lifetime"),
        ({"lifetime": 90}, "lifetime"),
        ({"lifetime": "-1d"}, "lifetime"),
        ({"lifetime": "4m"}, "lifetime"),
        ({"lifetime": "91d"}, "max_lifetime"),
        ({"max_lifetime": "4000d"}, "max_lifetime"),
        ({"max_lifetime": "999999w"}, "max_lifetime"),
        ({"backdate": "3d"}, "backdate"),
        ({"lifetime": "5m", "backdate": "6m"}, "backdate"),
        ({"key_algorithms": []}, "key_algorithms"),
        ({"key_algorithms": "ec-p256"}, "key_algorithms"),
        ({"key_algorithms": ["rsa-1024"]}, "key_algorithms[0]"),
        ({"key_algorithms": ["ec-p256", "ec-p256"]}, "key_algorithms[1]"),
        ({"hash": "sha1"}, "hash"),
        ({"key_usage": []}, "key_usage"),
        ({"key_usage": ["keyEncipherment"]}, "key_usage"),
        ({"key_usage": ["digitalSignature", "keyCertSign"]}, "key_usage[1]"),
        ({"key_usage": ["digitalSignature", "cRLSign"]}, "key_usage[1]"),
        ({"key_usage_critical": "yes"}, "key_usage_critical"),
        ({"extended_key_usage": ["serverauth"]}, "extended_key_usage[0]"),
        ({"extended_key_usage": ["server_auth", "1.3.6.1.5.5.7.3.1"]}, "extended_key_usage[1]"),
        ({"extended_key_usage": ["3.1.2"]}, "extended_key_usage[0]"),
        ({"extended_key_usage": ["1.40.2"]}, "extended_key_usage[0]"),
        ({"extended_key_usage": ["1.2.03"]}, "extended_key_usage[0]"),
        ({"extended_key_usage": ["ocsp_signing"]}, "extended_key_usage"),
        ({"extended_key_usage": ["1.3.6.1.5.5.7.3.9"]}, "extended_key_usage"),
        ({"names": ["host"]}, "names[0]"),
        ({"names": ["ip"]}, "names_required"),
        ({"names": ["ip"], "names_required": ["ip"], "cn_from_san": True}, "cn_from_san"),
        ({"names": ["ip"], "names_required": ["ip"], "san_from_cn": True}, "san_from_cn"),
        ({"ip_as_dns": True}, "ip_as_dns"),
        ({"names_required": []}, "names_required"),
        ({"subject": ["EMAIL"]}, "subject[0]"),
        ({"policies": ["any"]}, "policies[0]"),
        ({"policies": ["1.2." + "9" * 40]}, "policies[0]"),
        ({"ocsp_no_check": True}, "ocsp_no_check"),
        ({"authenticates_as": "admin"}, "authenticates_as"),
        (
            {"authenticates_as": "gateway", "extended_key_usage": ["ipsec_ike"]},
            "authenticates_as",
        ),
        ({"internal": True}, "internal"),
    ],
)
def test_refused_profiles_name_the_key(changes: Mapping[str, object], key: str) -> None:
    with pytest.raises(InvalidProfile) as refused:
        parse_profile(_with(**changes))
    assert refused.value.details == {"key": key}
    assert refused.value.code == "invalid_profile"
    assert refused.value.message.startswith(f"{key}: ")
    assert refused.value.next_step


@pytest.mark.parametrize("key", ["name", "lifetime", "key_algorithms", "key_usage"])
def test_missing_keys_are_named(key: str) -> None:
    document = _with()
    del document[key]
    with pytest.raises(InvalidProfile) as refused:
        parse_profile(document)
    assert refused.value.details == {"key": key}


def test_a_gateway_that_authenticates_needs_a_client_certificate() -> None:
    for usages in ([], ["any"], ["client_auth", "ipsec_ike"]):
        parse_profile(_with(authenticates_as="gateway", extended_key_usage=usages))


def test_rfc_spellings_are_understood() -> None:
    profile = parse_profile(
        _with(
            key_usage=["digital_signature", "nonRepudiation"],
            extended_key_usage=["serverAuth", "ipsecIKE", "1.3.6.1.5.5.7.3.2", "1.2.3.4"],
        )
    )
    assert profile.key_usage == ("digitalSignature", "nonRepudiation")
    assert profile.extended_key_usage == ("server_auth", "ipsec_ike", "client_auth", "1.2.3.4")
    assert profile.key_usage_extension().content_commitment
    assert profile.extended_key_usage_extension() == x509.ExtendedKeyUsage(
        [
            ExtendedKeyUsageOID.SERVER_AUTH,
            ExtendedKeyUsageOID.IPSEC_IKE,
            ExtendedKeyUsageOID.CLIENT_AUTH,
            ObjectIdentifier("1.2.3.4"),
        ]
    )


def test_a_profile_cannot_be_changed() -> None:
    profile = parse_profile(_with(lint={"strongswan": "block"}))
    with pytest.raises(TypeError):
        profile.lint["strongswan"] = "off"  # type: ignore[index]


# Any document

_oids = st.one_of(
    st.builds(
        lambda first, rest: ".".join(map(str, (*first, *rest))),
        st.one_of(
            st.tuples(st.integers(0, 1), st.integers(0, 39)),
            st.tuples(st.just(2), st.integers(0, 2**64)),
        ),
        st.lists(st.integers(0, 2**64), min_size=1, max_size=4),
    ),
    st.text("0123456789.", max_size=20),
)
_valid = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True),
        "description": st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=60),
        "lifetime": st.integers(1, 1000).map("{}h".format),
        "max_lifetime": st.integers(60, 3000).map("{}d".format),
        "key_algorithms": st.lists(
            st.sampled_from(["ec-p256", "ed448", "rsa-2048", "rsa-5000"]), min_size=1, unique=True
        ),
        "key_usage": st.sets(st.sampled_from(list(KEY_USAGES))).map(
            lambda usages: sorted(usages | {"digitalSignature"})
        ),
    },
    optional={
        "backdate": st.integers(0, 60).map("{}m".format),
        "hash": st.sampled_from(get_args(HashChoice)),
        "key_usage_critical": st.booleans(),
        "extended_key_usage": st.lists(
            st.sampled_from(sorted(EXTENDED_KEY_USAGES.keys() - {"ocsp_signing"})), unique=True
        ),
        "names": st.just(list(NAME_KINDS)),
        "subject": st.lists(st.sampled_from(list(SUBJECT_ATTRIBUTES)), unique=True, min_size=1),
        "policies": st.lists(_oids, max_size=3, unique=True),
        "distribution": st.fixed_dictionaries(
            {}, optional={"crl": st.sampled_from(get_args(CrlScope)), "ocsp": st.booleans()}
        ),
        "lint": st.dictionaries(st.sampled_from(DIALECTS), st.sampled_from(get_args(LintLevel))),
    },
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(_valid)
def test_a_document_survives_parsing(document: dict[str, object]) -> None:
    try:
        profile = parse_profile(document)
    except InvalidProfile:
        return
    again = json.loads(json.dumps(to_document(profile)))
    assert parse_profile(again) == profile
    assert to_document(parse_profile(again)) == again
    # What was accepted can be put into a certificate.
    profile.key_usage_extension()
    profile.extended_key_usage_extension()
    profile.policies_extension()


@given(_valid, st.sampled_from(sorted(to_document(builtin_profiles()["gateway"]))), _json)
def test_any_value_is_understood_or_refused(
    document: dict[str, object], key: str, junk: object
) -> None:
    named: object = None
    try:
        profile = parse_profile({**document, key: junk})
    except InvalidProfile as error:
        named = error.details["key"]
    else:
        assert parse_profile(to_document(profile)) == profile
        return
    assert named


@given(_json)
def test_any_document_is_understood_or_refused(junk: object) -> None:
    if isinstance(junk, dict):
        with pytest.raises(InvalidProfile):
            parse_profile(junk)


@given(st.integers(0, 10**8))
def test_durations_survive_text(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    text = format_duration(duration)
    if len(text) <= 7:  # six digits and a unit; longer ones are no duration of a profile
        assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "d", "1", "1y", "01d", "1.5d", " 1d", "1d ", "1D", "\u0661d"])
def test_refused_durations(text: str) -> None:
    with pytest.raises(ValueError, match="units"):
        parse_duration(text)
