"""Secrets are in nobody's reach: not in the records, not in a log line, not in an error."""

import logging
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from sqlalchemy import Table, select

from core.errors import IkewardenError
from pki import cleanup, founding, identity, issuance, revocation, tls_credential, tokens
from pki.actors import Role, Scope
from pki.desk import Desk
from pki.founding import AuthorityRequest
from pki.identity import TokenRefused
from pki.tokens import TokenRequest
from scheduler.jobs import JOBS, run
from store.tables import metadata
from tests.fixtures.desk import ADMIN, CLOCKWORK, OPERATOR, Custody, drain
from tests.pki.acts import issue
from tests.pki.requests import issue_request
from tests.pki.test_clockwork import Blobs


def test_a_round_of_everything_leaves_no_secret_behind(
    desk: Desk,
    keys: Custody,
    now: datetime,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    secrets = _a_round_of_everything(desk, keys, now, said)
    where = {"records": _records(desk), "log": _log(caplog), "errors": "\n".join(said).encode()}
    if desk.store.dialect == "sqlite":
        where |= {path.name: path.read_bytes() for path in tmp_path.glob("records.db*")}
    assert len(secrets) >= 6
    for name, content in where.items():
        for secret in secrets:
            assert secret not in content, name
            assert secret.hex().encode() not in content, name


def _a_round_of_everything(
    desk: Desk, keys: Custody, now: datetime, said: list[str]
) -> list[bytes]:
    secrets = []
    scope = Scope(profiles=("gateway",))
    for wanted in (
        TokenRequest("a", Role.ADMIN),
        TokenRequest("b", Role.ENROLLER, scope, uses=1),
        TokenRequest("c", Role.ENROLLER, scope, uses=2, expires_at=now + timedelta(hours=1)),
    ):
        made = tokens.create(desk, ADMIN, wanted, now=now)
        said.append(repr(made))
        secrets += [made.secret.reveal(), made.secret.reveal().removeprefix(b"iw_")]
        actor = identity.actor_from_token(desk, made.secret, now=now, request_id="r")
        said.append(repr(actor))
        issuance.issue(desk, actor, issue_request(), now=now)
        tokens.revoke(desk, ADMIN, made.view.id, now=now)
        with pytest.raises(TokenRefused) as caught:
            identity.actor_from_token(desk, made.secret, now=now, request_id="r")
        said.append(f"{caught.value!r} {caught.value.details} {caught.value.next_step}")
    founding.create(
        desk, ADMIN, AuthorityRequest(name="new", kind="root", subject="CN=New"), now=now
    )
    blobs = Blobs()
    tls_credential.ensure(desk, CLOCKWORK, blobs, ("pki.example",), now=now)
    key = serialization.load_pem_private_key(blobs.kept[tls_credential.BLOB], None)
    for owned in (key, *keys.raw.values()):
        secrets.append(_private_part(owned))
    revocation.revoke(desk, OPERATOR, issue(desk).serial, "keyCompromise", now=now)
    drain(desk, now)
    for at in (now, now + timedelta(days=20)):
        for job in JOBS:
            run(desk, job, "me", at, lambda: at)  # noqa: B023 - called in this round
    keys.fail()
    with pytest.raises(IkewardenError) as dead:
        issue(desk)
    said.append(repr(dead.value))
    cleanup.sweep(desk, CLOCKWORK, now=now)
    return secrets


def _private_part(key: object) -> bytes:
    numbers = key.private_numbers()  # type: ignore[attr-defined]  # all keys here are EC
    return int(numbers.private_value).to_bytes(32, "big")


def _records(desk: Desk) -> bytes:
    parts = []
    with desk.store.read() as connection:
        for table in metadata.sorted_tables:
            parts += [_plain(table, row) for row in connection.execute(select(table))]
    return b"\n".join(parts)


def _plain(table: Table, row: object) -> bytes:
    return b"|".join(
        value if isinstance(value, bytes) else str(value).encode()
        for value in tuple(row)  # type: ignore[arg-type,var-annotated]  # a Row is a tuple
    )


def _log(caplog: pytest.LogCaptureFixture) -> bytes:
    lines = [record.getMessage() + repr(vars(record)) for record in caplog.records]
    return "\n".join([*lines, caplog.text]).encode()
