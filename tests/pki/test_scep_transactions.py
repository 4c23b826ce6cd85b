"""What waits for a device that polls by SCEP: kept once, whoever keeps it."""

from functools import partial

from pki import scep_transactions
from pki.desk import Desk
from pki.scep_transactions import Transaction, Waiting
from pki.x509.csr import read_csr
from store.engine import Store
from tests.fixtures.desk import NOW, reopened
from tests.pki.acts import at_once
from tests.pki.requests import GW1, request


def test_the_same_that_comes_to_two_processes_at_once_is_kept(
    desk: Desk, second_store: Store
) -> None:
    """A device that got no answer sends its request again while the first one is still at work."""
    desks = [desk, reopened(desk, store=second_store)]
    waiting = Waiting("token:t", read_csr(request(GW1)))
    for number in range(10):
        transaction = Transaction("devices", str(number), "00" * 32)
        keep = [
            partial(scep_transactions.remember, each, transaction, waiting, now=NOW)
            for each in desks * 4
        ]
        assert at_once(*keep) == [None] * len(keep)
        assert scep_transactions.recall(desk, transaction, now=NOW).credential == "token:t"
