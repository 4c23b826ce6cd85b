"""Sealed key files: what is refused, what survives, and what a thief of the directory sees."""

import base64
import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from core.secret import Secret
from hsm.errors import (
    BadKeyName,
    KeyExists,
    KeyFileDamaged,
    KeyFormatUnknown,
    KeyNotFound,
    KeyStoreError,
    KeyStoreMissing,
    NotAPlainFile,
    SecretTooLarge,
    WeakMode,
    WrongOwner,
)
from hsm.folder import check_private
from hsm.seal import Seal
from hsm.sealedfiles import BLOB_LIMIT, SealedFileKeyStore
from tests.fixtures.needs import needs_root
from tests.hsm.conftest import CHEAP, PASSPHRASE
from tests.hsm.contract import certificate, spki

# ----------------------------------------------------------------- modes, owners, links


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o710, 0o701, 0o777])
def test_a_weak_directory_is_refused(
    directory: Path, store: SealedFileKeyStore, seal: Seal, mode: int
) -> None:
    directory.chmod(mode)
    for act in (
        lambda: SealedFileKeyStore(directory, seal),
        lambda: store.generate("a", "ed25519"),
        lambda: Seal.open(directory, PASSPHRASE),
        store.names,
    ):
        with pytest.raises(WeakMode) as refusal:
            act()
        assert refusal.value.next_step == f"Run: chmod 0700 '{directory}'"
        assert refusal.value.details["mode"] == f"{mode:04o}"


@pytest.mark.parametrize("name", ["seal.json", "a.key", "tls.blob"])
@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o666])
def test_a_weak_file_refuses_the_start(
    directory: Path, store: SealedFileKeyStore, seal: Seal, name: str, mode: int
) -> None:
    store.generate("a", "ed25519")
    store.put_blob("tls", b"x")
    SealedFileKeyStore(directory, seal)
    (directory / name).chmod(mode)
    with pytest.raises(WeakMode) as refusal:
        SealedFileKeyStore(directory, seal)
    assert refusal.value.next_step == f"Run: chmod 0600 '{directory / name}'"


def test_a_file_that_becomes_weak_is_refused_although_open(
    directory: Path, store: SealedFileKeyStore
) -> None:
    uri = store.generate("a", "ed25519")
    store.open(uri)
    (directory / "a.key").chmod(0o644)
    with pytest.raises(WeakMode):
        store.open(uri)
    (directory / "a.key").chmod(0o600)
    certificate(store.open(uri))


def test_owner_kind_and_links_are_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch(0o600)
    status, user = file.stat(), os.geteuid()
    check_private(file, status, user=user, directory=False)
    with pytest.raises(WrongOwner) as refusal:
        check_private(file, status, user=user + 1, directory=False)
    assert str(user + 1) in refusal.value.next_step
    with pytest.raises(NotAPlainFile):
        check_private(file, status, user=user, directory=True)
    (tmp_path / "second").hardlink_to(file)
    with pytest.raises(NotAPlainFile):
        check_private(file, file.stat(), user=user, directory=False)


@needs_root
def test_files_of_somebody_else_are_refused(
    directory: Path, store: SealedFileKeyStore, seal: Seal
) -> None:
    store.generate("a", "ed25519")
    for path in (directory / "a.key", directory / "seal.json", directory):
        os.chown(path, 12345, 12345)
        with pytest.raises(WrongOwner):
            SealedFileKeyStore(directory, seal)
        os.chown(path, 0, 0)


def test_a_symbolic_link_is_refused_as_directory(
    directory: Path, store: SealedFileKeyStore, seal: Seal
) -> None:
    (directory.parent / "link").symlink_to(directory)
    with pytest.raises(NotAPlainFile):
        SealedFileKeyStore(directory.parent / "link", seal)


def _symbolic_link(path: Path) -> None:
    real = path.parent.parent / "real"
    path.rename(real)
    path.symlink_to(real)


def _hard_link(path: Path) -> None:
    (path.parent.parent / "second").hardlink_to(path)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _subdirectory(path: Path) -> None:
    path.unlink()
    path.mkdir(0o700)


@pytest.mark.parametrize("replace", [_symbolic_link, _hard_link, _pipe, _subdirectory])
@pytest.mark.parametrize("name", ["seal.json", "a.key"])
def test_what_is_not_a_plain_file_is_refused(
    directory: Path,
    store: SealedFileKeyStore,
    seal: Seal,
    name: str,
    replace: Callable[[Path], None],
) -> None:
    uri = store.generate("a", "ed25519")
    replace(directory / name)
    with pytest.raises(NotAPlainFile):
        SealedFileKeyStore(directory, seal)
    if name == "a.key":
        with pytest.raises(NotAPlainFile):
            store.open(uri)


def test_other_files_are_left_alone(directory: Path, store: SealedFileKeyStore, seal: Seal) -> None:
    (directory / "README").write_text("not ours")
    (directory / "Not A Name.key.txt").write_text("not ours")
    assert SealedFileKeyStore(directory, seal).names() == []


# ----------------------------------------------------------------- damage


def test_truncated_is_damaged(directory: Path, store: SealedFileKeyStore) -> None:
    uri = store.generate("a", "ed25519")
    whole = (directory / "a.key").read_bytes()
    for length in range(len(whole) - 1):  # the last byte is a line end
        (directory / "a.key").write_bytes(whole[:length])
        with pytest.raises(KeyFileDamaged):
            store.open(uri)


def test_altered_is_damaged(directory: Path, seal: Seal, store: SealedFileKeyStore) -> None:
    uri = store.generate("a", "ed25519")
    public = spki(store.open(uri))
    whole = (directory / "a.key").read_bytes()
    harmless = 0
    for position in range(len(whole)):
        for bit in (0x01, 0x20):
            changed = bytearray(whole)
            changed[position] ^= bit
            (directory / "a.key").write_bytes(changed)
            try:
                key = SealedFileKeyStore(directory, seal).open(uri)
            except (KeyFileDamaged, KeyFormatUnknown):
                continue
            # White space, and the bits that base64 leaves unused: nothing that means anything.
            harmless += 1
            assert spki(key) == public
    assert harmless < 40


def test_renamed_or_swapped_is_damaged(directory: Path, store: SealedFileKeyStore) -> None:
    store.generate("a", "ed25519")
    store.generate("b", "ed25519")
    (directory / "a.key").rename(directory / "c.key")
    with pytest.raises(KeyFileDamaged, match=r"c\.key"):
        store.open("sealed:c")
    (directory / "c.key").rename(directory / "b.key")
    with pytest.raises(KeyFileDamaged):
        store.open("sealed:b")


@pytest.mark.parametrize("field", ["name", "algorithm", "public_key"])
def test_the_clear_part_is_bound_too(
    directory: Path, store: SealedFileKeyStore, field: str
) -> None:
    uri = store.generate("a", "ed25519")
    store.generate("b", "ec-p256")
    mine, other = (json.loads((directory / f"{x}.key").read_bytes()) for x in "ab")
    (directory / "a.key").write_text(json.dumps(mine | {field: other[field]}))
    with pytest.raises(KeyFileDamaged):
        store.open(uri)


def test_a_key_of_another_store_is_damaged(directory: Path, store: SealedFileKeyStore) -> None:
    elsewhere = directory.parent / "elsewhere"
    other = SealedFileKeyStore(elsewhere, Seal.create(elsewhere, PASSPHRASE, cost=CHEAP))
    uri = other.generate("a", "ed25519")
    (elsewhere / "a.key").rename(directory / "a.key")
    with pytest.raises(KeyFileDamaged) as refusal:
        store.open(uri)
    assert "another key store" in refusal.value.message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"[" * 60000,
        b"\xff",
        b"x" * 70000,
        b'{"format": 1}',
        b'{"format": 1, "name": "a", "algorithm": 1, "public_key": 1, "sealed": 1}',
    ],
)
def test_junk_is_damaged(directory: Path, store: SealedFileKeyStore, content: bytes) -> None:
    uri = store.generate("a", "ed25519")
    (directory / "a.key").write_bytes(content)
    with pytest.raises(KeyFileDamaged):
        store.open(uri)


def test_a_newer_format_is_told(directory: Path, store: SealedFileKeyStore) -> None:
    uri = store.generate("a", "ed25519")
    document = json.loads((directory / "a.key").read_bytes())
    (directory / "a.key").write_text(json.dumps(document | {"format": 2, "more": 1}))
    with pytest.raises(KeyFormatUnknown):
        store.open(uri)


def test_a_directory_that_went_away_is_told(directory: Path, store: SealedFileKeyStore) -> None:
    uri = store.generate("a", "ed25519")
    directory.rename(directory.parent / "unmounted")
    with pytest.raises(KeyStoreError):
        store.open(uri)
    with pytest.raises(KeyStoreMissing):
        store.generate("b", "ed25519")
    (directory.parent / "unmounted").rename(directory)
    certificate(store.open(uri))


# ----------------------------------------------------------------- blobs


def test_a_blob_comes_back(directory: Path, seal: Seal, store: SealedFileKeyStore) -> None:
    store.put_blob("tls", b"first")
    store.put_blob("tls", Secret("second"))
    assert SealedFileKeyStore(directory, seal).get_blob("tls").reveal() == b"second"
    assert store.names() == []
    assert stat.S_IMODE((directory / "tls.blob").stat().st_mode) == 0o600
    with pytest.raises(KeyNotFound):
        store.get_blob("other")
    with pytest.raises(BadKeyName):
        store.put_blob("../tls", b"x")


def test_a_blob_has_a_limit(store: SealedFileKeyStore) -> None:
    store.put_blob("most", b"x" * BLOB_LIMIT)
    assert len(store.get_blob("most").reveal()) == BLOB_LIMIT
    with pytest.raises(SecretTooLarge):
        store.put_blob("most", b"x" * (BLOB_LIMIT + 1))


def test_a_blob_is_not_a_key_nor_another_blob(directory: Path, store: SealedFileKeyStore) -> None:
    store.generate("a", "ed25519")
    store.put_blob("b", b"x")
    document = json.loads((directory / "b.blob").read_bytes())
    document["sealed"] = json.loads((directory / "a.key").read_bytes())["sealed"]
    (directory / "a.blob").touch(0o600)
    (directory / "a.blob").write_text(json.dumps(document | {"name": "a"}))
    with pytest.raises(KeyFileDamaged):
        store.get_blob("a")
    (directory / "b.blob").rename(directory / "c.blob")
    with pytest.raises(KeyFileDamaged):
        store.get_blob("c")


def test_a_thief_of_the_directory_reads_nothing(directory: Path, store: SealedFileKeyStore) -> None:
    store.put_blob("tls", b"BEGIN PRIVATE KEY")
    for path in directory.iterdir():
        content = path.read_bytes()
        assert b"PRIVATE KEY" not in content
        assert base64.b64encode(b"BEGIN PRIVATE KEY")[:16] not in content


# ----------------------------------------------------------------- crashes and company


def test_written_and_synced_before_it_returns(
    directory: Path, store: SealedFileKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, bool]] = []
    sync = os.fsync

    def recording(descriptor: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append(("directory" if is_directory else "file", (directory / "a.key").exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    store.generate("a", "ed25519")
    assert steps == [("file", False), ("directory", True)]


def test_left_overs_are_ignored_and_swept(
    directory: Path, seal: Seal, store: SealedFileKeyStore
) -> None:
    uri = store.generate("a", "ed25519")
    left = directory / ".b.key.0123456789abcdef.tmp"
    left.touch(0o644)
    assert store.names() == ["a"]
    reopened = SealedFileKeyStore(directory, seal)
    assert not left.exists()
    assert reopened.names() == ["a"]
    certificate(reopened.open(uri))


@pytest.mark.parametrize("restarted", [True, False])
def test_killed_between_link_and_unlink(
    directory: Path, seal: Seal, store: SealedFileKeyStore, restarted: bool
) -> None:
    """The key has two names then; neither a start nor a running process may refuse it."""
    uri = store.generate("a", "ed25519")
    left = directory / ".a.key.0123456789abcdef.tmp"
    left.hardlink_to(directory / "a.key")
    certificate((SealedFileKeyStore(directory, seal) if restarted else store).open(uri))
    assert not left.exists()


def test_a_directory_that_cannot_be_written_is_read(
    directory: Path, seal: Seal, store: SealedFileKeyStore
) -> None:
    uri = store.generate("a", "ed25519")
    (directory / ".b.key.0123456789abcdef.tmp").touch(0o600)
    (directory / ".lock").unlink()
    (directory / ".lock").mkdir()  # root is not stopped by modes, but it is by this
    certificate(SealedFileKeyStore(directory, seal).open(uri))
    with pytest.raises(KeyStoreError) as refusal:
        store.generate("b", "ed25519")
    assert refusal.value.code == "key_store_unavailable"


_GENERATE = """
import sys
from pathlib import Path
from core.secret import Secret
from hsm.seal import Seal
from hsm.sealedfiles import SealedFileKeyStore
directory = Path(sys.argv[1])
store = SealedFileKeyStore(directory, Seal.open(directory, Secret(sys.argv[2])))
print("ready", flush=True)
number = 0
while True:
    store.put_blob("tls", b"x" * 1000)
    print(store.generate(f"{sys.argv[3]}-{number}", "ed25519"), flush=True)
    number += 1
"""


def test_killed_at_any_moment_nothing_is_refused_or_lost(
    directory: Path, seal: Seal, store: SealedFileKeyStore
) -> None:
    told: list[str] = []
    for run in range(12):
        arguments = [str(directory), PASSPHRASE.reveal().decode(), f"run{run}"]
        with subprocess.Popen(
            [sys.executable, "-c", _GENERATE, *arguments], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            if run % 2:  # on a slow machine the others are all before the first key
                told.append(process.stdout.readline().strip())
            time.sleep(0.003 + 0.0017 * run)
            process.send_signal(signal.SIGKILL)
            told += [line.strip() for line in process.stdout if line.endswith("\n")]
        reopened = SealedFileKeyStore(directory, seal)
        names = reopened.names()
        assert {f"sealed:{name}" for name in names} >= set(told)
        for name in names:
            reopened.open(f"sealed:{name}")
        assert not [path for path in directory.iterdir() if path.name.endswith(".tmp")]
    assert told


_LIMITED = """
import resource, signal, sys
from pathlib import Path
from core.secret import Secret
from hsm.errors import KeyStoreUnavailable
from hsm.seal import Seal
from hsm.sealedfiles import SealedFileKeyStore
directory = Path(sys.argv[1])
store = SealedFileKeyStore(directory, Seal.open(directory, Secret(sys.argv[2])))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
for act in (lambda: store.generate("b", "ed25519"), lambda: store.put_blob("tls", b"new" * 99)):
    try:
        act()
    except KeyStoreUnavailable as error:
        print(error.code)
"""


def test_a_full_disk_changes_nothing(directory: Path, store: SealedFileKeyStore) -> None:
    store.put_blob("tls", b"old")
    before = sorted(path.name for path in directory.iterdir())
    arguments = [str(directory), PASSPHRASE.reveal().decode()]
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["key_store_unavailable"] * 2
    assert sorted(path.name for path in directory.iterdir()) == before
    assert store.get_blob("tls").reveal() == b"old"


def _try_to_generate(directory: Path, seal_of: Callable[[], Seal], results: Path) -> None:
    try:
        key = SealedFileKeyStore(directory, seal_of()).generate("race", "ec-p256")
    except KeyExists:
        key = ""
    (results / str(os.getpid())).write_text(key)


def test_of_many_processes_with_one_name_one_wins(
    directory: Path, seal: Seal, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    fork = multiprocessing.get_context("fork")
    processes = [
        fork.Process(target=_try_to_generate, args=(directory, lambda: seal, results))
        for _ in range(6)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    outcomes = [path.read_text() for path in results.iterdir()]
    assert sorted(outcomes) == [""] * 5 + ["sealed:race"]


def test_works_after_a_fork(directory: Path, store: SealedFileKeyStore, tmp_path: Path) -> None:
    uri = store.generate("a", "ed25519")
    store.open(uri)

    def child() -> None:
        (tmp_path / "signature").write_bytes(_sign(store, uri))
        store.generate("child", "ed25519")

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert (tmp_path / "signature").read_bytes() == _sign(store, uri)
    certificate(store.open("sealed:child"))


def test_a_key_replaced_from_outside_is_read_again(
    directory: Path, store: SealedFileKeyStore, seal: Seal
) -> None:
    uri = store.generate("a", "ed25519")
    old = spki(store.open(uri))
    elsewhere = SealedFileKeyStore(directory, seal)
    elsewhere.destroy(uri)
    with pytest.raises(KeyNotFound):
        store.open(uri)
    elsewhere.generate("a", "ed25519")
    assert spki(store.open(uri)) == spki(elsewhere.open(uri)) != old


def _sign(store: SealedFileKeyStore, uri: str) -> bytes:
    key = store.open(uri)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return key.sign(b"x")
