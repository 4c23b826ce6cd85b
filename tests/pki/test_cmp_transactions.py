"""Transactions of CMP: by which hash a certificate is confirmed, and the kind of key that has its own."""

import hashlib
from collections.abc import Callable
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hsm.ports import KeyAlgorithm
from pki import cmp_transactions, enrollments
from pki.cmp.errors import HashWrong
from pki.cmp_transactions import Opening, Transaction, Word
from pki.endpoints import Endpoint
from store.engine import Store
from tests.api.site import new_csr
from tests.fixtures.desk import ADMIN, Founding


@pytest.mark.parametrize(
    ("algorithm", "good"),
    [("ed25519", "sha512"), ("ec-p384", "sha384"), ("ec-p256", "sha256"), ("rsa-3072", "sha256")],
)
def test_the_hash_is_that_of_the_signature(
    store: Store,
    foundings: Callable[[KeyAlgorithm], Founding],
    now: datetime,
    algorithm: KeyAlgorithm,
    good: str,
) -> None:
    desk = foundings(algorithm).into(store)
    through = Endpoint("devices", "gateway", authority="issuing")
    csr = x509.load_pem_x509_csr(new_csr("gw.example").encode()).public_bytes(Encoding.DER)

    def begun(number: bytes) -> tuple[Transaction, bytes]:
        transaction = Transaction("devices", "token:1", number)
        note = cmp_transactions.noting(transaction, Opening("", "p10cr", -1, False), now)
        made = enrollments.enroll(desk, ADMIN, through, "cmp", csr, now=now, note=note)
        return transaction, made.der

    transaction, der = begun(b"1")
    digests = {name: hashlib.new(name, der).digest() for name in ("sha256", "sha384", "sha512")}
    for name, digest in digests.items():
        if name != good:
            with pytest.raises(HashWrong):
                cmp_transactions.confirm(desk, ADMIN, transaction, Word(True, digest), now=now)
    cmp_transactions.confirm(desk, ADMIN, transaction, Word(True, digests[good]), now=now)
    # A client may name another one (RFC 9810 §5.3.18).
    transaction, der = begun(b"2")
    named = Word(True, hashlib.sha384(der).digest(), "sha384")
    cmp_transactions.confirm(desk, ADMIN, transaction, named, now=now)
    assert cmp_transactions.recall(desk, transaction).state == "confirmed"
