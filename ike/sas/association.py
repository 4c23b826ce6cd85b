"""An SA of this moment, whoever told of it: an IKE SA with its child SAs, or child SAs that nobody negotiated."""

from dataclasses import dataclass
from typing import Any, Final

#: Who made the SAs of an association.
NEGOTIATED: Final = "negotiated"  # an IKE daemon says that they are its own
MANUAL: Final = "manual"  # somebody gave the kernel the keys by hand
UNCLAIMED: Final = (
    "unclaimed"  # the kernel has them, and the daemon that was asked does not know them
)
UNKNOWN: Final = "unknown"  # the kernel has them, and no daemon was asked

#: How it is known by what an end proved itself.
TOLD: Final = "told"  # whoever listed the SA says it of this SA
NOTED: Final = "noted"  # the agent saw it when the SA came up
INFERRED: Final = "inferred"  # from the configuration, and what the daemon holds, as they are now


@dataclass(frozen=True)
class Proof:
    """By what an end proved itself; `basis` is how that is known, "" where it is not. `remark` says what is not known,
    and why.

    `method` is "certificate", "pre-shared key", "EAP" or another word; rounds are joined by " + ". `subject`, `serial`
    and `fingerprint` (SHA-256) are of the certificate, in hexadecimal; `secret` names a shared secret, never its value.
    """

    method: str = ""
    basis: str = ""
    subject: str = ""
    serial: str = ""
    fingerprint: str = ""
    secret: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Child:
    """A child SA: both directions. What is not told is empty, or None. Times are seconds from now.

    `mode` is "tunnel", "transport" or another word of the kernel; `protocol` is "ESP" or "AH"; SPIs are hexadecimal
    without `0x`. `lifetime_seconds` is how long it lives from its making.
    """

    protocol: str = ""
    mode: str = ""
    nat_t: bool | None = None
    algorithms: str = ""
    spi_in: str = ""
    spi_out: str = ""
    name: str = ""
    number: str = ""
    state: str = ""
    local_ts: tuple[str, ...] = ()
    remote_ts: tuple[str, ...] = ()
    bytes_in: int | None = None
    bytes_out: int | None = None
    age_seconds: int | None = None
    rekey_seconds: int | None = None
    expire_seconds: int | None = None
    lifetime_seconds: int | None = None


@dataclass(frozen=True)
class Association:
    """An IKE SA with its child SAs; with `origin` other than NEGOTIATED, child SAs between two addresses alone.

    `local` and `remote` are addresses. Where `directed` is false the source did not tell which end is this host, and
    they are in the order in which they were found. Identities are as the peer chose them: who shows them escapes them.
    `authentication` is what the source calls it; the proofs are None where nothing is told of them.
    """

    source: str
    local: str
    remote: str
    origin: str = NEGOTIATED
    directed: bool = True
    connection: str = ""
    number: str = ""
    version: str = ""
    state: str = ""
    local_id: str = ""
    remote_id: str = ""
    authentication: str = ""
    local_proof: Proof | None = None
    remote_proof: Proof | None = None
    algorithms: str = ""
    nat_t: bool | None = None
    spi_initiator: str = ""
    spi_responder: str = ""
    initiator: bool | None = None
    age_seconds: int | None = None
    rekey_seconds: int | None = None
    reauth_seconds: int | None = None
    children: tuple[Child, ...] = ()


def document(association: Association) -> dict[str, Any]:
    """As JSON: what is not told is null."""
    shown = {name: _shown(value) for name, value in vars(association).items()}
    shown["children"] = [
        {name: _shown(value) for name, value in vars(child).items()}
        for child in association.children
    ]
    return shown


def _shown(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Proof):
        return {name: _shown(each) for name, each in vars(value).items()}
    return None if value == "" else value
