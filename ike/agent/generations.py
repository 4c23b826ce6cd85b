"""Generations of the gateway's key and certificate: a state machine on disk.

::

    made ─▶ requested ─▶ issued ─▶ staged ─▶ applied ─▶ proven ─▶ current ─▶ retired
                            ▲         │         │          │
                            └─────────┴── undo ─┴──────────┘

A generation is one directory, `generations/N`; it appears whole and disappears whole. Each step is one file replaced.
The newest `current` one is in use; an older `current` one is still to be taken out of the daemon. Nothing is removed
before its successor is `current`, so there is a working one at every moment. Steps are recorded after they were done:
what the record does not say may have happened, so that a resumed step is done again and an abandoned one undone.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.secret import Secret
from ike.agent.errors import HomeDamaged
from ike.agent.folder import Folder
from ike.daemons.port import Credential, CredentialName, TokenKey
from ike.tokens.errors import TokenUriInvalid
from ike.tokens.uri import parse
from pki.x509.serials import to_hex

_LARGEST: Final = 256 * 1024
_IN_TOKEN: Final = "key.uri"  # noqa: S105 - the name of a file


class Stage(StrEnum):
    """How far a generation has come."""

    MADE = "made"
    REQUESTED = "requested"
    ISSUED = "issued"
    STAGED = "staged"
    APPLIED = "applied"
    PROVEN = "proven"
    CURRENT = "current"
    RETIRED = "retired"


_NEXT: Final = {
    Stage.MADE: {Stage.REQUESTED},
    Stage.REQUESTED: {Stage.REQUESTED, Stage.ISSUED},
    Stage.ISSUED: {Stage.STAGED, Stage.ISSUED},
    Stage.STAGED: {Stage.APPLIED, Stage.ISSUED, Stage.STAGED},
    Stage.APPLIED: {Stage.PROVEN, Stage.ISSUED, Stage.APPLIED},
    Stage.PROVEN: {Stage.CURRENT, Stage.ISSUED, Stage.PROVEN},
    Stage.CURRENT: {Stage.RETIRED, Stage.CURRENT},
    Stage.RETIRED: {Stage.RETIRED},
}
_CERTIFIED: Final = frozenset(Stage) - {Stage.MADE, Stage.REQUESTED}


@dataclass(frozen=True)
class Generation:
    """A key with what belongs to it. `request`: what was or will be asked of the service, with its Idempotency-Key.

    `issued_at` is this gateway's clock when the certificate came.
    """

    number: int
    stage: Stage
    key: Secret | TokenKey
    csr: str
    request: dict[str, Any]
    certificate: x509.Certificate | None = None
    chain: tuple[x509.Certificate, ...] = ()
    issued_at: datetime | None = None
    proof: str | None = None

    @property
    def name(self) -> str:
        """Its directory."""
        return str(self.number)

    @property
    def certified(self) -> x509.Certificate:
        """Its certificate, where the stage says that there is one."""
        if self.certificate is None:
            raise HomeDamaged(f"Generation {self.number} has no certificate.")
        return self.certificate

    @property
    def credential(self) -> Credential:
        """As the port takes it."""
        return Credential(self.key, self.certified, self.chain)

    @property
    def credential_name(self) -> CredentialName:
        """As the port names it."""
        return CredentialName(self.certified)

    @property
    def serial(self) -> str:
        """Serial number, lower-case hexadecimal."""
        return to_hex(self.certified.serial_number)


class Generations:
    """All generations of a home, read anew at each call; changes need the lock of the home."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def all(self) -> tuple[Generation, ...]:
        """From the oldest to the newest. Raises HomeDamaged."""
        names = [name for name in self._folder.names() if name.isdecimal()]
        found = (self._read_or_none(int(name)) for name in sorted(names, key=int))
        return tuple(each for each in found if each is not None)

    def current(self) -> Generation | None:
        """The one in use."""
        return next((each for each in reversed(self.all()) if each.stage is Stage.CURRENT), None)

    def pending(self) -> Generation | None:
        """The one on its way."""
        on_the_way = (Stage.CURRENT, Stage.RETIRED)
        return next((each for each in reversed(self.all()) if each.stage not in on_the_way), None)

    def replaced(self) -> tuple[Generation, ...]:
        """Those that were in use before, and are still to be taken out of the daemon."""
        current = self.current()
        if current is None:
            return ()
        return tuple(
            each
            for each in self.all()
            if each.stage is Stage.CURRENT and each.number < current.number
        )

    def identity(self) -> Generation | None:
        """The one to be known by to the service: the newest that has a certificate."""
        return next((each for each in reversed(self.all()) if each.stage in _CERTIFIED), None)

    def make(self, key: Secret | TokenKey, csr: str, request: dict[str, Any]) -> Generation:
        """Keep a new key; nothing was asked for it yet."""
        numbers = [int(name) for name in self._folder.names() if name.isdecimal()]
        number = max(numbers, default=0) + 1
        files = {
            **({_IN_TOKEN: str(key.uri).encode()} if isinstance(key, TokenKey) else {}),
            **({"key.pem": key.reveal()} if isinstance(key, Secret) else {}),
            "csr.pem": csr.encode(),
            "request": _encoded(request),
            "state": _encoded({"stage": Stage.MADE}),
        }
        self._folder.make()
        self._folder.put(str(number), files)
        return Generation(number, Stage.MADE, key, csr, request)

    def ask(self, generation: Generation, request: dict[str, Any]) -> Generation:
        """Keep what will be asked, before it is."""
        self._sub(generation).write("request", _encoded(request))
        return self._move(replace(generation, request=request), Stage.REQUESTED)

    def note(self, generation: Generation, request: dict[str, Any]) -> None:
        """Keep something else about its request."""
        self._sub(generation).write("request", _encoded(request))

    def issue(self, generation: Generation, credential: Credential, *, now: datetime) -> Generation:
        """Keep the certificate that came, the chain first and the stage last."""
        _check(generation, Stage.ISSUED)
        folder = self._sub(generation)
        chain = b"".join(each.public_bytes(Encoding.PEM) for each in credential.chain)
        folder.write("chain.pem", chain)
        folder.write("certificate.pem", credential.certificate.public_bytes(Encoding.PEM))
        issued = replace(
            generation,
            certificate=credential.certificate,
            chain=credential.chain,
            issued_at=now,
        )
        return self._move(issued, Stage.ISSUED)

    def move(self, generation: Generation, stage: Stage, *, proof: str | None = None) -> Generation:
        """Record that a step was done, or undone."""
        return self._move(replace(generation, proof=proof or generation.proof), stage)

    def discard(self, generation: Generation) -> None:
        """Forget one that was never in use, or is retired, with its key."""
        if generation.stage is Stage.CURRENT:
            raise ValueError("a generation in use is not discarded")
        self._folder.drop(generation.name)

    def retire(self, generation: Generation) -> None:
        """Record that it is out of the daemon, and destroy its key."""
        self.discard(self._move(generation, Stage.RETIRED))

    def sweep(self) -> None:
        """Finish what was cut off: retired ones go."""
        for each in self.all():
            if each.stage is Stage.RETIRED:
                self._folder.drop(each.name)

    def _sub(self, generation: Generation) -> Folder:
        return self._folder.sub(generation.name)

    def _move(self, generation: Generation, stage: Stage) -> Generation:
        _check(generation, stage)
        at = generation.issued_at.isoformat() if generation.issued_at else None
        state = {"stage": stage, "issued_at": at, "proof": generation.proof}
        self._sub(generation).write("state", _encoded(state))
        return replace(generation, stage=stage)

    def _read_or_none(self, number: int) -> Generation | None:
        """None where it went while it was read: who only looks does not hold the lock."""
        try:
            return self._read(number)
        except HomeDamaged:
            if self._folder.sub(str(number)).exists():
                raise
            return None

    def _read(self, number: int) -> Generation:
        folder = self._folder.sub(str(number))
        where = f"generation {number}"
        state = _decoded(folder, "state", where)
        try:
            stage = Stage(str(state.get("stage")))
            at = state.get("issued_at")
            issued_at = datetime.fromisoformat(str(at)) if at else None
        except ValueError:
            raise HomeDamaged(f"The state of {where} cannot be understood.") from None
        csr = _content(folder, "csr.pem", where)
        generation = Generation(
            number=number,
            stage=stage,
            key=_key(folder, csr, where),
            csr=csr.decode("ascii", "replace"),
            request=_decoded(folder, "request", where),
            issued_at=issued_at,
            proof=str(state["proof"]) if state.get("proof") else None,
        )
        if stage not in _CERTIFIED:
            return generation
        try:
            certificate = x509.load_pem_x509_certificate(_content(folder, "certificate.pem", where))
            chain = folder.read("chain.pem", limit=_LARGEST)
            issuers = tuple(x509.load_pem_x509_certificates(chain)) if chain else ()
        except ValueError:
            raise HomeDamaged(f"The certificate of {where} cannot be read.") from None
        return replace(generation, certificate=certificate, chain=issuers)


def _check(generation: Generation, stage: Stage) -> None:
    if stage not in _NEXT[generation.stage]:
        raise ValueError(
            f"generation {generation.number} cannot go from {generation.stage} to {stage}"
        )


def _content(folder: Folder, name: str, where: str) -> bytes:
    content = folder.read(name, limit=_LARGEST)
    if not content:
        raise HomeDamaged(f"The {name} of {where} is missing or empty.")
    return content


def _key(folder: Folder, csr: bytes, where: str) -> Secret | TokenKey:
    """The key, or where it is: then the request tells its public half."""
    uri = folder.read(_IN_TOKEN, limit=_LARGEST)
    if uri is None:
        return Secret(_content(folder, "key.pem", where))
    try:
        public = x509.load_pem_x509_csr(csr).public_key()
        place = parse(uri.decode())
    except (ValueError, TokenUriInvalid):
        raise HomeDamaged(f"Where the key of {where} is cannot be understood.") from None
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return TokenKey(place, spki)


def _decoded(folder: Folder, name: str, where: str) -> dict[str, Any]:
    try:
        document = json.loads(_content(folder, name, where))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise HomeDamaged(f"The {name} of {where} cannot be understood.")
    return document


def _encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode()
