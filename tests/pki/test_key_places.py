"""Where the keys of authorities are made: in a real device or server beside the sealed files."""

from dataclasses import replace
from pathlib import Path
from secrets import token_hex

import pytest

from core.errors import IkewardenError
from core.secret import Secret
from hsm.keystores import KeyStores, place_of
from hsm.ports import KeyStore
from hsm.seal import ScryptCost, Seal
from hsm.sealedfiles import SealedFileKeyStore
from pki import authorities, decisions, founding, ocsp_signers, outside
from pki.decisions import ApprovalQuery
from pki.desk import Desk
from pki.founding import AuthorityRequest
from pki.guarded import Guarded
from pki.rollover import phases
from pki.rollover.records import Rollover
from pki.rollover.successor import RolloverRequest
from store.engine import Store
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, new_desk
from tests.pki.approving import asked, guarded

ROOT = AuthorityRequest("root", "root", "CN=Root", path_length=1)


@pytest.fixture
def both(store: Store, kept_keys: KeyStore, tmp_path: Path) -> tuple[Desk, str]:
    """A desk whose new keys are made in files, with a root beside; and the name of the other store."""
    cheap = ScryptCost(n=2**14)
    seal = Seal.create(tmp_path / "keys", Secret("correct horse battery"), cost=cheap)
    place = place_of(kept_keys.uri_of("key"))
    keys = KeyStores(SealedFileKeyStore(tmp_path / "keys", seal), {place: kept_keys})
    desk = new_desk(store, keys)
    founding.create(desk, ADMIN, replace(ROOT, key_store=place), now=NOW)
    return desk, place


def begin(desk: Desk, name: str = "root", **more: str) -> Rollover:
    return phases.prepare(desk, ADMIN, RolloverRequest(name, **more), now=NOW)  # type: ignore[arg-type]


def test_a_successors_key_is_made_where_the_old_one_is(both: tuple[Desk, str]) -> None:
    """Settings that say something else meanwhile would take it out of the device without a word."""
    desk, place = both
    assert place_of(authorities.load(desk, "root").key_uri) == place
    made = begin(desk)
    assert (made.key_store, made.successor_key_store) == (place, place)
    assert place_of(authorities.load(desk, "root-2").key_uri) == place


def test_a_key_moves_where_that_is_said(both: tuple[Desk, str]) -> None:
    desk, place = both
    made = begin(desk, key_store="files")
    assert (made.key_store, made.successor_key_store) == (place, "files")
    founding.create(desk, ADMIN, replace(ROOT, name="r", subject="CN=R"), now=NOW)
    moved = begin(desk, "r", key_store=place)
    assert (moved.key_store, moved.successor_key_store) == ("files", place)


def test_an_approval_names_the_store(both: tuple[Desk, str]) -> None:
    desk, place = both
    careful = guarded(desk, Guarded.AUTHORITY_CREATE)
    wanted = replace(ROOT, name="r", subject="CN=R")
    number = asked(lambda: founding.create(careful, ADMIN, wanted, now=NOW))
    assert decisions.get(careful, ADMIN, number, now=NOW).parameters["key_store"] == "files"
    number = asked(lambda: begin(careful))
    assert decisions.get(careful, ADMIN, number, now=NOW).parameters["key_store"] == place


def test_what_no_store_would_make_is_refused_before_anybody_is_asked(
    both: tuple[Desk, str],
) -> None:
    desk, place = both
    careful = guarded(desk, Guarded.AUTHORITY_CREATE)
    wanted = replace(ROOT, name="pq", subject="CN=PQ", algorithm="ml-dsa-44", key_store=place)
    for act in (
        lambda: founding.create(careful, ADMIN, wanted, now=NOW),
        lambda: begin(careful, algorithm="ml-dsa-44"),
        lambda: outside.ask(careful, ADMIN, replace(wanted, kind="issuing"), now=NOW),
    ):
        with pytest.raises(IkewardenError) as refused:
            act()
        assert refused.value.code == "key_algorithm_unknown"
        assert "--store files" in refused.value.next_step
    assert decisions.list_(careful, ADMIN, ApprovalQuery(), now=NOW) == []
    made = founding.create(desk, ADMIN, replace(wanted, key_store="files"), now=NOW)
    assert place_of(made.key_uri) == "files"


def test_an_ocsp_signer_of_a_kind_that_the_chosen_store_does_not_make(
    both: tuple[Desk, str],
) -> None:
    desk, place = both
    assert isinstance(desk.keys, KeyStores)
    other = desk.keys.store(place)
    assert other is not None
    chosen = replace(desk, keys=KeyStores(desk.keys.sealed, {place: other}, place))
    wanted = replace(ROOT, name="pq", subject="CN=PQ", algorithm="ml-dsa-44", key_store="files")
    founding.create(chosen, ADMIN, wanted, now=NOW)
    assert ocsp_signers.ensure(chosen, CLOCKWORK, "pq", now=NOW)
    known = authorities.load(chosen, "pq")
    assert ocsp_signers.current(chosen, known, now=NOW).certificate is not None


def test_a_store_that_the_settings_do_not_have(both: tuple[Desk, str]) -> None:
    desk, place = both
    assert isinstance(desk.keys, KeyStores)
    without = replace(desk, keys=KeyStores(desk.keys.sealed, {}))
    with pytest.raises(IkewardenError) as refused:
        begin(without)
    assert (refused.value.code, place in refused.value.message) == ("key_store_off", True)
    assert begin(without, key_store="files").successor_key_store == "files"


def test_a_request_for_outside_is_made_in_the_store_that_is_named(both: tuple[Desk, str]) -> None:
    desk, place = both
    name = f"out-{token_hex(4)}"  # the other store is not this test's alone
    wanted = AuthorityRequest(name, "issuing", "CN=Out", key_store=place)
    first = outside.ask(desk, ADMIN, wanted, now=NOW)
    assert desk.keys.store(place).names()  # type: ignore[attr-defined]
    again = outside.ask(desk, ADMIN, replace(wanted, key_store=None), now=NOW)
    assert (b"REQUEST" in again, len(first) > 0) == (True, True)
    with pytest.raises(outside.RequestDiffers):
        outside.ask(desk, ADMIN, replace(wanted, key_store="files"), now=NOW)
