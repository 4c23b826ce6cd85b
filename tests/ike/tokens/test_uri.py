"""PKCS#11 URIs: read, written, refused."""

from pathlib import Path

import pytest

from ike.tokens.errors import TokenUriInvalid
from ike.tokens.uri import TokenUri, parse

REST = "module-path=/usr/lib/m.so&pin-source=file:/etc/pin"


def test_a_token_and_a_key_in_it() -> None:
    found = parse(f"pkcs11:token=my%20token;object=a%2Fb;id=%01%ff;type=private?{REST}")
    assert found == TokenUri(
        Path("/usr/lib/m.so"), Path("/etc/pin"), "my token", object="a/b", id=b"\x01\xff"
    )
    assert parse(str(found)) == found
    assert found.place == TokenUri(Path("/usr/lib/m.so"), Path("/etc/pin"), "my token")


@pytest.mark.parametrize("source", ["/etc/pin", "file:/etc/pin", "file:///etc/pin"])
def test_the_ways_to_write_a_file(source: str) -> None:
    uri = parse(f"pkcs11:serial=0123?module-path=/m.so&pin-source={source}")
    assert uri.pin_source == Path("/etc/pin")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file:/etc/key",
        "pkcs11:",
        f"pkcs11:?{REST}",
        f"pkcs11:id=%01?{REST}",
        "pkcs11:token=a",
        "pkcs11:token=a?module-path=/m.so",
        "pkcs11:token=a?pin-source=/etc/pin",
        "pkcs11:token=a?module-path=m.so&pin-source=/etc/pin",
        "pkcs11:token=a?module-path=/m.so&pin-source=|echo",
        f"pkcs11:token=a;token=b?{REST}",
        f"pkcs11:token=a;manufacturer=b?{REST}",
        f"pkcs11:token=a;type=cert?{REST}",
        f"pkcs11:token=%zz?{REST}",
        f"pkcs11:token=%ff?{REST}",
        f"pkcs11:token=%0a?{REST}",
        f"pkcs11:token?{REST}",
        f"pkcs11:token={'a' * 3000}?{REST}",
        f"pkcs11:token=a;id={'%00' * 65}?{REST}",
    ],
)
def test_what_names_no_token_is_refused(text: str) -> None:
    with pytest.raises(TokenUriInvalid):
        parse(text)


def test_a_pin_in_the_uri_is_refused_and_not_repeated() -> None:
    with pytest.raises(TokenUriInvalid) as refused:
        parse(f"pkcs11:token=a?{REST}&pin-value=4711")
    assert "4711" not in str(refused.value)
    assert "pin-source" in refused.value.next_step
