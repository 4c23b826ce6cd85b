"""Transactions mean the same on both databases."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.errors import Conflict
from store.engine import Limits, Store, open_store
from store.errors import BrokenReference, Duplicate, StoreBusy, StoreUnreachable
from store.tables import authorities, certificates, notices, profiles

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def row(number: str) -> dict[str, object]:
    return {"kind": "k", "object": number, "stage": "s", "at": NOW}


def certificate(serial: str) -> dict[str, object]:
    return {
        "authority_id": 1,
        "serial": serial,
        "status": "pending",
        "profile": "gateway",
        "subject": "",
        "names": "dns:gw1.example",
        "not_before": NOW,
        "not_after": NOW,
        "shard": 0,
        "spki_sha256": "00",
        "requested_by": "tester",
        "credential": "local",
        "request_id": "r",
        "created_at": NOW,
    }


def authority() -> dict[str, object]:
    return {
        "id": 1,
        "name": "issuing",
        "kind": "issuing",
        "status": "active",
        "subject": "CN=issuing",
        "certificate": b"\x30\x00",
        "key_uri": "sealed:issuing",
        "serial": "01",
        "shards": 1,
        "crl_hours": 24,
        "delta_hours": 1,
        "ocsp_hours": 4,
        "not_before": NOW,
        "not_after": NOW,
        "created_at": NOW,
        "created_by": "tester",
    }


def count(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(notices)).scalar_one()


def test_clean_exit_commits(store: Store) -> None:
    with store.write() as connection:
        connection.execute(insert(notices), row("1"))
    assert count(store) == 1


@pytest.mark.parametrize("kind", [LookupError, KeyboardInterrupt, SystemExit])
def test_exception_rolls_back_and_comes_through(store: Store, kind: type[BaseException]) -> None:
    def act() -> None:
        with store.write() as connection:
            connection.execute(insert(notices), row("1"))
            raise kind

    with pytest.raises(kind):
        act()
    assert count(store) == 0


def test_read_sees_one_snapshot(store: Store) -> None:
    with store.read() as reading:
        assert reading.execute(select(func.count()).select_from(notices)).scalar() == 0
        with store.write() as writing:
            writing.execute(insert(notices), row("1"))
        assert reading.execute(select(func.count()).select_from(notices)).scalar() == 0
    assert count(store) == 1


def test_read_neither_waits_for_a_writer_nor_sees_it(store: Store) -> None:
    with store.write() as writing:
        writing.execute(insert(notices), row("1"))
        assert count(store) == 0


def test_look_sees_what_is_committed_each_time(store: Store) -> None:
    query = select(notices.c.object).where(notices.c.stage == bindparam("of"))
    assert store.look(query, {"of": "s"}) == []
    with store.write() as writing:
        writing.execute(insert(notices), row("1"))
        assert store.look(query, {"of": "s"}) == []
    assert [each.object for each in store.look(query, {"of": "s"})] == ["1"]
    with store.read() as reading:  # the same connection, which a look leaves as it was
        assert reading.execute(select(func.count()).select_from(notices)).scalar() == 1


def test_read_cannot_write(store: Store) -> None:
    with pytest.raises(StoreUnreachable), store.read() as connection:
        connection.execute(insert(notices), row("1"))
    assert count(store) == 0


def test_same_serial_of_one_authority_is_refused(store: Store) -> None:
    with store.write() as connection:
        connection.execute(insert(authorities), authority())
        connection.execute(insert(certificates), certificate("0a"))
    with pytest.raises(Duplicate) as caught, store.write() as connection:
        connection.execute(insert(certificates), certificate("0a"))
    assert caught.value.code == "duplicate"
    assert caught.value.constraint == "uq_certificates_serial_authority_id"
    assert isinstance(caught.value, Conflict)


def test_duplicate_names_the_primary_key(store: Store) -> None:
    profile = {"name": "p", "document": {}, "created_at": NOW, "created_by": "t"}
    with store.write() as connection:
        connection.execute(insert(profiles), profile)
    with pytest.raises(Duplicate) as caught, store.write() as connection:
        connection.execute(insert(profiles), profile)
    assert caught.value.constraint == "pk_profiles"


def test_reference_to_nothing_is_refused(store: Store) -> None:
    with pytest.raises(BrokenReference), store.write() as connection:
        connection.execute(insert(certificates), certificate("0a"))


def test_missing_value_is_a_bug_and_stays_one(store: Store) -> None:
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.execute(insert(notices), {**row("1"), "at": None})


def test_savepoint_survives_a_duplicate(store: Store) -> None:
    with store.write() as connection:
        connection.execute(insert(notices), row("1"))
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(insert(notices), row("1"))
        connection.execute(insert(notices), row("2"))
    assert count(store) == 2


def test_ignored_error_does_not_pass_for_a_commit(store: Store) -> None:
    def act() -> None:
        with store.write() as connection:
            connection.execute(insert(notices), row("1"))
            with pytest.raises(IntegrityError):
                connection.execute(insert(notices), row("1"))

    if store.dialect == "sqlite":  # only the statement failed
        act()
        assert count(store) == 1
    else:  # the whole transaction did, and COMMIT would quietly roll it back
        with pytest.raises(RuntimeError, match="ignored"):
            act()
        assert count(store) == 0


def test_commit_inside_is_noticed(store: Store) -> None:
    def act() -> None:
        with store.write() as connection:
            connection.execute(insert(notices), row("1"))
            connection.commit()

    with pytest.raises(RuntimeError, match="already over"):
        act()


def test_write_inside_a_write(store: Store) -> None:
    def act() -> None:
        with store.write(), store.write() as connection:
            connection.execute(insert(notices), row("1"))

    if store.dialect == "sqlite":  # one writer: it would wait for itself
        with pytest.raises(RuntimeError, match="inside"):
            act()
        assert count(store) == 0
    else:
        act()
        assert count(store) == 1
    with store.write() as connection:
        connection.execute(insert(notices), row("2"))


def test_json_comes_back_and_not_a_number_is_refused(store: Store) -> None:
    document = {"ü": [1, None, True, "a\u0000b"], "nested": {"x": 1.5}}
    with store.write() as connection:
        connection.execute(
            insert(profiles),
            {"name": "p", "document": document, "created_at": NOW, "created_by": "t"},
        )
    with store.read() as connection:
        assert connection.execute(select(profiles.c.document)).scalar() == document
    with pytest.raises(Exception, match="JSON"), store.write() as connection:
        connection.execute(update(profiles).values(document={"x": float("nan")}))


def test_connections_are_limited_and_waited_for(store_url: str) -> None:
    store = open_store(store_url, pool_size=1, limits=Limits(busy=timedelta(milliseconds=50)))
    with store.read():
        with pytest.raises(StoreBusy, match="in use"), store.read():
            pass
    assert count(store) == 0
    store.close()


def test_closed_store_and_fork_are_refused(store_url: str) -> None:
    store = open_store(store_url)
    assert count(store) == 0
    child = os.fork()
    if child == 0:
        try:
            count(store)
        except RuntimeError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    store.close()
    with pytest.raises(RuntimeError, match="closed"):
        count(store)


def test_connection_is_reused(store: Store) -> None:
    seen = set()
    for _ in range(5):
        with store.read() as connection:
            seen.add(id(connection))
    assert len(seen) == 1


@pytest.mark.parametrize(
    "url", ["", "mysql://u:hunter2@h/d", "sqlite://", "sqlite:///:memory:", "x:hunter2"]
)
def test_unusable_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(StoreUnreachable) as caught:
        open_store(url)
    assert caught.value.next_step
    assert "hunter2" not in str(caught.value) + caught.value.next_step
