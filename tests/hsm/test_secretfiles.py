"""Sealed files of shared secrets: what is refused, what survives a kill, and what is left of what was destroyed."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.secret import Secret
from hsm import secretfiles
from hsm.seal import Seal
from hsm.secretfiles import SecretFiles
from hsm.secretstore import (
    SecretNotFound,
    SecretStoreUnavailable,
    VersionState,
)
from tests.hsm.conftest import CHEAP, PASSPHRASE
from tests.hsm.secretcontract import CANARY, OTHER, PATH, put, states, value_of

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "secrets"


@pytest.fixture
def secrets(place: Path, seal: Seal) -> SecretFiles:
    return SecretFiles(place, seal, lambda: NOW)


def file_of(place: Path, path: str = PATH) -> Path:
    """The file that holds this path."""
    [found] = [
        each for each in place.rglob("*.json") if json.loads(each.read_text())["path"] == path
    ]
    return found


def edit(file: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


# ----------------------------------------------------------------- the files


def test_nothing_is_made_before_something_is_kept(place: Path, secrets: SecretFiles) -> None:
    secrets.check()
    secrets.forget(PATH)
    secrets.destroy(PATH, 1)
    assert secrets.versions(PATH) == ()
    assert not place.exists()
    put(secrets)
    assert secrets.versions(PATH)[0].created_at == NOW


def test_everything_is_private_whatever_the_umask_says(place: Path, secrets: SecretFiles) -> None:
    before = os.umask(0)
    try:
        put(secrets)
    finally:
        os.umask(before)
    for path in (place, *place.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def test_no_value_stands_in_the_files(place: Path, secrets: SecretFiles) -> None:
    put(secrets)
    for file in place.rglob("*.json"):
        content = file.read_bytes()
        for form in (CANARY, base64.b64encode(CANARY).rstrip(b"="), CANARY.hex().encode()):
            assert form not in content


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777])
def test_a_weak_directory_is_refused(
    place: Path, secrets: SecretFiles, seal: Seal, mode: int
) -> None:
    put(secrets)
    place.chmod(mode)
    for act in (secrets.check, lambda: SecretFiles(place, seal, lambda: NOW)):
        with pytest.raises(SecretStoreUnavailable) as refusal:
            act()
        assert refusal.value.next_step == f"Run: chmod 0700 '{place}'"


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_becomes_weak_is_refused_at_the_next_look(
    place: Path, secrets: SecretFiles, what: str
) -> None:
    put(secrets)
    file = file_of(place)
    (file if what == "file" else file.parent).chmod(0o755)
    for act in (lambda: secrets.get(PATH), lambda: put(secrets, after=1)):
        with pytest.raises(SecretStoreUnavailable) as refusal:
            act()
        assert refusal.value.next_step.startswith("Run: chmod ")


def test_links_are_refused(place: Path, secrets: SecretFiles, tmp_path: Path) -> None:
    put(secrets)
    file = file_of(place)
    (tmp_path / "second").hardlink_to(file)
    acts = [
        lambda: secrets.get(PATH),
        lambda: put(secrets, after=1),
        lambda: secrets.destroy(PATH, 1),
    ]
    for act in acts:
        with pytest.raises(SecretStoreUnavailable, match="hard links"):
            act()
    (tmp_path / "second").unlink()
    file.rename(tmp_path / "real")
    file.symlink_to(tmp_path / "real")
    for act in acts:
        with pytest.raises(SecretStoreUnavailable, match="symbolic link"):
            act()


def test_another_passphrase_does_not_matter_and_another_seal_does(
    place: Path, secrets: SecretFiles, tmp_path: Path
) -> None:
    put(secrets)
    other = Seal.create(tmp_path / "others", PASSPHRASE, cost=CHEAP)
    with pytest.raises(SecretStoreUnavailable):
        SecretFiles(place, other, lambda: NOW).get(PATH)


def _swap(document: Any) -> None:
    first, second = document["versions"]
    first["sealed"], second["sealed"] = second["sealed"], first["sealed"]


def _flip(document: Any) -> None:
    sealed = bytearray(base64.b64decode(document["versions"][1]["sealed"]))
    sealed[-1] ^= 1
    document["versions"][1]["sealed"] = base64.b64encode(sealed).decode()


def _renumber(document: Any) -> None:
    document["versions"][1]["number"] = 3


def _drop(document: Any) -> None:
    del document["versions"][0]


def _later(document: Any) -> None:
    document["format"] = 2


def _rename(document: Any) -> None:
    document["path"] = OTHER


def _revive(document: Any) -> None:
    document["versions"][1] |= {"state": "live", "sealed": ""}


@pytest.mark.parametrize("change", [_swap, _flip, _renumber, _drop, _later, _rename, _revive])
def test_what_was_altered_is_refused(
    place: Path, secrets: SecretFiles, change: Callable[[Any], None]
) -> None:
    put(secrets, b"one")
    put(secrets, b"two", after=1)
    edit(file_of(place), change)
    with pytest.raises(SecretStoreUnavailable) as refusal:
        secrets.get(PATH, 2)
    assert refusal.value.next_step


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1}', "[" * 100_000])
def test_what_is_no_such_file_is_refused(place: Path, secrets: SecretFiles, content: str) -> None:
    put(secrets)
    file_of(place).write_text(content)
    for act in (
        lambda: secrets.get(PATH),
        lambda: secrets.versions(PATH),
        lambda: put(secrets, after=1),
        lambda: secrets.destroy(PATH, 1),  # it must not pretend
    ):
        with pytest.raises(SecretStoreUnavailable):
            act()


def test_a_file_of_another_path_is_refused(place: Path, secrets: SecretFiles) -> None:
    put(secrets, b"ours")
    put(secrets, b"theirs", path=OTHER)
    file_of(place).write_bytes(file_of(place, OTHER).read_bytes())
    with pytest.raises(SecretStoreUnavailable):
        secrets.get(PATH)


# ----------------------------------------------------------------- destroyed


@pytest.mark.parametrize("how", ["destroy", "forget"])
def test_what_is_destroyed_is_overwritten(place: Path, secrets: SecretFiles, how: str) -> None:
    put(secrets)
    with file_of(place).open("rb") as old:  # its blocks, whatever name they have
        sealed = json.loads(old.read())["versions"][0]["sealed"]
        if how == "destroy":
            secrets.destroy(PATH, 1)
        else:
            secrets.forget(PATH)
        old.seek(0)
        assert not any(old.read())
    assert all(sealed not in file.read_text() for file in place.rglob("*.json"))


def test_who_reads_meanwhile_sees_the_old_or_the_new(secrets: SecretFiles, seal: Seal) -> None:
    put(secrets, b"kept")
    stop = threading.Event()
    seen: list[bytes] = []

    def read() -> None:
        while not stop.is_set():
            seen.append(value_of(secrets, 1))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for after in range(1, 60):
        put(secrets, after=after)
        secrets.destroy(PATH, after + 1)
    stop.set()
    for reader in readers:
        reader.join(30)
    assert set(seen) == {b"kept"}
    assert len(seen) > 60


# ----------------------------------------------------------------- killed


_ENDLESS = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from core.secret import Secret
from hsm import secretfiles
from hsm.seal import Seal
from hsm.secretfiles import SecretFiles
keys, place, passphrase = sys.argv[1:]
store = SecretFiles(
    Path(place), Seal.open(Path(keys), Secret(passphrase)), lambda: datetime.now(UTC)
)
number = len(store.versions("ikewarden/gw1-gw2/psk"))
for older in range(1, number):
    store.destroy("ikewarden/gw1-gw2/psk", older)
print("ready", flush=True)
while True:
    if number > 40:
        store.forget("ikewarden/gw1-gw2/psk")
        number = 0
    value = Secret(f"value-{number + 1}")
    number = store.put("ikewarden/gw1-gw2/psk", value, after=number, tags={"version": str(number)})
    if number > 1:
        store.delete("ikewarden/gw1-gw2/psk", number - 1)
        store.destroy("ikewarden/gw1-gw2/psk", number - 1)
"""
_KILLS = int(os.environ.get("IKEWARDEN_SOAK_KILLS", "12"))


def test_killed_at_any_moment_it_is_old_or_new(
    directory: Path, place: Path, secrets: SecretFiles
) -> None:
    arguments = [str(directory), str(place), PASSPHRASE.reveal().decode()]
    for number in range(_KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", _ENDLESS, *arguments], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(0.01 + 0.013 * (number % 7))
            writer.send_signal(signal.SIGKILL)
        found = states(secrets)
        for version, state in enumerate(found, 1):
            if state is VersionState.LIVE:
                assert value_of(secrets, version) == f"value-{version}".encode()
                assert version >= len(found) - 1
            else:
                with pytest.raises(SecretNotFound):
                    secrets.get(PATH, version)
        # The writer is gone and its lock with it; what it left half-written is swept by the next one.
        put(secrets, path=OTHER, after=len(secrets.versions(OTHER)))
        secrets.check()
    after = len(secrets.versions(PATH))
    assert put(secrets, after=after) == after + 1
    assert not list(file_of(place).parent.glob(".*.tmp"))


_LIMITED = """
import resource, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from core.secret import Secret
from hsm import secretfiles
from hsm.seal import Seal
from hsm.secretfiles import SecretFiles
from hsm.secretstore import SecretStoreUnavailable
keys, place, passphrase = sys.argv[1:]
store = SecretFiles(
    Path(place), Seal.open(Path(keys), Secret(passphrase)), lambda: datetime.now(UTC)
)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
for act in (
    lambda: store.put("ikewarden/gw1-gw2/psk", Secret("new"), after=1, tags={}),
    lambda: store.destroy("ikewarden/gw1-gw2/psk", 1),
):
    try:
        act()
    except SecretStoreUnavailable as error:
        print(error.code)
"""


def test_a_full_disk_changes_nothing(directory: Path, place: Path, secrets: SecretFiles) -> None:
    put(secrets)
    arguments = [str(directory), str(place), PASSPHRASE.reveal().decode()]
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["secret_store_unavailable"] * 2
    assert value_of(secrets) == CANARY
    assert [state.value for state in states(secrets)] == ["live"]
    assert not list(place.rglob("*.tmp"))


def test_a_directory_that_cannot_be_made_is_told(seal: Seal, tmp_path: Path) -> None:
    store = SecretFiles(tmp_path / "no" / "such", seal, lambda: NOW)
    store.check()
    with pytest.raises(SecretStoreUnavailable, match="does not exist"):
        store.put(PATH, Secret("x"), after=0, tags={})


def test_a_file_never_grows_beyond_what_is_read(
    place: Path, secrets: SecretFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secretfiles, "_LIMIT", 2000)
    kept = 0
    while file_of(place).stat().st_size < 1500 if kept else True:
        kept = put(secrets, after=kept)
    with pytest.raises(SecretStoreUnavailable, match="too many versions"):
        put(secrets, b"x" * 2000, after=kept)
    assert kept > 1
    assert len(secrets.versions(PATH)) == kept
    for number in range(1, kept + 1):
        secrets.destroy(PATH, number)
    assert {each.state for each in secrets.versions(PATH)} == {VersionState.DESTROYED}
    assert put(secrets, after=kept) == kept + 1
