"""SIGKILL between the approval and the act, and anywhere else: an act for each approval that was used, and no other."""

import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select

from pki import issuance, tokens
from pki.actors import Actor, Role
from pki.desk import Desk
from pki.tokens import TokenRequest
from store.approval_tables import approvals
from store.tables import audit_events, certificates
from store.tables import tokens as tokens_table
from tests.pki import kill_worker
from tests.pki.acts import count
from tests.pki.approval_worker import LIMIT
from tests.pki.approving import details, guarded, hire
from tests.pki.requests import issue_request
from tests.pki.test_kill import ROOT, _until_alone, founded, keys  # noqa: F401 - fixtures

KILLS = 4


def test_killed_at_random_moments(founded: str, keys: Path, tmp_path: Path) -> None:  # noqa: F811 - fixtures
    moments = random.Random()
    desk = kill_worker.open_desk(founded, keys)
    alice, bob = hire(desk, "alice", Role.ADMIN), hire(desk, "bob", Role.APPROVER)
    ids = [str(alice.token_id), str(bob.token_id)]
    serials = [
        issuance.issue(desk, alice, issue_request(), now=datetime.now(UTC)).serial
        for _ in range(2 * LIMIT)
    ]
    desk.store.close()
    said: list[list[str]] = []
    for number in range(KILLS):
        told = tmp_path / f"said-{number}"
        _run_and_kill([founded, str(keys), str(number), *ids, *serials], told, moments)
        lines = told.read_text().splitlines(keepends=True)
        said += [line.split() for line in lines if line.endswith("\n")]
    desk = guarded(kill_worker.open_desk(founded, keys), mass_revocation=LIMIT)
    try:
        _until_alone(desk.store)
        _check(desk, said, alice)
    finally:
        desk.store.close()


def _run_and_kill(arguments: list[str], told: Path, moments: random.Random) -> None:
    with told.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.pki.approval_worker", *arguments],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.PIPE,
        )
    assert process.stderr is not None
    try:
        for _ in range(6_000):
            if told.read_bytes().startswith(b"ready\n"):
                break
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.5))
        assert process.poll() is None, process.stderr.read().decode()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(90)
        process.stderr.close()


def _check(desk: Desk, said: list[list[str]], alice: Actor) -> None:
    with desk.store.read() as connection:
        rows = {row.id: row for row in connection.execute(select(approvals))}
        made = dict(connection.execute(select(tokens_table.c.id, tokens_table.c.name)).all())  # type: ignore[arg-type]
        uses = connection.execute(
            select(audit_events.c.object, func.count())
            .where(audit_events.c.action == "approval.use")
            .group_by(audit_events.c.object)
        ).all()
    used = {number for number, row in rows.items() if row.state == "used"}
    assert {f"approval:{number}": 1 for number in used} == dict(uses)  # type: ignore[arg-type]
    created = [each["approval"] for each in details(desk, "token.create") if "approval" in each]
    assert sorted(created) == sorted(used)
    for words in said:
        if words[0] == "done":
            assert int(words[1]) in used
            assert words[2] in made
        if words[0] == "approved":
            assert rows[int(words[1])].state in {"approved", "used"}
    # What was approved and not done when the process died is done by the next one, once.
    left = [row for row in rows.values() if row.state == "approved"]
    for row in left:
        wanted = TokenRequest(row.parameters["name"], Role.OPERATOR)
        assert wanted.name not in made.values()
        tokens.create(desk, replace(alice, approval=row.id), wanted, now=datetime.now(UTC))
    # However often it was killed, one person ended no more in this hour than one may.
    ended = [words[1] for words in said if words[0] == "ended"]
    assert len(ended) == len(set(ended)) <= LIMIT
    gone = count(desk, certificates, certificates.c.status == "revoked")
    assert len(ended) <= gone <= LIMIT
