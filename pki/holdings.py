"""What a process has read once and keeps: records that never change after they were written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hsm.ports import PrivateKey
    from pki.authorities import Authority
    from pki.x509.draft import Mould
    from pki.x509.profile import Profile


class Holdings:
    """Authorities and profiles by name, opened keys by URI, moulds by (authority, profile).

    Plain dictionaries: two threads that miss at once both read the same record, which does no harm.
    """

    def __init__(self) -> None:
        self.authorities: dict[str, Authority] = {}
        self.signers: dict[str, PrivateKey] = {}
        self.profiles: dict[str, Profile] = {}
        self.moulds: dict[tuple[str, str], Mould] = {}
