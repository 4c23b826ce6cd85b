"""A running service is backed up, goes on, is lost, and is restored onto an empty machine: nothing comes twice."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import text

from store.engine import open_store
from store.schema import migrate
from tests.cli.test_audit_log import wait_for_head
from tests.fixtures.databases import _TEMPLATE, DATABASES
from tests.fixtures.postgresql import Server
from tests.fixtures.served import Served, run, serving


@pytest.fixture(params=DATABASES)
def databases(request: pytest.FixtureRequest) -> Iterator[tuple[str, str] | None]:
    """The URLs of a migrated database and of an empty one; None where each instance has its own file."""
    if request.param == "sqlite":
        yield None
        return
    server: Server = request.getfixturevalue("postgresql_server")
    with server.database(_TEMPLATE) as old, server.database("template1") as new:
        yield old, new


def crl_number(service: Served) -> int:
    crl = x509.load_der_x509_crl(service.public("/crl/issuing.crl"))
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def issue(service: Served, name: str, out: Path) -> str:
    done = service.json("cert", "issue", name, "--out", out / name)
    return str(done["serial"])


def revoke(service: Served, serial: str) -> int:
    """The number of the list that tells of it."""
    assert service.run("cert", "revoke", serial, "--reason", "superseded").code == 0
    while True:
        crl = x509.load_der_x509_crl(service.public("/crl/issuing.crl"))
        if crl.get_revoked_certificate_by_serial_number(int(serial, 16)) is not None:
            return crl_number(service)
        time.sleep(0.2)


def share_a_key(service: Served) -> None:
    for name in ("left.example", "right.example"):
        service.json("gateway", "add", name)
    service.json("tunnel", "add", "shared", "left.example", "right.example")
    words = "7Hq!mZ7wXt2-LpVk_and-some-more"
    service.json("tunnel", "secret-add", "shared", "--import", "-", given=words)


def files_in(directory: Path) -> dict[str, bytes]:
    """What is in it and below, by path."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*.json")
    }


def test_lost_and_restored(databases: tuple[str, str] | None, tmp_path: Path) -> None:
    """One service for all of it, because starting one takes long."""
    words, file, place = tmp_path / "words", tmp_path / "backup.ikw", tmp_path / "restored"
    words.write_text("six random words of a test\n")
    words.chmod(0o600)
    opening = ("--passphrase-file", words)
    environ = {"IKEWARDEN_SCHEDULER__AUDIT_LOG": "1"}
    url = databases and databases[0]
    with serving(tmp_path / "instance", database_url=url, environ=environ) as old:
        kept, gone = issue(old, "kept.example", tmp_path), issue(old, "gone.example", tmp_path)
        revoke(old, gone)
        share_a_key(old)
        shared = files_in(old.directory / "secrets")
        assert shared
        wait_for_head(old)
        (tmp_path / "key").write_text(old.run("audit-log", "key").out)
        (tmp_path / "head").write_text(old.run("audit-log", "head").out)
        # While it runs.
        done = old.run("backup", file, *opening, "--format", "json", environ=old.environ)
        assert (done.code, done.err) == (0, "")
        assert done.document["missing"] == []
        assert file.stat().st_mode & 0o777 == 0o600
        # What comes after the backup is lost, but not given a second time.
        late = issue(old, "late.example", tmp_path)
        last = revoke(old, late)
        origin = wait_for_head(old)["origin"]
        token = old.admin_token
    shutil.rmtree(old.directory)

    new = replace(old, directory=place, process=None)
    if databases is not None:
        new.environ = {**environ, "IKEWARDEN_DATABASE__URL": databases[1]}
    done = run("restore", file, "--dir", place, *opening, environ=new.environ)
    assert done.code == 0, done.err
    assert "accept-gap" in done.err
    assert {path.name for path in place.iterdir()} >= {"keys", "secrets", "ikewarden.toml"}
    assert not (place / ".restore").exists()
    assert place.stat().st_mode & 0o777 == 0o700
    if databases is not None:
        again = tmp_path / "again"
        done = run(
            "restore", file, "--dir", again, *opening, "--format", "json", environ=new.environ
        )
        assert (done.code, done.error["code"]) == (1, "database_not_empty")
        assert not again.exists()

    done = new.run("serve", "--dir", place, environ=new.environ)
    assert done.code == 1
    assert "restore_not_accepted" in done.err
    heads = ("--head", tmp_path / "head")
    done = new.run("audit-log", "verify", *heads, environ=new.environ)
    assert done.code == 0, done.out
    done = new.run("audit-log", "accept-gap", "--reason", "a test", environ=new.environ)
    assert (done.code, done.err) == (0, "")
    new.start()
    with contextlib.ExitStack() as stack:
        stack.callback(new.stop)
        assert new.admin_token == token
        assert files_in(place / "secrets") == shared
        assert new.json("cert", "show", kept)["status"] == "valid"
        assert new.json("cert", "show", gone)["status"] == "revoked"
        assert new.run("cert", "show", late).code == 1
        fresh = issue(new, "fresh.example", tmp_path)
        assert fresh not in {kept, gone, late}
        assert revoke(new, fresh) > last + 1_000_000
        # Another log, over the same rows: the one who signed the old one cannot be contradicted.
        head = wait_for_head(new)
        assert head["origin"] != origin
        done = new.run("audit-log", "verify", *heads, environ=new.environ)
        assert done.code == 0, done.out


def test_numbers_that_a_sequence_gave_are_not_given_again(
    tmp_path: Path, postgresql_server: Server
) -> None:
    from store.copying import copy_in, copy_out

    insert = text(
        "INSERT INTO notices (kind, object, stage, at) VALUES ('a\tb', '\\N', :s, now()) RETURNING id"
    )
    with (
        postgresql_server.database("template1") as old,
        postgresql_server.database("template1") as new,
    ):
        migrate(old)
        store = open_store(old)
        with store.write() as connection:
            for stage in "abc":
                connection.execute(insert, {"s": stage})
            connection.execute(text("DELETE FROM notices WHERE id > 1"))
        store.close()
        copy_out(old, tmp_path)
        copy_in(new, tmp_path, lambda connection: None)
        store = open_store(new)
        with store.write() as connection:
            row = connection.execute(text("SELECT kind, object FROM notices")).one()
            assert tuple(row) == ("a\tb", "\\N")
            assert connection.execute(insert, {"s": "d"}).scalar_one() == 4
        store.close()
