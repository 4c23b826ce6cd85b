"""By what the ends of an IKE SA proved themselves, as far as that can be known. Pure.

Neither charon nor pluto tells it of an SA. It follows from the connection's configuration and from what the daemon
holds, both as they are now; an SA that is older than a change of them may have come up by something else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ike.daemons.libreswan import status
from ike.daemons.libreswan.status import Conn
from ike.daemons.strongswan import names
from ike.daemons.strongswan.listing import Listed
from ike.daemons.strongswan.sightings import Sighting
from ike.sas.association import INFERRED, NOTED, Proof

CERTIFICATE: Final = "certificate"
SECRET: Final = "pre-shared key"  # noqa: S105 - a word
_CLASSES: Final = {"public key": CERTIFICATE, "any": ""}
_PLUTO: Final = {"secret": SECRET, "null": "none", "never": ""}
_SIGNING: Final = ("rsasig", "ecdsa", "eddsa", "digsig")
_NO_CONNECTION: Final = Proof(remark="the daemon has no connection of this name any longer")
_WHICH: Final = "which certificate it was is not told"


@dataclass(frozen=True)
class Charon:
    """What charon holds: connections as of `list-conns` by name, certificates, the names of shared secrets. `noted` is
    what the agent noted of SAs, by their SPIs.
    """

    connections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    certificates: Sequence[Listed] = ()
    secrets: Sequence[str] = ()
    noted: Mapping[str, Sighting] = field(default_factory=dict)


def of_charon(name: str, raw: Mapping[str, Any], held: Charon) -> tuple[Proof, Proof]:
    """Those of this end and of the peer; `raw` is an IKE SA of `list-sas`."""
    conn = held.connections.get(name)
    if conn is None:
        return _NO_CONNECTION, _NO_CONNECTION
    seen = held.noted.get(f"{raw.get('initiator-spi', '')}:{raw.get('responder-spi', '')}")
    local, remote = (_method(conn, end) for end in ("local", "remote"))
    return (
        _charon(held, local, raw.get("local-id", ""), seen.local if seen else None, own=True),
        _charon(held, remote, raw.get("remote-id", ""), seen.remote if seen else None, own=False),
    )


def _method(conn: Mapping[str, Any], end: str) -> str:
    rounds = [conn[key] for key in sorted(conn) if key.startswith(f"{end}-") and key[-1].isdigit()]
    told = [str(each.get("class", "")) for each in rounds if isinstance(each, Mapping)]
    return " + ".join(filter(None, (_CLASSES.get(each, each) for each in told)))


def _charon(held: Charon, method: str, identity: str, noted: str | None, *, own: bool) -> Proof:
    if not method:
        return Proof(remark="the connection leaves the method open")
    proof = Proof(method, INFERRED)
    if SECRET in method:
        if len(held.secrets) == 1:
            return replace(proof, secret=held.secrets[0])
        said = f"charon lists {len(held.secrets)} secrets, and does not tell for whom they are"
        return replace(proof, remark=said)
    return _certificate(held, proof, identity, noted, own=own) if CERTIFICATE in method else proof


def _certificate(
    held: Charon, proof: Proof, identity: str, noted: str | None, *, own: bool
) -> Proof:
    if noted is not None:
        found = [each for each in held.certificates if each.fingerprint == noted]
        seen = replace(proof, basis=NOTED, fingerprint=noted)
        return _shown(found[0], seen) if found else seen
    fitting = [
        each
        for each in held.certificates
        if each.has_key == own and not each.authority and names.proves(each.certificate, identity)
    ]
    if len(fitting) == 1:
        return _shown(fitting[0], proof)
    count = f"{len(fitting)} certificates" if fitting else "no certificate"
    return replace(proof, remark=f"charon holds {count} of this identity: {_WHICH}")


def _shown(held: Listed, proof: Proof) -> Proof:
    return replace(
        proof,
        subject=held.certificate.subject.rfc4514_string(),
        serial=f"{held.certificate.serial_number:x}",
        fingerprint=held.fingerprint,
    )


# ---------------------------------------------------------------- pluto


@dataclass(frozen=True)
class Pluto:
    """What pluto prints of its certificates (`--listcerts`) and of its pre-shared keys (`--listpsks`)."""

    certificates: str = ""
    secrets: str = ""


def of_pluto(conn: Conn | None, held: Pluto) -> tuple[Proof, Proof]:
    """Those of this end and of the peer."""
    if conn is None or not conn.name:
        return _NO_CONNECTION, _NO_CONNECTION
    local = _pluto(conn, conn.local_auth, held, certified=bool(conn.certificate))
    remote = _pluto(conn, conn.remote_auth, held, certified=bool(conn.remote_authority))
    if local.method == CERTIFICATE:
        subject, serial = status.end_certificates(held.certificates).get(conn.certificate, ("", ""))
        remark = "" if subject else f"its name in the database is {conn.certificate}"
        local = replace(local, subject=subject, serial=serial, remark=remark)
    if remote.method == CERTIFICATE:
        said = f"one of {conn.remote_authority}; {_WHICH} by pluto, its log has it"
        remote = replace(remote, remark=said)
    return local, remote


def _pluto(conn: Conn, auth: str, held: Pluto, *, certified: bool) -> Proof:
    word = auth.partition("(")[0].lower()
    if not word:
        return Proof(remark="how the ends prove themselves is not in the status")
    if word in _SIGNING:
        return Proof(CERTIFICATE if certified else "public key", INFERRED)
    proof = Proof(_PLUTO.get(word, word), INFERRED)
    if proof.method != SECRET:
        return proof
    lines = status.secrets(held.secrets).lines_for([conn.local_id, conn.remote_id])
    if len(lines) == 1:
        return replace(proof, secret=f"line {lines[0]} of its secrets")
    if not held.secrets:
        return replace(proof, remark="which one it was is not in the status")
    return replace(proof, remark=f"pluto lists {len(lines)} keys for these two by their names")
