"""Identities as daemons write them, definitions of managed tunnels, drift: values in, values out."""

from dataclasses import replace
from typing import Any

import pytest

from core.errors import IkewardenError
from fleet import definitions, identities
from fleet.definitions import ChildDefinition, Definition, End
from fleet.drift import Drift, Wanted, compare


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("gw1.example.com", "dns:gw1.example.com"),
        ("@gw1.example.com", "dns:gw1.example.com"),
        ("GW1.Example.com", "dns:gw1.example.com"),
        ("192.0.2.1", "ip:192.0.2.1"),
        ("2001:DB8::1", "ip:2001:db8::1"),
        ("carol@example.com", "email:carol@example.com"),
        ("C=CH, O=Example, CN=gw1", "dn:CN=gw1,O=Example,C=CH"),
        ("%any", None),
        ("", None),
        ("=", None),
        ("a b\x00", None),
    ],
)
def test_identities_of_daemons(text: str, name: str | None) -> None:
    assert identities.from_daemon(text) == name


GOOD = Definition(
    left_addresses=("192.0.2.1",),
    right_addresses=("gw2.example",),
    children=(ChildDefinition("net", ("10.1.0.0/16",), ("10.2.0.0/16",), start_action="start"),),
)
CHILD = GOOD.children[0]


@pytest.mark.parametrize(
    "change",
    [
        {"left_addresses": ()},
        {"right_addresses": ("192.0.2.1; rm",)},
        {"left_addresses": ("192.0.2.300",)},
        {"left_addresses": ("192.0.2",)},
        {"left_identity": "dns:other.example"},
        {"children": ()},
        {"children": (CHILD, CHILD)},
        {"children": (replace(CHILD, name="a b"),)},
        {"children": (replace(CHILD, left_networks=("10.1.0.1/16",)),)},
        {"children": (replace(CHILD, right_networks=()),)},
        {"children": (replace(CHILD, start_action="route"),)},
        {"children": (replace(CHILD, esp_proposals=("aes; x",)),)},
        {"proposals": ("AES\n",)},
        {"proposals": ("aes256gcm16-ecp384",)},  # without a PRF
        {"proposals": ("aes256-sha256",)},  # without a group
        {"children": (replace(CHILD, esp_proposals=("sha256-ecp384",)),)},
        {"rekey_seconds": 1},
        {"revocation": "none"},
    ],
    ids=str,
)
def test_definitions_that_no_daemon_shall_see(change: dict[str, Any]) -> None:
    with pytest.raises(IkewardenError) as refused:
        definitions.checked(replace(GOOD, **change), ("dns:a.example",), ("dns:b.example",))
    assert refused.value.code == "tunnel_refused"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"proposals": ("aes256-sha256-ecp384", "aes256-sha265-ecp384")},
            "Write proposals of IKE as aes256gcm16-prfsha384-ecp384. No daemon takes 'aes256-sha265-ecp384':"
            " an algorithm that strongSwan does not know.",
        ),
        (
            {"left_addresses": ("192.0.2.1", "192.0.2.300")},
            "'192.0.2.300' is neither an IP address nor a host name.",
        ),
        (
            {"children": (replace(CHILD, left_networks=("10.0.0.0/16", "10.1.0.5/16")),)},
            "'10.1.0.5/16' has host bits: the network is 10.1.0.0/16.",
        ),
        (
            {"children": (replace(CHILD, left_networks=("10.1/16",)),)},
            "'10.1/16' is no network: write an address with its length, as 10.1.0.0/16.",
        ),
    ],
)
def test_what_was_typed_is_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(IkewardenError) as refused:
        definitions.checked(replace(GOOD, **change), ("dns:a.example",), ("dns:b.example",))
    assert refused.value.message == told


@pytest.mark.parametrize("name", ["include", "", "-a", "a b", "a/b", "a{", "x" * 64, "a\n"])
def test_names_that_no_daemon_shall_see(name: str) -> None:
    with pytest.raises(IkewardenError):
        definitions.check_name(name)


def test_a_definition_is_kept_and_seen_from_both_ends() -> None:
    made = definitions.checked(GOOD, ("dns:a.example",), ("dns:b.example",))
    assert definitions.from_document(definitions.document(made)) == made
    ends = (End(("dns:a.example",), ("aa",)), End(("dns:b.example", "ip:192.0.2.2"), ("bb", "b2")))
    left = definitions.connection("t", made, ends, left=True)
    right = definitions.connection("t", made, ends, left=False)
    assert (left.local_id, left.remote_id, left.remote_authority) == (
        "dns:a.example",
        "dns:b.example",
        "bb",
    )
    assert (right.local_id, right.remote_id, right.remote_authority) == (
        "dns:b.example",
        "dns:a.example",
        "aa",
    )
    assert (left.more_authorities, right.more_authorities) == (("b2",), ())
    assert left.children[0].local_ts == right.children[0].remote_ts == ("10.1.0.0/16",)
    assert (left.children[0].start_action, right.children[0].start_action) == ("start", "none")


WANTED = Wanted(
    leaf="new",
    authorities=frozenset({"ca"}),
    crls={"CN=CA": 7},
    connections=frozenset({"t"}),
)


def _held(name: str, **more: bool) -> dict[str, Any]:
    plain = {"fingerprint": name, "subject": "", "authority": False, "has_key": False}
    return {**plain, "cached": False, **more}


CALM = {
    "certificates": [_held("new", has_key=True), _held("ca", authority=True), _held("peer")],
    "crls": [{"issuer": "CN=CA", "number": 7}],
    "connections": ["t", "somebody else's"],
}


def test_what_is_as_it_should_be_does_not_drift() -> None:
    assert compare(WANTED, CALM) == ()
    newer = {**CALM, "crls": [{"issuer": "CN=CA", "number": 8}]}
    assert compare(WANTED, newer) == ()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"connections": []}, Drift("connection", "t", "not_loaded")),
        ({"crls": []}, Drift("crl", "CN=CA", "not_loaded")),
        ({"crls": [{"issuer": "CN=CA", "number": 6}]}, Drift("crl", "CN=CA", "outdated")),
        (
            {"certificates": [*CALM["certificates"], _held("old", has_key=True)]},
            Drift("certificate", "old", "not_desired"),
        ),
        (
            {"certificates": [*CALM["certificates"], _held("old", has_key=True, cached=True)]},
            Drift("certificate", "old", "in_use"),
        ),
        (
            {"certificates": [*CALM["certificates"], _held("old", cached=True, in_use=True)]},
            Drift("certificate", "old", "in_use"),
        ),
        (
            {"certificates": [_held("new"), _held("ca", authority=True)]},
            Drift("certificate", "new", "not_loaded"),
        ),
        (
            {"certificates": [_held("new", has_key=True)]},
            Drift("authority", "ca", "not_loaded"),
        ),
    ],
)
def test_each_kind_of_drift(change: dict[str, Any], found: Drift) -> None:
    assert compare(WANTED, {**CALM, **change}) == (found,)
