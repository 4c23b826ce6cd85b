"""The identities of IKE peers: as names on record, and as daemons write them."""

import re
from collections.abc import Sequence

from cryptography import x509
from cryptography.x509.oid import NameOID

from core.errors import InvalidInput
from pki.x509.names import GeneralName, InvalidName

MAX_IDENTITIES = 50
_BETWEEN_RDNS = re.compile(r"(?<!\\),\s*")


class IdentitiesRefused(InvalidInput):
    """None, too many, or the same identity twice."""

    code = "identities_refused"
    next_step = (
        f"Give 1 to {MAX_IDENTITIES} different identities, as dns:gw1.example.com or ip:192.0.2.1."
    )


def checked(identities: Sequence[str]) -> tuple[str, ...]:
    """The identities in their only spelling. Raises IdentitiesRefused, InvalidName."""
    if not 1 <= len(identities) <= MAX_IDENTITIES:
        raise IdentitiesRefused(f"There must be 1 to {MAX_IDENTITIES} identities.")
    found = tuple(str(GeneralName.parse(text)) for text in identities)
    if len(set(found)) != len(found):
        raise IdentitiesRefused("An identity is given twice.")
    return found


def shared(
    left: Sequence[str], right: Sequence[str], chosen: tuple[str | None, str | None]
) -> str | None:
    """An identity by which both ends would be known, given all that each has and the ones `chosen`; None if all is
    well. The first is taken where none is chosen.
    """
    here, there = chosen[0] or left[0], chosen[1] or right[0]
    if here in (there, *right):
        return here
    return there if there in left else None


def from_daemon(text: str) -> str | None:
    """The name that a daemon means by an identity in its listing; None where it means none that can be certified.

    charon and pluto write distinguished names the other way round than RFC 4514; pluto puts an @ before host names.
    """
    if "=" in text:
        spelled = [("dn", ",".join(reversed(_BETWEEN_RDNS.split(text)))), ("dn", text)]
    elif text.startswith("@"):
        spelled = [("dns", text[1:])]
    elif "@" in text:
        spelled = [("email", text)]
    else:
        spelled = [("ip", text), ("dns", text)]
    for kind, value in spelled:
        try:
            return str(GeneralName.parse(f"{kind}:{value}"))
        except InvalidName:
            continue
    return None


def common_names(name: str) -> tuple[str, ...]:
    """The host names that stand as common names in a distinguished name on record, as names; none for other kinds."""
    kind, _, value = name.partition(":")
    if kind != "dn":
        return ()
    found = []
    for attribute in x509.Name.from_rfc4514_string(value).get_attributes_for_oid(
        NameOID.COMMON_NAME
    ):
        try:
            found.append(str(GeneralName.of("dns", str(attribute.value))))
        except InvalidName:
            continue
    return tuple(found)


def split(text: str | None) -> tuple[str, ...]:
    """Identities as the records keep them: one a line."""
    return tuple(text.split("\n")) if text else ()
