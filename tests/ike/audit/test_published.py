"""Lists of published keys: read as badkeys reads them, whose format they are, and refused where they are none."""

import json
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from badkeys.checks import checkpubkey
from badkeys.utils import _cachedir
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ike.audit.published import HASH_OCTETS, PublishedKeys, PublishedKeysInvalid
from ike.audit.weak_keys import from_spki
from tests.x509 import workshop

_CHANCE = random.Random(7)


def write(path: Path, hashes: Sequence[bytes], collection: int = 7) -> Path:
    """A list with these keys among a thousand others."""
    others = [_CHANCE.randbytes(HASH_OCTETS) for _ in range(1000)]
    path.write_bytes(b"".join(each + bytes([collection]) for each in sorted([*hashes, *others])))
    return path


def small_x() -> ec.EllipticCurvePrivateKey:
    """A key whose x begins with an octet of zeros, which is left out."""
    number = 1
    while (
        key := ec.derive_private_key(number, ec.SECP256R1())
    ).public_key().public_numbers().x >> 248:
        number += 1
    return key


def raw_small() -> ed25519.Ed25519PrivateKey:
    """The same of a kind that is octets, and a number for badkeys."""
    seed = 0
    while True:
        key = ed25519.Ed25519PrivateKey.from_private_bytes(seed.to_bytes(32, "big"))
        if key.public_key().public_bytes_raw()[0] == 0:
            return key
        seed += 1


KEYS = {
    "rsa": workshop.rsa_key(),
    "p-256": workshop.ec_key(),
    "p-521": ec.derive_private_key(5, ec.SECP521R1()),
    "p-256, a small x": small_x(),
    "ed25519": ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)),
    "ed25519, a small number": raw_small(),
    "ed448": ed448.Ed448PrivateKey.from_private_bytes(bytes(57)),
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.from_seed_bytes(bytes(32)),
}


@pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields")  # badkeys looks for those
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_is_on_a_list_where_badkeys_says_so(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    public = key.public_key()
    ours = from_spki(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    folder = tmp_path / "badkeys"
    folder.mkdir()
    names = {"blocklists": [{"id": 7, "name": "firmware"}]}
    (folder / "badkeysdata.json").write_text(json.dumps(names))
    path = write(folder / "blocklist.dat", [ours.listed])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    _cachedir.cache_clear()
    monkeypatch.setattr("badkeys.allkeys.block._bldata", False)
    monkeypatch.setattr("badkeys.allkeys.block._blmeta", False)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    theirs = checkpubkey(pem, checks=["blocklist"])["results"]
    assert theirs["blocklist"]["subtest"] == "firmware"
    assert PublishedKeys(path).collection(ours.listed) == "firmware"


def test_every_key_of_a_list_is_found_and_no_other(tmp_path: Path) -> None:
    hashes = sorted(_CHANCE.randbytes(HASH_OCTETS) for _ in range(257))
    path = tmp_path / "list"
    path.write_bytes(b"".join(each + bytes([at % 256]) for at, each in enumerate(hashes)))
    found = PublishedKeys(path)
    assert [found.collection(each) for each in hashes] == [f"number {n % 256}" for n in range(257)]
    assert len(found) == 257
    for octets in (b"", bytes(HASH_OCTETS), b"\xff" * HASH_OCTETS, hashes[9][:-1] + b"\0"):
        assert found.collection(octets) is None


@pytest.mark.parametrize(
    "content", [b"", b"short", bytes(160), _CHANCE.randbytes(1600), b"\xfd7zXZ\0" * 32 + bytes(8)]
)
def test_what_is_no_list_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list"
    path.write_bytes(content)
    with pytest.raises(PublishedKeysInvalid, match="no list of published keys"):
        PublishedKeys(path)


@pytest.mark.parametrize(
    "names",
    [
        "",
        "[]",
        "{",
        '{"blocklists": [{"id": "x"}]}',
        '{"blocklists": [{"id": 1e999, "name": "x"}]}',
    ],
)
def test_a_list_without_names_tells_numbers(tmp_path: Path, names: str) -> None:
    path = write(tmp_path / "list", [b"\1" * HASH_OCTETS])
    (tmp_path / "badkeysdata.json").write_text(names)
    assert PublishedKeys(path).collection(b"\1" * HASH_OCTETS) == "number 7"


def test_nobody_is_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(PublishedKeysInvalid, match="no regular file"):
            PublishedKeys(path)
    with pytest.raises(PublishedKeysInvalid, match="no path"):
        PublishedKeys(Path("/x\0y"))
    path = write(tmp_path / "list", [b"\1" * HASH_OCTETS])
    os.mkfifo(tmp_path / "badkeysdata.json")
    assert PublishedKeys(path).collection(b"\1" * HASH_OCTETS) == "number 7"


def test_a_list_that_is_cut_short_meanwhile_costs_a_hit_and_no_more(tmp_path: Path) -> None:
    path = write(tmp_path / "list", [b"\xff" * HASH_OCTETS])
    found = PublishedKeys(path)
    path.write_bytes(path.read_bytes()[:40])
    assert found.collection(b"\xff" * HASH_OCTETS) is None


def test_one_record_out_of_its_place_makes_it_no_list(tmp_path: Path) -> None:
    path = write(tmp_path / "list", [])
    octets = path.read_bytes()
    for wrong in (octets + bytes(HASH_OCTETS) + b"\x07", octets[:16] + octets):
        path.write_bytes(wrong)
        with pytest.raises(PublishedKeysInvalid):
            PublishedKeys(path)


def test_one_key_may_be_in_two_collections(tmp_path: Path) -> None:
    path, key = tmp_path / "list", bytes(HASH_OCTETS - 1) + b"\x01"
    path.write_bytes(key + b"\x01" + key + b"\x02")
    assert PublishedKeys(path).collection(key) == "number 1"
