"""The seal: what opens it, what does not, and what a crash may do to it."""

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.errors import IkewardenError
from core.secret import Secret
from hsm.errors import (
    KeyFileDamaged,
    KeyFormatUnknown,
    KeyStoreExists,
    KeyStoreMissing,
    KeyStoreUnavailable,
    NotAPlainFile,
    PassphraseUnusable,
    WeakMode,
    WrongPassphrase,
)
from hsm.seal import DEFAULT_COST, ScryptCost, Seal, change_passphrase
from hsm.sealedfiles import SealedFileKeyStore
from tests.hsm.conftest import CHEAP, PASSPHRASE
from tests.hsm.contract import certificate

OTHER = Secret("another passphrase")


def test_opens_with_its_passphrase_only(directory: Path, seal: Seal) -> None:
    sealed = seal.seal("a", b"content", b"more")
    assert Seal.open(directory, PASSPHRASE).unseal("a", sealed, b"more") == b"content"
    for wrong in (OTHER, Secret(PASSPHRASE.reveal() + b" "), Secret(b"")):
        with pytest.raises(WrongPassphrase):
            Seal.open(directory, wrong)


def test_keys_are_derived_by_their_purpose(directory: Path, seal: Seal) -> None:
    key = seal.derive("a").reveal()
    assert len(key) == 32
    assert key != seal.derive("b").reveal()
    assert Seal.open(directory, PASSPHRASE).derive("a").reveal() == key
    change_passphrase(directory, PASSPHRASE, OTHER, cost=CHEAP)
    assert Seal.open(directory, OTHER).derive("a").reveal() == key
    assert Seal(Secret(b"x" * 32)).derive("a").reveal() != key


def test_default_cost_is_dear_enough() -> None:
    # OWASP's first recommendation for scrypt: N = 2^17, r = 8, p = 1.
    assert DEFAULT_COST == ScryptCost(n=2**17, r=8, p=1)


def test_content_is_bound_to_its_name_and_company(seal: Seal) -> None:
    sealed = seal.seal("a", b"content", b"more")
    for name, associated in (("b", b"more"), ("a", b""), ("a\0more", b""), ("", b"a\0more")):
        with pytest.raises(KeyFileDamaged):
            seal.unseal(name, sealed, associated)


def test_changed_content_is_refused(seal: Seal) -> None:
    sealed = seal.seal("a", b"content")
    for length in range(len(sealed)):
        with pytest.raises(KeyFileDamaged):
            seal.unseal("a", sealed[:length])
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(KeyFileDamaged):
            seal.unseal("a", bytes(changed))


def test_the_same_content_never_looks_the_same(seal: Seal) -> None:
    assert len({seal.seal("a", b"content") for _ in range(100)}) == 100


def test_is_not_printed_or_pickled(seal: Seal) -> None:
    assert repr(seal) == "Seal(…)"
    with pytest.raises(TypeError):
        pickle.dumps(seal)


def test_makes_private_files_whatever_the_umask(tmp_path: Path) -> None:
    for umask in (0o000, 0o077, 0o777):
        directory = tmp_path / f"keys{umask:o}"
        before = os.umask(umask)
        try:
            Seal.create(directory, PASSPHRASE, cost=CHEAP)
        finally:
            os.umask(before)
        assert directory.stat().st_mode & 0o7777 == 0o700
        assert (directory / "seal.json").stat().st_mode & 0o7777 == 0o600


def test_is_made_once(directory: Path, seal: Seal) -> None:
    before = (directory / "seal.json").read_bytes()
    with pytest.raises(KeyStoreExists):
        Seal.create(directory, OTHER, cost=CHEAP)
    assert (directory / "seal.json").read_bytes() == before


def test_a_lost_seal_is_not_replaced_while_its_keys_are_there(
    directory: Path, store: SealedFileKeyStore
) -> None:
    store.generate("a", "ed25519")
    (directory / "seal.json").unlink()
    with pytest.raises(KeyStoreExists) as refusal:
        Seal.create(directory, PASSPHRASE, cost=CHEAP)
    assert "backup" in refusal.value.next_step
    with pytest.raises(KeyStoreMissing):
        Seal.open(directory, PASSPHRASE)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(KeyStoreMissing):
        Seal.open(tmp_path / "keys", PASSPHRASE)
    with pytest.raises(KeyStoreUnavailable):
        Seal.create(tmp_path / "none" / "keys", PASSPHRASE, cost=CHEAP)
    (tmp_path / "empty").mkdir(mode=0o700)
    with pytest.raises(KeyStoreMissing):
        Seal.open(tmp_path / "empty", PASSPHRASE)
    Seal.create(tmp_path / "empty", PASSPHRASE, cost=CHEAP)


@pytest.mark.parametrize("passphrase", ["", "eleven byte", "x" * 4097])
def test_a_weak_new_passphrase_is_refused(directory: Path, seal: Seal, passphrase: str) -> None:
    with pytest.raises(PassphraseUnusable):
        Seal.create(directory.parent / "new", Secret(passphrase), cost=CHEAP)
    assert not (directory.parent / "new").exists()
    with pytest.raises(PassphraseUnusable):
        change_passphrase(directory, PASSPHRASE, Secret(passphrase), cost=CHEAP)
    Seal.open(directory, PASSPHRASE)


def test_truncated_is_damaged(directory: Path, seal: Seal) -> None:
    path = directory / "seal.json"
    whole = path.read_bytes()
    for length in range(len(whole) - 1):  # the last byte is a line end
        path.write_bytes(whole[:length])
        with pytest.raises(KeyFileDamaged):
            Seal.open(directory, PASSPHRASE)


def test_altered_is_damaged(directory: Path, seal: Seal) -> None:
    path = directory / "seal.json"
    whole = path.read_bytes()
    secret = seal.seal("a", b"content")
    for position in range(len(whole)):
        for bit in (0x01, 0x20):
            changed = bytearray(whole)
            changed[position] ^= bit
            path.write_bytes(changed)
            try:
                opened = Seal.open(directory, PASSPHRASE)
            except (KeyFileDamaged, KeyFormatUnknown):
                continue
            # Only white space between the tokens may differ without notice.
            assert json.loads(changed) == json.loads(whole)
            assert opened.unseal("a", secret) == b"content"


@pytest.mark.parametrize(
    "content", [b"[]", b"null", b"7", b'"x"', b"{}", b"[" * 4000, b"\xff", b"x" * 5000]
)
def test_junk_is_damaged(directory: Path, seal: Seal, content: bytes) -> None:
    (directory / "seal.json").write_bytes(content)
    with pytest.raises(KeyFileDamaged):
        Seal.open(directory, PASSPHRASE)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n": 2**40},  # 1 PiB of memory
        {"n": 2**17 + 1},
        {"n": 2},
        {"n": -(2**17)},
        {"n": "131072"},
        {"n": 131072.0},
        {"r": 2**20},
        {"p": 10**6},
        {"p": 0},
        {"name": "none"},
        {"salt": 7},
        {"salt": "*"},
    ],
)
def test_absurd_parameters_are_not_tried(
    directory: Path, seal: Seal, parameters: dict[str, Any]
) -> None:
    path = directory / "seal.json"
    document = json.loads(path.read_bytes())
    document["kdf"] |= parameters
    _write_with_sum(path, document)
    with pytest.raises(KeyFileDamaged):
        Seal.open(directory, PASSPHRASE)


def test_weaker_parameters_do_not_open(directory: Path, seal: Seal) -> None:
    """The head is bound to the wrapped key: nobody can make it cheaper, with or without the sum."""
    path = directory / "seal.json"
    document = json.loads(path.read_bytes())
    document["kdf"]["p"] = 2
    _write_with_sum(path, document)
    with pytest.raises(WrongPassphrase):
        Seal.open(directory, PASSPHRASE)


def test_a_newer_format_is_told(directory: Path, seal: Seal) -> None:
    path = directory / "seal.json"
    document = json.loads(path.read_bytes())
    _write_with_sum(path, document | {"format": 2})
    with pytest.raises(KeyFormatUnknown) as refusal:
        Seal.open(directory, PASSPHRASE)
    assert "Upgrade" in refusal.value.next_step


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o601])
def test_a_readable_seal_is_refused(directory: Path, seal: Seal, mode: int) -> None:
    (directory / "seal.json").chmod(mode)
    with pytest.raises(WeakMode) as refusal:
        Seal.open(directory, PASSPHRASE)
    assert refusal.value.next_step == f"Run: chmod 0600 '{directory}/seal.json'"
    with pytest.raises(WeakMode):
        change_passphrase(directory, PASSPHRASE, OTHER, cost=CHEAP)


def test_a_linked_seal_is_refused(directory: Path, seal: Seal) -> None:
    (directory / "seal.json").rename(directory / "real.json")
    (directory / "seal.json").symlink_to("real.json")
    with pytest.raises(NotAPlainFile):
        Seal.open(directory, PASSPHRASE)


def test_a_new_passphrase_touches_the_seal_only(
    directory: Path, seal: Seal, store: SealedFileKeyStore
) -> None:
    uri = store.generate("a", "ed25519")
    before = (directory / "a.key").stat(), (directory / "a.key").read_bytes()
    change_passphrase(directory, PASSPHRASE, OTHER, cost=CHEAP)
    with pytest.raises(WrongPassphrase):
        Seal.open(directory, PASSPHRASE)
    reopened = SealedFileKeyStore(directory, Seal.open(directory, OTHER))
    certificate(reopened.open(uri))
    assert ((directory / "a.key").stat(), (directory / "a.key").read_bytes()) == before
    # A store opened before goes on, and both read what the other writes.
    certificate(reopened.open(store.generate("b", "ed25519")))
    certificate(store.open(reopened.generate("c", "ed25519")))


def test_a_failed_change_changes_nothing(directory: Path, seal: Seal) -> None:
    before = (directory / "seal.json").read_bytes()
    with pytest.raises(WrongPassphrase):
        change_passphrase(directory, OTHER, Secret("a third passphrase"), cost=CHEAP)
    assert (directory / "seal.json").read_bytes() == before


def test_of_two_changes_at_once_one_is_made_and_the_other_told(directory: Path, seal: Seal) -> None:
    words = [Secret(f"the passphrase of number {each}") for each in range(4)]
    start = threading.Barrier(len(words))

    def change(new: Secret) -> bool:
        start.wait()
        try:
            change_passphrase(directory, PASSPHRASE, new, cost=CHEAP)
        except WrongPassphrase:
            return False
        return True

    with ThreadPoolExecutor(len(words)) as pool:
        done = list(pool.map(change, words))
    assert sum(done) == 1
    Seal.open(directory, words[done.index(True)])


def test_what_is_to_be_first_is_asked_only_with_the_right_one(directory: Path, seal: Seal) -> None:
    asked: list[str] = []
    with pytest.raises(WrongPassphrase):
        change_passphrase(directory, OTHER, OTHER, cost=CHEAP, first=lambda: asked.append("no"))
    assert asked == []

    def refuse() -> None:
        raise KeyStoreUnavailable("the record cannot be written")

    with pytest.raises(KeyStoreUnavailable):
        change_passphrase(directory, PASSPHRASE, OTHER, cost=CHEAP, first=refuse)
    Seal.open(directory, PASSPHRASE)


def test_killed_while_changing_exactly_one_passphrase_opens(directory: Path, seal: Seal) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from core.secret import Secret\n"
        "from hsm.seal import ScryptCost, change_passphrase\n"
        "old, new = Secret(sys.argv[2]), Secret(sys.argv[3])\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    change_passphrase(Path(sys.argv[1]), old, new, cost=ScryptCost(n=2**14))\n"
        "    old, new = new, old\n"
    )
    secret = seal.seal("a", b"content")
    first, second = PASSPHRASE, OTHER
    for delay in (0.0, 0.05, 0.08, 0.11, 0.13):
        arguments = [first.reveal().decode(), second.reveal().decode()]
        with subprocess.Popen(
            [sys.executable, "-c", program, str(directory), *arguments], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        opened = {}
        for passphrase in (first, second):
            try:
                opened[passphrase.reveal()] = Seal.open(directory, passphrase)
            except WrongPassphrase:
                continue
        [(value, survivor)] = opened.items()
        assert survivor.unseal("a", secret) == b"content"
        if value != first.reveal():
            first, second = second, first


def test_errors_hold_no_passphrase(directory: Path, seal: Seal) -> None:
    with pytest.raises(IkewardenError) as refusal:
        Seal.open(directory, OTHER)
    shown = repr(refusal.value) + refusal.value.next_step + repr(refusal.value.details)
    assert OTHER.reveal().decode() not in shown
    for path in directory.iterdir():
        assert PASSPHRASE.reveal() not in path.read_bytes()


def _write_with_sum(path: Path, document: dict[str, Any]) -> None:
    """Write a changed seal with a matching sum, as somebody with intent would."""
    body = {key: value for key, value in document.items() if key != "sha256"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    path.write_text(json.dumps(body | {"sha256": hashlib.sha256(canonical).hexdigest()}))
