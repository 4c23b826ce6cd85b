"""Secrets that are mounted as files: the passphrase of the keys, and the password of the database."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.postgresql import Server
from tests.fixtures.served import Served, run, serving

_PASSWORD = "p@ss:w/rd %41"  # everything that a URL would have to escape


def _private(path: Path, content: str) -> Path:
    path.touch(0o600)
    path.write_text(content + "\n")
    return path


@pytest.fixture
def guarded(postgresql_server: Server) -> Iterator[str]:
    """URL of an empty database whose owner must give a password."""
    rules = postgresql_server.directory / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all guarded scram-sha-256\n{before}")
    with postgresql_server.admin() as admin:
        admin.execute(f"CREATE ROLE guarded LOGIN PASSWORD '{_PASSWORD}'")
        admin.execute("CREATE DATABASE guarded OWNER guarded")
        admin.execute("SELECT pg_reload_conf()")
    while _gets_in(postgresql_server):  # until it has read the rule
        time.sleep(0.05)
    yield f"postgresql+psycopg://guarded@/guarded?host={postgresql_server.directory}"
    rules.write_text(before)
    with postgresql_server.admin() as admin:
        admin.execute("DROP DATABASE guarded WITH (FORCE)")
        admin.execute("DROP ROLE guarded")
        admin.execute("SELECT pg_reload_conf()")


def _gets_in(server: Server) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(host=str(server.directory), user="guarded", dbname="guarded").close()
        return True
    return False


@pytest.mark.postgres
def test_a_service_whose_secrets_are_all_in_files(guarded: str, tmp_path: Path) -> None:
    passphrase = _private(tmp_path / "passphrase", "correct horse battery staple")
    password = _private(tmp_path / "password", _PASSWORD)
    environ = {
        "IKEWARDEN_DATABASE__URL": guarded,
        "IKEWARDEN_DATABASE__PASSWORD_FILE": str(password),
    }
    home = tmp_path / "instance"
    with serving(home, environ=environ, options=("--passphrase-file", str(passphrase))) as service:
        assert not (home / "passphrase").exists()
        assert service.json("cert", "issue", "gw1.example.com", "--out", tmp_path / "gw1")
        settings = (home / "ikewarden.toml").read_text()
        assert f'password_file = "{password}"' in settings
        assert f'passphrase_file = "{passphrase}"' in settings
        assert _PASSWORD not in settings + service.log
    # what `init` wrote is enough
    alone = Served(home, service.port, service.validation_port)
    alone.start()
    try:
        assert alone.json("cert", "list")["items"]
        assert alone.run("health").code == 0
        assert run("migrate", "--dir", home).code == 0
        taken = run("backup", tmp_path / "b", "--dir", home, "--passphrase-file", passphrase)
        assert taken.code == 0, taken.err
    finally:
        alone.stop()
    password.write_text("wrong\n")
    refused = run("migrate", "--dir", home)
    assert refused.code == 3
    assert "Traceback" not in refused.err
    for content, code in ((b"", "database_password_unusable"), (b"\xff", "database_password_unus")):
        password.write_bytes(content)
        assert code in run("migrate", "--dir", home).err
    password.chmod(0o644)
    assert "weak_mode" in run("migrate", "--dir", home).err


def test_a_passphrase_file_is_judged(tmp_path: Path) -> None:
    short = _private(tmp_path / "short", "short")
    done = run("init", "--dir", tmp_path / "i", "--passphrase-file", short)
    assert "passphrase_unusable" in done.err
    done = run(
        "init", "--dir", tmp_path / "i", "--passphrase-file", short, "--passphrase-env", "PATH"
    )
    assert (done.code, "--passphrase-file" in done.err) == (2, True)
    assert not (tmp_path / "i").exists()
    long = _private(tmp_path / "long", "correct horse battery staple")
    said = run("init", "--dir", tmp_path / "i", "--passphrase-file", long)
    assert str(long) in said.out
    document = run(
        "init", "--dir", tmp_path / "j", "--passphrase-file", long, "--format", "json"
    ).document
    assert document["passphrase"] == str(long)
