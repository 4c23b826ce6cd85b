"""Revocation lists: fetched when their content changed, believed when an authority of the desired state signed them."""

import hashlib
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from core.errors import Unavailable
from ike.agent.channel import Service
from ike.agent.desired import DesiredCrl
from ike.agent.drift import crl_number
from ike.agent.home import LARGEST_CRL, Home

Crl = x509.CertificateRevocationList
_ROOM: Final = 64 * 1024  # a list may have grown since the state named its size


class CrlUnusable(Unavailable):
    """What came in the place of a revocation list is none, is older than the one held, or nobody known signed it."""

    code = "crl_unusable"
    next_step = "The list held before stays in use; look at the service's log."


class Crls:
    """The lists of one home; parsed ones are kept in memory, because they may be large."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._parsed: dict[str, tuple[str, Crl]] = {}
        self.given: object = None
        """What the daemon was given by this process last, so that nothing is loaded again without need."""

    def held(self, authority: str) -> Crl | None:
        """The list of an authority as it was fetched last; None where there is none that can be read."""
        der = self._home.crl(authority)
        if der is None:
            return None
        digest = hashlib.sha256(der).hexdigest()
        known = self._parsed.get(authority)
        if known is not None and known[0] == digest:
            return known[1]
        try:
            crl = x509.load_der_x509_crl(der)
        except ValueError:
            return None
        self._parsed[authority] = (digest, crl)
        return crl

    def held_with(self, authority: str, number: int) -> Crl | None:
        """The same, if it has this number or a higher one."""
        crl = self.held(authority)
        return crl if crl is not None and crl_number(crl) >= number else None

    def update(
        self, service: Service, wanted: DesiredCrl, authorities: Sequence[x509.Certificate]
    ) -> Crl:
        """The list that is wanted, or a newer one. Raises CrlUnusable and the errors of `ike.agent.channel`."""
        held = self._home.crl(wanted.authority)
        digest = hashlib.sha256(held).hexdigest() if held else None
        known = self.held(wanted.authority)
        if known is not None and (digest == wanted.sha256 or crl_number(known) > wanted.number):
            return known
        return self.fetch(service, wanted.authority, authorities, size=wanted.size)

    def fetch(
        self,
        service: Service,
        authority: str,
        authorities: Sequence[x509.Certificate],
        *,
        size: int = 0,
        number: int = 0,
    ) -> Crl:
        """The list as the service has it now, which must have this number at least. Raises what `update` raises."""
        known = self.held(authority)
        path = f"/v1/authorities/{quote(authority, safe='')}/crl"
        limit = min(2 * size + _ROOM, LARGEST_CRL) if size else LARGEST_CRL
        der = service.fetch(path, limit=limit) or b""
        crl = _read(der, authority)
        _check_signature(crl, authority, authorities)
        floor = max(number, crl_number(known) if known is not None else 0)
        if crl_number(crl) < floor:
            raise CrlUnusable(
                f"The CRL of {authority} has number {crl_number(crl)}, and {floor} was expected."
            )
        self._home.write_crl(authority, der)
        self._parsed[authority] = (hashlib.sha256(der).hexdigest(), crl)
        return crl


def _read(der: bytes, authority: str) -> Crl:
    try:
        return x509.load_der_x509_crl(der)
    except ValueError:
        raise CrlUnusable(f"What came as the CRL of {authority} is none, or was cut off.") from None


def _check_signature(crl: Crl, authority: str, authorities: Sequence[x509.Certificate]) -> None:
    for issuer in authorities:
        if issuer.subject != crl.issuer:
            continue
        try:
            if crl.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]
                return
        except (TypeError, ValueError, UnsupportedAlgorithm):
            continue
    raise CrlUnusable(f"The CRL of {authority} is not signed by an authority that is trusted here.")
