"""Identities as the service writes them and as charon prints them."""

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ike.daemons import matching
from ike.daemons.strongswan import names
from tests.ike.daemons.contract import Pki

SAID = [
    ("dns:gw.example.com", "gw.example.com", True),
    ("dns:GW.example.com", "gw.EXAMPLE.com", True),
    ("dns:gw.example.com", "gw.example.org", False),
    ("ip:192.0.2.1", "192.0.2.1", True),
    ("ip:2001:db8::1", "2001:DB8:0::1", True),
    ("ip:192.0.2.1", "gw.example.com", False),
    ("ip:192.0.2.1", "%any", False),
    ("email:a@b.example", "a@b.example", True),
    ("dn:CN=gw,O=Example Ltd,C=CH", "C=CH, O=Example Ltd, CN=gw", True),
    ("dn:CN=gw,O=Example\\, Ltd,C=CH", "C=CH, O=Example, Ltd, CN=gw", True),
    ("dn:CN=gw,O=Example Ltd,C=CH", "C=CH, O=Example Ltd, CN=gw2", False),
    ("dn:CN=gw", "gw", False),
    ("dn:=", "CN=gw", False),
    # Patterns: charon lets a peer in under one that its certificate's name fits.
    ("dns:gw.example.com", "*.example.com", True),
    ("dns:gw.example.com", "*.example.org", False),
    ("dns:gw.example.com", "*", True),
    ("email:a@b.example", "*@b.example", True),
    ("ip:192.0.2.1", "192.0.2.0/24", True),
    ("ip:192.0.2.1", "192.0.2.0-192.0.2.9", True),
    ("ip:192.0.2.1", "2001:db8::/32", False),
    ("dn:CN=gw,O=Example Ltd,C=CH", "C=CH, O=*, CN=gw", True),
    ("dn:CN=gw,O=Example Ltd,C=CH", "CN=*", False),
]


@pytest.mark.parametrize(("identity", "printed", "same"), SAID)
def test_what_charon_prints_is_recognised(identity: str, printed: str, same: bool) -> None:
    assert names.is_said(identity, printed) is same


@given(st.sampled_from(["dns", "ip", "email", "dn", "key"]), st.text(), st.text())
def test_nothing_that_a_peer_may_call_itself_breaks_it(kind: str, value: str, said: str) -> None:
    names.is_said(f"{kind}:{value}", said)


def test_a_certificate_proves_its_names_and_its_subject() -> None:
    made = Pki().leaf("gw.example.com").certificate
    assert names.proves(made, "gw.example.com")
    assert names.proves(made, "CN=gw.example.com")
    assert names.proves(made, matching.key_id(made.public_key()))
    assert not names.proves(made, "other.example.com")


def test_keys_are_named_as_charon_does() -> None:
    made = Pki().leaf().certificate
    extension = made.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert matching.key_id(made.public_key()) == extension.value.digest.hex()
