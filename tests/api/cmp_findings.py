"""What becomes of each CMP message under each fault, for each way to prove who sends it: the table, as data.

`tests/api/test_cmp_findings.py` tries every cell, and counts the certificates on record before and after.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pki.cmp.answers import Failure

#: In the order of RFC 9810 §5.1.2.
MESSAGES: Final = ("ir", "cr", "p10cr", "kur", "rr", "certConf", "pollReq", "genm")
#: PBM and PBMAC1 with the secret of a token; a signature by the key of a certificate; a person who has to approve.
WAYS: Final = ("PBM", "PBMAC1", "signature", "approval")
FAULTS: Final[Mapping[str, str]] = {
    "missing": "no protection, or no certificate with the signature; of an approval: nobody has decided",
    "wrong": "another secret or key than that of the reference or certificate; of an approval: refused",
    "stranger": "a token or a certificate that this service never made",
    "expired": "the token, certificate or approval has ended",
    "revoked": "the token or certificate was revoked",
    "used up": "the token gave its certificate, for another key",
    "other device's": "for another device's names, certificate or transaction",
    "old": "recorded ten minutes ago",
    "replayed": "the very same message once more",
    "nonce": "recipNonce of another transaction",
    "transactionID": "under the transactionID of something else",
}


@dataclass(frozen=True)
class Finding:
    """One cell. Without a failure it is answered, and `code` says why nothing comes of it."""

    way: str
    message: str
    fault: str
    failure: Failure | None
    code: str

    @property
    def makes_sense(self) -> bool:
        """Whether there is something to try."""
        return self.code != _FIRST[1]


Cell = tuple[Failure | None, str]
_REQUESTS: Final = ("ir", "cr", "p10cr")
_FOLLOWING: Final = ("certConf", "pollReq")


def _every(cell: Cell, *but: tuple[tuple[str, ...], Cell]) -> dict[str, Cell]:
    """The same for all messages, but for some."""
    found = dict.fromkeys(MESSAGES, cell)
    for messages, other in but:
        found |= dict.fromkeys(messages, other)
    return found


_UNPROTECTED: Final = (Failure.BAD_MESSAGE_CHECK, "cmp_protection_invalid")
_OLD: Final = (Failure.BAD_TIME, "cmp_time_refused")
_TOKEN: Final = (Failure.NOT_AUTHORIZED, "token_refused")
_KEY_WANTED: Final = (Failure.NOT_AUTHORIZED, "cmp_certificate_wanted")
_UNKNOWN: Final = (Failure.BAD_REQUEST, "cmp_transaction_unknown")
_NONCE: Final = (Failure.BAD_RECIPIENT_NONCE, "cmp_nonce_wrong")
_IN_USE: Final = (Failure.TRANSACTION_ID_IN_USE, "cmp_transaction_in_use")
_CONFIRMED: Final = (Failure.CERT_CONFIRMED, "cmp_confirmed_already")
_EXPIRED: Final = (Failure.SIGNER_NOT_TRUSTED, "client_certificate_expired")
_REVOKED: Final = (Failure.CERT_REVOKED, "client_certificate_revoked")
_STRANGER: Final = (Failure.SIGNER_NOT_TRUSTED, "client_certificate_unknown")
_PUBLIC: Final = (None, "what is public is told to anybody")
_SAME: Final = (None, "answered with the same certificate, and no second one is made")
_CONFIRMS: Final = (None, "who asked may confirm: it is the certificate's end, not the token's")
_FIRST: Final = (None, "nothing goes before the first message of a transaction")
_NO_TRANSACTION: Final = (None, "it begins no transaction that is kept: it ends or tells the same")

_BY_SECRET: Final[Mapping[str, Mapping[str, Cell]]] = {
    "missing": _every(_UNPROTECTED, (("genm",), _PUBLIC)),
    "wrong": _every(_UNPROTECTED),
    "stranger": _every(_UNPROTECTED),
    "expired": _every(
        _TOKEN, (("kur", "rr"), _KEY_WANTED), (("certConf",), _CONFIRMS), (("genm",), _PUBLIC)
    ),
    "revoked": _every(
        _TOKEN, (("kur", "rr"), _KEY_WANTED), (("certConf",), _CONFIRMS), (("genm",), _PUBLIC)
    ),
    "used up": _every(
        _TOKEN, (("kur", "rr"), _KEY_WANTED), (("certConf",), _CONFIRMS), (("genm",), _PUBLIC)
    ),
    "other device's": _every(
        (Failure.NOT_AUTHORIZED, "outside_scope"),
        (("kur", "rr"), _KEY_WANTED),
        (_FOLLOWING, _UNKNOWN),
        (("genm",), _PUBLIC),
    ),
    "old": _every(_OLD),
    "replayed": _every(
        _SAME,
        (("kur", "rr"), _KEY_WANTED),
        (("certConf",), _CONFIRMED),
        (("pollReq",), (None, "still nobody has decided")),
        (("genm",), _PUBLIC),
    ),
    "nonce": _every(_FIRST, (_FOLLOWING, _NONCE), (("kur", "rr"), _KEY_WANTED)),
    "transactionID": _every(
        _IN_USE, (("rr",), _KEY_WANTED), (_FOLLOWING, _UNKNOWN), (("genm",), _PUBLIC)
    ),
}
_BY_KEY: Final[Mapping[str, Mapping[str, Cell]]] = {
    "missing": _every(_UNPROTECTED),
    "wrong": _every(_UNPROTECTED),
    "stranger": _every(_STRANGER),
    "expired": _every(_EXPIRED),
    "revoked": _every(_REVOKED),
    "other device's": _every(
        (Failure.BAD_CERT_TEMPLATE, "renewal_names_changed"),
        (("kur",), (Failure.BAD_CERT_ID, "cmp_old_certificate_other")),
        (("rr",), (Failure.BAD_CERT_ID, "not_its_own_certificate")),
        (_FOLLOWING, _UNKNOWN),
        (("genm",), _PUBLIC),
    ),
    "old": _every(_OLD),
    "replayed": _every(
        _SAME, (("rr",), _REVOKED), (("certConf",), _CONFIRMED), (("genm",), _PUBLIC)
    ),
    "nonce": _every(_FIRST, (_FOLLOWING, _NONCE)),
    "transactionID": _every(_IN_USE, (("rr", "genm"), _NO_TRANSACTION), (_FOLLOWING, _UNKNOWN)),
}
# Only a first certificate by a secret waits for a person; its client polls.
_BY_PERSON: Final[Mapping[str, Mapping[str, Cell]]] = {
    "missing": {"pollReq": (None, "it is told to poll again")},
    "wrong": {"pollReq": (Failure.NOT_AUTHORIZED, "enrollment_denied")},
    "expired": {"pollReq": (None, "nobody decided in time: a person is asked anew")},
    "revoked": {"pollReq": _TOKEN},
    "other device's": {"pollReq": _UNKNOWN},
    "replayed": {"p10cr": (None, "the same request waits on, and nobody is asked twice")},
    "transactionID": {"p10cr": _IN_USE},
}


def findings() -> Iterator[Finding]:
    """The whole table."""
    tables = (_BY_SECRET, _BY_SECRET, _BY_KEY, _BY_PERSON)
    for way, table in zip(WAYS, tables, strict=True):
        for fault, cells in table.items():
            for message, (failure, code) in cells.items():
                yield Finding(way, message, fault, failure, code)
