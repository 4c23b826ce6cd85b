"""Signed heads: published notes, both kinds of keys, and everything that is none."""

import base64

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from hsm.keys import new_key
from hsm.ports import KeyAlgorithm
from pki.tlog import note
from pki.tlog.errors import LogKeyUnreadable, NoteUnreadable, NoteUntrusted
from pki.tlog.note import Checkpoint, VerifierKey

ORIGIN = "pki.example/audit-log/0a1b"
HEAD = Checkpoint(ORIGIN, 1234, bytes(range(32)))
# The examples of golang.org/x/mod/sumdb/note and of c2sp.org/signed-note: key, text, signature.
PUBLISHED = (
    (
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n",
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=",
    ),
    (
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "This is an example message.\n",
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=",
    ),
)


@pytest.mark.parametrize(("line", "text", "signature"), PUBLISHED)
def test_published_keys_and_signatures(line: str, text: str, signature: str) -> None:
    key = VerifierKey.parse(line)
    assert str(key) == line
    raw = base64.b64decode(signature)
    assert raw[:4] == key.id
    key.verify(raw[4:], text.encode())
    with pytest.raises(InvalidSignature):
        key.verify(raw[4:], text.encode() + b"\n")


@pytest.mark.parametrize("algorithm", ["ed25519", "ec-p256", "ec-p384"])
def test_what_is_signed_is_verified(algorithm: KeyAlgorithm) -> None:
    signer = new_key(algorithm)
    key = note.verifier_key(ORIGIN, signer)
    assert VerifierKey.parse(str(key)) == key
    signed = note.sign(HEAD, signer)
    root = base64.b64encode(HEAD.root).decode()
    assert signed.startswith(f"{ORIGIN}\n1234\n{root}\n\n— {ORIGIN} ")
    assert note.verify(signed, key) == note.read(signed) == HEAD


def test_other_signatures_are_let_be() -> None:
    signer, witness = new_key("ed25519"), new_key("ed25519")
    key = note.verifier_key(ORIGIN, signer)
    signed = note.sign(HEAD, signer)
    other = note.sign(HEAD, witness).splitlines()[-1]
    cosigned = signed + other.replace(ORIGIN, "witness.example") + "\n" + other + "\n"
    assert note.verify(cosigned, key) == HEAD
    with pytest.raises(NoteUntrusted):
        note.verify(note.sign(HEAD, witness), key)


def test_a_signature_of_the_key_that_is_wrong_spoils_the_note() -> None:
    signer = new_key("ed25519")
    key = note.verifier_key(ORIGIN, signer)
    raw = bytearray(base64.b64decode(note.sign(HEAD, signer).rstrip().rpartition(" ")[2]))
    raw[-1] ^= 1
    wrong = f"— {ORIGIN} {base64.b64encode(raw).decode()}\n"
    for text in (f"{HEAD.text}\n{wrong}", note.sign(HEAD, signer) + wrong):
        with pytest.raises(NoteUntrusted):
            note.verify(text, key)


@pytest.mark.parametrize(
    "change",
    [
        ("1234", "1235"),
        (ORIGIN, "pki.example/audit-log/0a1c"),
        ("AAECAwQF", "BBECAwQF"),
    ],
)
def test_a_changed_head_is_refused(change: tuple[str, str]) -> None:
    signer = new_key("ed25519")
    signed = note.sign(HEAD, signer)
    assert change[0] in signed
    with pytest.raises(NoteUntrusted):
        note.verify(signed.replace(*change), note.verifier_key(ORIGIN, signer))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "a note\n",
        "a\nb\nc\n\n",
        f"{ORIGIN}\n01\n{base64.b64encode(bytes(32)).decode()}\n\n— a AAAA\n",
        f"{ORIGIN}\n-1\n{base64.b64encode(bytes(32)).decode()}\n\n— a AAAA\n",
        f"{ORIGIN}\n{10**18}\n{base64.b64encode(bytes(32)).decode()}\n\n— a AAAA\n",
        f"{ORIGIN}\n1\n{base64.b64encode(bytes(31)).decode()}\n\n— a AAAA\n",
        f"{ORIGIN}\n1\n{'A' * 42 + 'B='}\n\n— a AAAA\n",
        f"{ORIGIN}\n1\n****\n\n— a AAAA\n",
        f"two words\n1\n{base64.b64encode(bytes(32)).decode()}\n\n— a AAAA\n",
        f"{ORIGIN}\n1\n{base64.b64encode(bytes(32)).decode()}\nextension\n\n— a AAAA\n",
        f"{ORIGIN}\n1\n{base64.b64encode(bytes(32)).decode()}\n\n— a AAAA",
        "x" * 70_000,
    ],
)
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(NoteUnreadable):
        note.read(text)


@pytest.mark.parametrize(
    "line", ["- a AAAA", "— a", "— a b AAAA", "— a A", "— a+b AAAA", "nothing"]
)
def test_lines_that_are_no_signatures_are_refused(line: str) -> None:
    signer = new_key("ed25519")
    with pytest.raises(NoteUnreadable):
        note.verify(f"{note.sign(HEAD, signer)}{line}\n", note.verifier_key(ORIGIN, signer))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeuman+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10",
        "PeterNeumann+c74f20a3+AhpcKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+BxpcKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+====",
    ],
)
def test_what_is_no_key_is_refused(line: str) -> None:
    with pytest.raises(LogKeyUnreadable):
        VerifierKey.parse(line)


def test_other_kinds_of_keys_and_names_sign_no_heads() -> None:
    with pytest.raises(ValueError, match="Ed25519"):
        note.verifier_key(ORIGIN, rsa.generate_private_key(65537, 2048))
    with pytest.raises(ValueError, match="name"):
        note.verifier_key("two words", new_key("ed25519"))
    assert isinstance(new_key("ed25519"), ed25519.Ed25519PrivateKey)
    assert isinstance(new_key("ec-p256"), ec.EllipticCurvePrivateKey)
