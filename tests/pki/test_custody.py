"""The spine with its keys where a service keeps them: tests of other modules that use signers, on `kept_desk`.

What does not touch a signer is the same wherever the keys are, and is not run again.
"""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from hsm.errors import KeyNotFound
from hsm.ports import KeyStore
from pki import ocsp_signers
from pki.desk import Desk
from store.tables import ocsp_signers as signers_table
from tests.fixtures.desk import CLOCKWORK
from tests.pki.test_authorities import (
    test_an_authority_works_from_its_first_second,
    test_authorities_of_all_kinds_pass_the_judges,
)
from tests.pki.test_clockwork import test_the_service_makes_its_certificate_and_keeps_it
from tests.pki.test_intent import test_eight_threads_issue_eight_certificates
from tests.pki.test_issuance import (
    test_a_rekey_takes_the_new_key,
    test_a_renewal_keeps_everything_but_time_and_number,
    test_what_is_told_is_what_is_in_the_certificate,
)
from tests.pki.test_ocsp_responder import (
    responder,
    test_a_nonce_gets_a_signature_of_its_own,
    test_every_status_is_told,
    test_openssl_believes_it,
)
from tests.pki.test_publication import (
    test_a_full_list_and_its_delta_have_the_same_number,
    test_each_certificate_is_on_its_shard_and_on_no_other,
    test_many_who_publish_at_once_give_each_list_its_own_number,
)
from tests.pki.test_revocation import (
    test_a_hold_is_released_and_the_certificate_is_valid_again,
    test_issuing_and_revoking_at_once_do_not_disturb_each_other,
)

__all__ = [
    "responder",
    "test_a_full_list_and_its_delta_have_the_same_number",
    "test_a_hold_is_released_and_the_certificate_is_valid_again",
    "test_a_nonce_gets_a_signature_of_its_own",
    "test_a_rekey_takes_the_new_key",
    "test_a_renewal_keeps_everything_but_time_and_number",
    "test_an_authority_works_from_its_first_second",
    "test_authorities_of_all_kinds_pass_the_judges",
    "test_each_certificate_is_on_its_shard_and_on_no_other",
    "test_eight_threads_issue_eight_certificates",
    "test_every_status_is_told",
    "test_issuing_and_revoking_at_once_do_not_disturb_each_other",
    "test_many_who_publish_at_once_give_each_list_its_own_number",
    "test_openssl_believes_it",
    "test_the_service_makes_its_certificate_and_keeps_it",
    "test_what_is_told_is_what_is_in_the_certificate",
]


@pytest.fixture
def store_url(tmp_path: Path, sqlite_template: Path) -> str:
    """SQLite alone: what differs between databases is tested with keys in memory."""
    path = tmp_path / "records.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def desk(kept_desk: Desk) -> Desk:
    return kept_desk


@pytest.fixture
def shared_desk(kept_desk: Desk) -> Desk:
    return kept_desk


def test_keys_of_ended_signers_are_destroyed_in_the_store(
    desk: Desk, kept_keys: KeyStore, now: datetime
) -> None:
    with desk.store.write() as connection:
        connection.execute(signers_table.delete())  # those of the founding are other tests' too
    before = set(kept_keys.names())
    assert ocsp_signers.ensure(desk, CLOCKWORK, "issuing", now=now)
    with desk.store.read() as connection:
        uri = connection.scalar(select(signers_table.c.key_uri))
    assert uri is not None
    later = now + timedelta(days=40)
    assert ocsp_signers.remove_expired(desk, CLOCKWORK, now=later) == 1
    with pytest.raises(KeyNotFound):
        kept_keys.open(uri)
    assert set(kept_keys.names()) == before
