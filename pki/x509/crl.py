"""Certificate revocation lists (RFC 5280 §5) put together from stored entries.

`cryptography`'s builder copies its whole list at every entry, so a list of a million takes it hours. Here each
entry is encoded once, when the certificate is revoked, and kept as DER; a list is the builder's own list without
entries, with the stored ones put in.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from cryptography import x509

from pki.x509 import der
from pki.x509.signing import PublicKey, Recorder, default_hash


class Reason(Enum):
    """Why a certificate was revoked: the names and numbers of RFC 5280 §5.3.1."""

    unspecified = 0
    keyCompromise = 1  # noqa: N815 - the RFC's spelling
    cACompromise = 2  # noqa: N815 - the RFC's spelling
    affiliationChanged = 3  # noqa: N815 - the RFC's spelling
    superseded = 4
    cessationOfOperation = 5  # noqa: N815 - the RFC's spelling
    certificateHold = 6  # noqa: N815 - the RFC's spelling
    removeFromCRL = 8  # noqa: N815 - the RFC's spelling
    privilegeWithdrawn = 9  # noqa: N815 - the RFC's spelling
    aACompromise = 10  # noqa: N815 - the RFC's spelling


_OID_REASON = bytes.fromhex("0603551d15")  # 2.5.29.21
_OID_INVALIDITY = bytes.fromhex("0603551d18")  # 2.5.29.24


def entry(serial: int, revoked_at: datetime, reason: Reason, invalidity: datetime | None) -> bytes:
    """Encode one revokedCertificates entry.

    The reason is left out when it is unspecified, as RFC 5280 §5.3.1 wishes. `invalidity` is when the key is
    believed to have been lost (§5.3.2).
    """
    extensions = b""
    if reason is not Reason.unspecified:
        value = der.tlv(der.ENUMERATED, bytes((reason.value,)))
        extensions += _extension(_OID_REASON, value)
    if invalidity is not None:
        extensions += _extension(_OID_INVALIDITY, der.generalized_time(invalidity))
    if extensions:
        extensions = der.tlv(der.SEQUENCE, extensions)
    return der.tlv(der.SEQUENCE, der.integer(serial) + der.time(revoked_at) + extensions)


def _extension(oid: bytes, value: bytes) -> bytes:
    return der.tlv(der.SEQUENCE, oid + der.tlv(der.OCTET_STRING, value))


@dataclass(frozen=True)
class CrlSpec:
    """What a list says about itself.

    `shard_url` makes it one shard: a critical issuing distribution point with that URL (§5.2.5), the same as in the
    certificates it covers. `base_number` makes it a delta to that full list (§5.2.4). `freshest_url` tells where
    the delta of a full list is (§5.2.6).
    """

    number: int
    this_update: datetime
    next_update: datetime
    shard_url: str | None = None
    base_number: int | None = None
    freshest_url: str | None = None


def draft_crl(
    spec: CrlSpec, issuer: x509.Certificate, issuer_key: PublicKey, entries: Iterable[bytes]
) -> bytes:
    """The to-be-signed part of a list with these DER entries."""
    recorder = Recorder(issuer_key)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(spec.this_update)
        .next_update(spec.next_update)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), False)
        .add_extension(x509.CRLNumber(spec.number), False)
    )
    if spec.shard_url is not None:
        builder = builder.add_extension(_scope(spec.shard_url), critical=True)
    if spec.base_number is not None:
        builder = builder.add_extension(x509.DeltaCRLIndicator(spec.base_number), critical=True)
    if spec.freshest_url is not None:
        point = x509.DistributionPoint(
            [x509.UniformResourceIdentifier(spec.freshest_url)], None, None, None
        )
        builder = builder.add_extension(x509.FreshestCRL([point]), critical=False)
    builder.sign(recorder.key, default_hash(issuer_key))
    return _with_entries(recorder.tbs, b"".join(entries))


def _scope(url: str) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url)],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )


def _with_entries(tbs: bytes, entries: bytes) -> bytes:
    if not entries:  # RFC 5280 §5.1.2.6: without entries the list MUST be absent
        return tbs
    # version, signature, issuer, thisUpdate, nextUpdate, [revokedCertificates,] [0] crlExtensions
    fields = der.children(tbs, der.read(tbs, 0))
    cut = fields[-1].start
    head = tbs[fields[0].start : cut]
    return der.tlv(
        der.SEQUENCE, b"".join((head, der.tlv(der.SEQUENCE, entries), tbs[cut : fields[-1].end]))
    )
