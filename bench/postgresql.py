"""A private PostgreSQL server with the default durability (fsync on), on a unix socket in a directory of its own."""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psycopg

from bench.processes import Program, plain_environment, wait_until

_DEBIAN = Path("/usr/lib/postgresql")
_DATABASE = "ikewarden"


class PostgresqlMissing(Exception):
    """No server program is installed."""


class Postgresql:
    """A running server with one empty database."""

    def __init__(self, directory: Path) -> None:
        self._programs = _programs()
        self._directory = directory
        self._identity: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root
            user = pwd.getpwnam("postgres")
            self._identity = [
                *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
                "--pdeathsig=SIGQUIT",  # a change of user takes the earlier wish away
            ]
            os.chown(directory, user.pw_uid, user.pw_gid)
            directory.parent.chmod(0o711)
        self._once("initdb", "-D", "data", "-U", "ikewarden", "-A", "trust", "--locale=C.UTF-8")
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(directory),
            "max_connections": "100",
            "shared_buffers": "256MB",
        }
        options = [word for item in settings.items() for word in ("-c", "=".join(item))]
        self.program = Program(
            self._command("postgres", "-D", "data", *options),
            log=directory / "log",
            cwd=directory,
            end_with=signal.SIGINT,  # its fast shutdown
        )
        wait_until(self._answers, seconds=60, what="PostgreSQL's start", program=self.program)
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {_DATABASE}")
            fetched = connection.execute("SHOW server_version").fetchone()
        self.version = str(fetched[0]) if fetched else "?"

    @property
    def url(self) -> str:
        """For the store."""
        return f"postgresql+psycopg://ikewarden@/{_DATABASE}?host={self._directory}"

    def stop(self) -> None:
        """End the server."""
        self.program.stop()

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self._directory), user="ikewarden", dbname="postgres", autocommit=True
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _command(self, program: str, *arguments: str) -> Sequence[str]:
        return [*self._identity, str(self._programs / program), *arguments]

    def _once(self, program: str, *arguments: str) -> None:
        subprocess.run(
            self._command(program, *arguments),
            cwd=self._directory,
            env=plain_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=True,
        )


def _programs() -> Path:
    versions = sorted(
        (path for path in _DEBIAN.glob("*/bin") if (path / "postgres").exists()),
        key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0,
    )
    found = shutil.which("postgres")
    if versions:
        return versions[-1]
    if found is None:
        raise PostgresqlMissing("no PostgreSQL server (Debian: apt-get install postgresql)")
    return Path(found).resolve().parent
