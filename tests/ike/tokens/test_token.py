"""A token of SoftHSM2: keys are made, sign, and go; what is wrong with it is told."""

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
)

from core.secret import Secret
from ike.agent.keys import request_by
from ike.tokens import process
from ike.tokens.errors import (
    PinRefused,
    PinUnreadable,
    TokenAbsent,
    TokenFailed,
    TokenKeyMissing,
    TokenKeyUnsupported,
    TokenModuleUnusable,
    TokenSlow,
)
from ike.tokens.keys import private_key
from ike.tokens.pin import read_pin
from ike.tokens.process import Answer, Work, ask
from ike.tokens.uri import TokenUri
from pki.x509 import renewal
from pki.x509.keys import key_algorithm
from pki.x509.signing import PublicKey
from tests.fixtures.softhsm import LABEL, MODULE, SoftToken

PIN = Secret("1234")


def make(token: SoftToken, label: str, kind: str = "ec-p256") -> tuple[TokenUri, bytes]:
    uri = replace(token.place, object=label, id=label.encode())
    return uri, ask(uri, PIN, Work("make", kind=kind)).octets


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "rsa-3072"])
def test_a_key_signs_requests_and_stays(token: SoftToken, kind: str) -> None:
    uri, made = make(token, "ikewarden-x-1", kind)
    public = load_der_public_key(made)
    assert isinstance(public, PublicKey)
    assert key_algorithm(public) == kind
    assert ask(uri, PIN, Work("public")) == Answer(made)
    key = private_key(made, lambda how, data: ask(uri, PIN, Work("sign", how, data)).octets)
    csr = x509.load_pem_x509_csr(request_by(key, ["dns:a.example"]).encode())
    assert csr.is_signature_valid
    renewal.verify(public, b"request", renewal.prove(key, b"request"))
    with pytest.raises(TypeError):
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    names = ("SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL")  # the last: generated there
    held = token.look(
        "(key,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})\n"
        f"told = [key[getattr(Attribute, name)] for name in {names}]"
    )
    assert held == [True, True, True]


def test_a_kind_that_charon_does_not_sign_with_is_refused(token: SoftToken) -> None:
    with pytest.raises(TokenKeyUnsupported):
        make(token, "ikewarden-x-1", "ed25519")
    assert token.labels() == []


def test_only_what_bears_the_mark_and_is_not_kept_goes(token: SoftToken) -> None:
    kept, _ = make(token, "ikewarden-a-1")
    for label in ("ikewarden-a-2", "ikewarden-b-1", "mine"):
        make(token, label)
    work = Work("sweep", prefix="ikewarden-a-", keep=(kept.id,))
    assert ask(token.place, PIN, work).count == 2  # two halves
    assert token.labels() == ["ikewarden-a-1", "ikewarden-b-1", "mine"]


def test_what_is_missing_is_told(token: SoftToken) -> None:
    with pytest.raises(TokenKeyMissing):
        ask(replace(token.place, id=b"\x09"), PIN, Work("public"))
    for other in (replace(token.place, token="another"), replace(token.place, serial="0000")):
        with pytest.raises(TokenAbsent):
            ask(other, PIN, Work("public"))
    for path in ("/nonexistent.so", "/etc/hostname", "/lib/x86_64-linux-gnu/libz.so.1"):
        broken = TokenUri(Path(path), token.pin_file, token=LABEL)
        with pytest.raises(TokenModuleUnusable):
            ask(broken, PIN, Work("public"))
    assert Path(MODULE).exists()


def test_a_token_that_was_taken_out_is_found_again(token: SoftToken) -> None:
    token.take_out()
    with pytest.raises((TokenAbsent, TokenModuleUnusable)):
        make(token, "ikewarden-x-1")
    token.put_back()
    make(token, "ikewarden-x-1")


def test_a_wrong_pin(token: SoftToken) -> None:
    with pytest.raises(PinRefused) as refused:
        ask(token.place, Secret("9999"), Work("public"))
    assert "9999" not in str(refused.value)


def test_a_module_that_hangs_or_says_nothing(
    token: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_SECONDS", 0.01)
    with pytest.raises(TokenSlow):
        ask(token.place, PIN, Work("public"))
    monkeypatch.setattr(process, "_SECONDS", 60)
    monkeypatch.setattr("sys.executable", "/bin/true")
    with pytest.raises(TokenFailed):
        ask(token.place, PIN, Work("public"))


def test_the_file_of_the_pin(tmp_path: Path) -> None:
    path = tmp_path / "pin"
    with pytest.raises(PinUnreadable):
        read_pin(path)
    path.write_text("1234\n")
    path.chmod(0o644)
    with pytest.raises(PinUnreadable):
        read_pin(path)
    path.chmod(0o600)
    found, stamp = read_pin(path)
    assert found.reveal() == b"1234"
    assert read_pin(path)[1] == stamp
    for wrong in ("", "\n", "a\nb", 'a"b', "a" * 300, "ä"):
        path.write_text(wrong)
        with pytest.raises(PinUnreadable):
            read_pin(path)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(PinUnreadable):
        read_pin(link)
