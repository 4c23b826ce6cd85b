"""One after the other, where no row is there that could be locked."""

import hashlib

from sqlalchemy import Connection, func, select


def hold(connection: Connection, what: str) -> None:
    """Let others who hold the same wait until the transaction is over: what is counted after this stays so.

    Before anything else is locked, or two may meet crosswise. SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        digest = hashlib.sha256(what.encode()).digest()
        key = int.from_bytes(digest[:8], signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(key)))
