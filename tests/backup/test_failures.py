"""What can go wrong with a backup and a restore: nothing is half there, and nothing is done that may not be."""

import io
import os
import shutil
import signal
import subprocess
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from core.secret import Secret
from ikewarden.backup import layout, restoring
from ikewarden.backup.archive import Entry, Manifest, Packed, unpack
from ikewarden.backup.envelope import Opener, encrypt
from ikewarden.backup.errors import BackupLayout, BackupUnreadable, BackupVersionUnknown
from ikewarden.backup.taking import alone
from ikewarden.settings import load_settings
from ikewarden.wiring import make_desk, open_keys
from pki import backups, sequencing, tokens
from pki.actors import Actor, Role, RoleMayNot
from pki.backups import Order, RestoreNotAccepted
from pki.desk import Desk
from pki.guarded import Guarded
from pki.tokens import TokenRequest
from store import audit
from store.engine import open_store
from store.schema import VERSIONS
from tests.fixtures.desk import ADMIN, NOW
from tests.fixtures.served import PROGRAM, Done, run, surroundings
from tests.pki.approving import approve, asked, bearing, guarded, hire
from tests.pki.logkeeping import Memory, sequence

WORDS = "six random words of a test"
ENVIRON = {"IKEWARDEN_BACKUP_PASSPHRASE": WORDS}
OPENER = Opener(Secret(WORDS))
MANIFEST = Manifest("0.1", VERSIONS[-1], "sqlite", NOW.isoformat(), "b1", ("keys",))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An instance at rest, and its backup."""
    home = tmp_path_factory.mktemp("made") / "instance"
    assert run("init", "--dir", home).code == 0
    settings = load_settings(home / "ikewarden.toml", {})
    keys = open_keys(settings, {})
    desk = make_desk(settings, keys, {})
    bob = tokens.create(desk, ADMIN, TokenRequest("bob", Role.APPROVER), now=NOW)
    desk.store.close()
    keys.close()
    token = home.parent / "bob"
    token.write_bytes(bob.secret.reveal())
    token.chmod(0o600)
    file = home.parent / "whole.ikw"
    done = run("backup", file, "--dir", home, environ=ENVIRON)
    assert done.code == 0, done.err
    desk = make_desk(settings, keys, {})
    with desk.store.read() as connection:
        rows = audit.page(connection, after=None, limit=10, action="backup.export")
    desk.store.close()
    assert [row.outcome for row in rows] == ["ok", "intent"]
    assert file.stat().st_mode & 0o777 == 0o600
    return home, file


def refused(done: Done, code: str, exit_code: int) -> None:
    assert (done.code, done.error["code"]) == (exit_code, code), done.err


def back_up(home: Path, file: Path, *more: str | Path) -> Done:
    return run("backup", file, "--dir", home, "--format", "json", *more, environ=ENVIRON)


def restore(file: Path, target: Path, *more: str | Path) -> Done:
    return run("restore", file, "--dir", target, "--format", "json", *more, environ=ENVIRON)


def test_a_backup_that_is_cut_off_changed_or_not_ours(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    whole, bad, target = made[1].read_bytes(), tmp_path / "bad", tmp_path / "target"
    middle = len(whole) // 2
    for content, code in (
        (whole[:-1], "backup_unreadable"),
        (whole[:middle] + b"?" + whole[middle + 1 :], "backup_unreadable"),
        (b"", "backup_not_opened"),
    ):
        bad.write_bytes(content)
        refused(restore(bad, target), code, 2)
        assert not target.exists()
    done = run(
        *("restore", made[1], "--dir", target, "--format", "json"),
        environ={"IKEWARDEN_BACKUP_PASSPHRASE": "another"},
    )
    refused(done, "backup_not_opened", 2)
    assert not target.exists()


def test_other_versions(tmp_path: Path) -> None:
    for manifest in (replace(MANIFEST, schema="0001"), replace(MANIFEST, format=2)):
        sink = io.BytesIO()
        encrypt(Packed(manifest, iter([])), sink, [], Secret(WORDS))
        with pytest.raises(BackupVersionUnknown):
            restoring.verify(sink, OPENER)
    sink = io.BytesIO()
    encrypt(io.BytesIO(b"no tar"), sink, [], Secret(WORDS))
    with pytest.raises(BackupUnreadable):
        restoring.verify(sink, OPENER)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a//x", ".", "a\nb"])
def test_names_that_lead_elsewhere(name: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    packed = Packed(MANIFEST, iter([Entry(name, b"content")]))
    with pytest.raises(BackupUnreadable):
        unpack(io.BytesIO(b"".join(iter(packed.read, b""))), target)
    assert {path.name for path in tmp_path.rglob("*")} <= {"target", "backup.json"}


def test_links_are_no_files_of_a_backup(tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        link = tarfile.TarInfo("instance/keys")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    made.seek(0)
    with pytest.raises(BackupUnreadable):
        unpack(made, tmp_path)


def test_killed_half_way(made: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "target"
    command = [*PROGRAM, "restore", made[1], "--dir", target]
    for _ in range(20):
        process = subprocess.Popen(command, env=surroundings(ENVIRON), stdout=subprocess.DEVNULL)
        while not (target / ".restore").exists() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if not (target / "ikewarden.toml").exists():
            break
        shutil.rmtree(target)  # it was quicker than we
    else:
        pytest.fail("it always came to its end")
    assert restore(made[1], target).code == 0
    assert not (target / ".restore").exists()
    # A backup that was killed leaves a copy of the records, which the next one sweeps.
    home = tmp_path / "home"
    shutil.copytree(made[0], home)
    (home / ".backup").mkdir()
    (home / ".backup" / "records.db").write_bytes(b"half")
    assert back_up(home, tmp_path / "b").code == 0
    assert not (home / ".backup").exists()


def test_two_at_once(made: tuple[Path, Path], tmp_path: Path) -> None:
    with alone(made[0]):
        refused(back_up(made[0], tmp_path / "b"), "backup_running", 1)
    target = tmp_path / "target"
    command = [*PROGRAM, "restore", made[1], "--dir", target, "--format", "json"]
    both = [
        subprocess.Popen(command, env=surroundings(ENVIRON), stdout=-1, stderr=-1) for _ in range(2)
    ]
    ends = [process.communicate() for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], ends
    assert run("audit-log", "accept-gap", "--reason", "a test", "--dir", target).code == 0
    refused(restore(made[1], target), "restore_target_taken", 1)
    assert run("restore", made[1], "--check", environ=ENVIRON).code == 0


def test_no_room(made: tuple[Path, Path], tmp_path: Path) -> None:
    size = made[1].stat().st_size // 2
    before = set(os.listdir(made[0]))

    def limited(*arguments: str | Path) -> Done:
        # The limit of the size of a file, as a full disk: what is written is refused half-way.
        command = ["prlimit", f"--fsize={size}", *PROGRAM, *map(str, arguments), "--format", "json"]
        done = subprocess.run(
            command, env=surroundings(ENVIRON), capture_output=True, check=False, timeout=300
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    refused(limited("restore", made[1], "--dir", tmp_path / "target"), "backup_no_room", 3)
    assert not (tmp_path / "target").exists()
    done = limited("backup", tmp_path / "b", "--dir", made[0])
    assert done.code == 3, done.err
    assert os.listdir(tmp_path) == []
    # SQLite keeps its log as long as it may not write into its file, and takes it in when it is opened again.
    assert set(os.listdir(made[0])) - {"ikewarden.db-wal", "ikewarden.db-shm"} == before
    assert back_up(made[0], tmp_path / "c").code == 0
    assert set(os.listdir(made[0])) == before


def test_files_that_are_not_private_or_not_inside(made: tuple[Path, Path], tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(made[0], home)
    outside = tmp_path / "secrets"
    (home / "secrets").rename(outside)
    with (home / "ikewarden.toml").open("a") as settings:
        settings.write(f'\n[secrets]\ndirectory = "{outside}"\n')
    refused(back_up(home, tmp_path / "b"), "backup_layout", 2)
    outside.chmod(0o755)
    assert back_up(home, tmp_path / "b").code != 0
    assert not (tmp_path / "b").exists()


def test_who_can_open_it_is_said_first(made: tuple[Path, Path], tmp_path: Path) -> None:
    home, file = made[0], tmp_path / "b"
    done = run("backup", file, "--dir", home)
    assert (done.code, "--recipient" in done.err) == (2, True)
    refused(back_up(home, file, "--recipient", "age1nobody"), "backup_recipient", 2)
    words = tmp_path / "words"
    words.write_text("short")
    words.chmod(0o644)
    refused(back_up(home, file, "--passphrase-file", words), "weak_mode", 3)
    words.chmod(0o600)
    assert back_up(home, file, "--passphrase-file", words).code != 0
    refused(back_up(home, made[1]), "file_exists", 1)
    assert not file.exists()


def test_where_it_cannot_be_written_nothing_is_asked_and_begun(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    begun = _begun(made[0])
    refused(back_up(made[0], tmp_path / "no" / "such"), "system_error", 2)
    assert _begun(made[0]) == begun


def test_an_instance_that_names_its_directory_is_restored_there_and_nowhere_else(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    """Elsewhere it would write into the keys of the one that it was made of."""
    home, file = tmp_path / "instance", tmp_path / "b"
    shutil.copytree(made[0], home)
    settings = home / "ikewarden.toml"
    text = settings.read_text()
    text = text.replace('"keys"', f'"{home}/keys"').replace("sqlite:///", f"sqlite:///{home}/")
    settings.write_text(text)
    assert back_up(home, file).code == 0
    before = {path.name for path in (home / "keys").glob("[!.]*")}
    refused(restore(file, tmp_path / "drill"), "backup_layout", 2)
    assert not (tmp_path / "drill").exists()
    assert {path.name for path in (home / "keys").glob("[!.]*")} == before
    shutil.rmtree(home)
    assert restore(file, home).code == 0
    assert {path.name for path in (home / "keys").glob("[!.]*")} == before
    done = run("audit-log", "accept-gap", "--reason", "a test", "--dir", home)
    assert done.code == 0, done.err


@pytest.mark.parametrize("directory", ["../../../beside", "/elsewhere", "keys/../../../.."])
def test_directories_that_lead_elsewhere(directory: str, tmp_path: Path) -> None:
    home = tmp_path / "t" / ".restore" / "instance"
    with pytest.raises(BackupLayout):
        layout.restored_place(home, tmp_path / "t", home / directory)
    assert layout.restored_place(home, tmp_path / "t", home / "keys") == Path("keys")


def _begun(home: Path) -> int:
    """How many backups are on record."""
    settings = load_settings(home / "ikewarden.toml", {})
    store = open_store(settings.database.url)
    with store.read() as connection:
        rows = audit.page(connection, after=None, limit=100, action="backup.export")
    store.close()
    return len(rows)


@pytest.mark.parametrize("role", [each for each in Role if each is not Role.ADMIN])
def test_roles(role: Role, tmp_path: Path) -> None:
    with pytest.raises(RoleMayNot):
        restoring.restore(
            io.BytesIO(), OPENER, tmp_path / "x", Actor("a", role), environ={}, now=NOW
        )


# Two persons


def test_a_backup_that_needs_two_persons(desk: Desk) -> None:
    ruled, bob = guarded(desk, Guarded.BACKUP_EXPORT), hire(desk, "bob", Role.APPROVER)
    alice = hire(desk, "alice", Role.ADMIN)
    order = Order("b1", "/backup/b1", ["passphrase"])
    number = asked(lambda: backups.begin(ruled, alice, order, now=NOW))
    approve(ruled, bob, number)
    other = replace(order, to=["age1other"])
    with pytest.raises(Exception, match="something else"):
        backups.begin(ruled, bearing(alice, number), other, now=NOW)
    backups.begin(ruled, bearing(alice, number), order, now=NOW)
    with pytest.raises(Exception, match="used"):
        backups.begin(ruled, bearing(alice, number), order, now=NOW)


def test_a_restore_is_accepted_by_two_persons(desk: Desk) -> None:
    memory, console = Memory(), Actor("console", Role.ADMIN)
    ruled, bob = guarded(desk, Guarded.BACKUP_RESTORE), hire(desk, "bob", Role.APPROVER)
    sequence(ruled, memory)
    with ruled.store.write() as connection:
        backups.mark_restored(connection, ADMIN, "b1", NOW.isoformat(), now=NOW)
    with pytest.raises(RestoreNotAccepted):
        sequence(ruled, memory)
    with pytest.raises(RestoreNotAccepted):
        sequencing.require_present(ruled, memory)
    number = asked(lambda: sequencing.accept_gap(ruled, console, memory, "lost", now=NOW))
    approve(ruled, bob, number)
    sequencing.accept_gap(ruled, bearing(console, number), memory, "lost", now=NOW)
    sequencing.require_present(ruled, memory)


def test_the_second_person_is_at_the_console(made: tuple[Path, Path], tmp_path: Path) -> None:
    """No service runs that the approver could ask."""
    target = tmp_path / "target"
    assert restore(made[1], target).code == 0
    with (target / "ikewarden.toml").open("a") as settings:
        settings.write('\n[approvals]\nrequired = ["backup.restore", "role.change"]\n')
    accept = ("audit-log", "accept-gap", "--reason", "a test", "--dir", target, "--format", "json")
    waits = run(*accept)
    refused(waits, "approval_required", 1)
    assert "--approver-token-file" in waits.error["next_step"]
    # The admin's own token is none of an approver.
    token = target / "admin-token"
    refused(run(*accept, "--approver-token-file", token), "role_not_permitted", 1)
    done = run(*accept, "--approver-token-file", made[0].parent / "bob")
    assert done.code == 0, done.err
