"""How a new key and certificate come into use: asked for, given to the daemon step by step, the old one retired."""

import base64
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import Conflict, IkewardenError
from core.secret import Secret
from ike.agent.channel import Document, ServerRefused, Service
from ike.agent.enrollment import clock_words
from ike.agent.generations import Generation, Stage
from ike.agent.home import Home, stamp
from ike.agent.keys import (
    CertificateUnusable,
    credential_of,
    fits,
    kind_of,
    make_key,
    names_of,
    read_certificate,
    request_by,
    validity,
)
from ike.agent.settings import AgentSettings
from ike.agent.tokens import clear_of, wanted_token
from ike.daemons.port import (
    CredentialMismatch,
    CredentialName,
    Daemon,
    DaemonRefused,
    IkeSa,
    Proof,
    TokenKey,
)
from pki.x509 import renewal
from pki.x509.signing import PrivateKey

_ENDED = (
    "client_certificate_expired",
    "client_certificate_revoked",
    "client_certificate_unknown",
    "certificate_not_renewable",
)


class NotYetValid(Conflict):
    """The certificate is valid from later on, by this gateway's clock; it waits."""

    code = "certificate_not_yet_valid"
    next_step = "Look at the clock of this gateway; the agent goes on as soon as the time has come."


class EnrollmentNeeded(Conflict):
    """The service does not take this gateway's certificate any more, so that it cannot renew it."""

    code = "enrollment_needed"
    next_step = (
        "Ask for a line of `ikewarden gateway enrollment NAME` and run `ikewarden agent enroll --force`; the key and "
        "certificate here stay as they are."
    )


class EnrollmentUnfinished(Conflict):
    """An enrollment was cut off before its certificate came."""

    code = "enrollment_unfinished"
    next_step = "Run `ikewarden agent enroll` again with the same line."


@dataclass(frozen=True)
class Credentials:
    """What the steps need: the home, the daemon, what the operator decided, and the clock."""

    home: Home
    daemon: Daemon
    settings: AgentSettings
    clock: Callable[[], datetime]

    def request(self, service: Service) -> Generation:
        """Ask for a successor of the newest certificate, with a new key, or take up what was asked for before.

        Raises EnrollmentNeeded, CertificateUnusable and the errors of `ike.agent.channel`. Where the same request
        cannot work later, the new key is forgotten.
        """
        generations = self.home.generations
        before = generations.identity()
        if before is None:
            raise EnrollmentUnfinished(f"There is no certificate in {self.home.path} yet.")
        asked = generations.pending()
        if asked is not None and asked.request.get("kind") != "renew" and asked.certificate is None:
            generations.discard(asked)  # an enrollment that was cut off must not stop the renewal
            asked = None
        if asked is None or asked.certificate is not None:
            asked = self._new(before)
        asked = generations.ask(asked, asked.request)
        path = f"/v1/certificates/{asked.request['serial']}/renew"
        try:
            answer = service.post(path, _body(asked), key=asked.request["key"])
        except ServerRefused as refused:
            if refused.problem in _ENDED or not (refused.later or refused.status == 409):
                generations.discard(asked)
            raise said(refused) from None
        return self._keep(asked, answer.get("certificate"), answer.get("chain"))

    def take(
        self, asked: Generation, certificate: x509.Certificate, chain: Sequence[x509.Certificate]
    ) -> Generation | None:
        """Keep a certificate that the service told of by another way, if it is for the key that waits for one."""
        if not fits(asked.key, certificate):
            return None
        credential = credential_of(asked.key, certificate, chain, self.home.root())
        return self.home.generations.issue(asked, credential, now=self.clock())

    def _new(self, before: Generation) -> Generation:
        """A new key with a request for it, which the present one signs too where the channel speaks for it."""
        token = wanted_token(self.settings)
        channel = self.home.channel.current()
        if token is not None and channel is None:
            raise EnrollmentNeeded(
                "The next key is to be in a token, and the enrollment was for a file."
            )
        key: Secret | TokenKey = (
            make_key(self.settings.key_type)
            if token is None
            else (self.home.tokens.make(token, self.settings.key_type))
        )
        csr = request_by(self.home.tokens.using(key), names_of(before.certified))
        request = {
            "kind": "renew",
            "serial": before.serial,
            "key": secrets.token_urlsafe(24),
            "at": stamp(self.clock()),
        }
        if channel is not None:
            request["proof"] = _proof(self.home.tokens.using(before.key), csr)
        return self.home.generations.make(key, csr, request)

    def _keep(self, asked: Generation, pem: object, chain: object) -> Generation:
        issuers = chain if isinstance(chain, list) else []
        try:
            credential = credential_of(
                asked.key,
                read_certificate(str(pem)),
                [read_certificate(str(each)) for each in issuers],
                self.home.root(),
            )
        except CertificateUnusable:
            self.home.generations.discard(asked)
            raise
        return self.home.generations.issue(asked, credential, now=self.clock())

    def advance(self, new: Generation, managed: Sequence[str], skew: float | None) -> Generation:
        """Bring a generation into use: stage, check, apply, prove; each step may be done again.

        Raises DaemonUnreachable with everything as far as it came, to be gone on with; DaemonRefused and
        CredentialMismatch after the new one was taken out again and the old one stays; NotYetValid before anything.
        """
        self._refuse_early(new, skew)
        self._require_token(new)
        old = self.home.generations.current()
        name = old.credential_name if old else None
        try:
            new = self._steps(new, name, managed)
        except (DaemonRefused, CredentialMismatch) as refused:
            self.daemon.undo(new.credential, name)
            if isinstance(refused, CredentialMismatch) and old is not None:
                self.home.generations.discard(new)
            else:
                self.home.generations.move(self._reread(new), Stage.ISSUED)
            raise
        return self.home.generations.move(new, Stage.CURRENT)

    def _steps(
        self, new: Generation, old: CredentialName | None, managed: Sequence[str]
    ) -> Generation:
        move = self.home.generations.move
        credential = new.credential
        # Also what is on record as done: the daemon may have been restarted since.
        self.daemon.stage(credential)
        if new.stage is Stage.ISSUED:
            new = move(new, Stage.STAGED)
        self.daemon.check(credential)
        self.daemon.apply(credential, old)
        if new.stage is Stage.STAGED:
            new = move(new, Stage.APPLIED)
        if new.stage is Stage.PROVEN:
            return new
        connections = self._to_prove(new, managed)
        proof = self.daemon.prove(credential, connections, seconds=self.settings.proof_seconds)
        return move(new, Stage.PROVEN, proof=str(Proof(proof)))

    def _reread(self, new: Generation) -> Generation:
        return next(each for each in self.home.generations.all() if each.number == new.number)

    def _to_prove(self, new: Generation, managed: Sequence[str]) -> list[str]:
        """Connections that are up under this gateway's name, where the operator wants proof by authentication."""
        if self.settings.proof != "reauthenticate":
            return []
        own = {name.partition(":")[2] for name in names_of(new.certified)}
        own.add(new.certified.subject.rfc4514_string())
        return sorted(
            {
                sa.connection
                for sa in self.daemon.sas()
                if sa.established and (sa.connection in managed or _is_own(sa, own))
            }
        )

    def _refuse_early(self, new: Generation, skew: float | None) -> None:
        now = self.clock()
        start, _ = validity(new.certified)
        if now < start:
            told = f" {clock_words(skew, now)}" if skew is not None and abs(skew) > 1 else ""
            raise NotYetValid(
                f"The new certificate is valid from {start:%Y-%m-%d %H:%M:%S}Z on, and this gateway's clock says "
                f"{now:%Y-%m-%d %H:%M:%S}Z.{told}"
            )

    def load_again(self) -> None:
        """Give the daemon the credential in use, where it has forgotten it."""
        current = self.home.generations.current()
        if current is not None:
            self._require_token(current)
            self.daemon.stage(current.credential)
            self.daemon.check(current.credential)
            self.daemon.apply(current.credential, None)

    def _require_token(self, generation: Generation) -> None:
        """Try the PIN before the daemon does: what is wrong is tried once, and by one."""
        if isinstance(generation.key, TokenKey):
            self.home.tokens.check(generation.key)
            self.home.tokens.note_given(generation.key)

    def pin_changed(self, current: Generation) -> bool:
        """Whether the daemon must be given the PIN of a token anew."""
        key = current.key
        return isinstance(key, TokenKey) and self.home.tokens.pin_changed(key)

    def sweep(self) -> None:
        """Destroy in the token what no generation needs: retired keys, and what a death left there."""
        token = wanted_token(self.settings)
        if token is not None:
            self.home.tokens.sweep(token, self._kept())

    def _kept(self) -> set[bytes]:
        keys = (each.key for each in self.home.generations.all())
        return {key.uri.id for key in keys if isinstance(key, TokenKey)}

    def retire(self) -> None:
        """Take former credentials out of the daemon, then destroy their keys; also those that never came into use."""
        generations = self.home.generations
        for old in generations.replaced():
            self.daemon.retire(old.credential_name)
            generations.retire(old)
            if isinstance(old.key, TokenKey) and old.key.uri.place != wanted_token(self.settings):
                clear_of(self.home.tokens, old.key.uri, self._kept())
        current, pending = generations.current(), generations.pending()
        for stray in generations.all():
            if stray.stage is Stage.CURRENT or (pending and stray.number == pending.number):
                continue
            if stray.certificate is not None:
                name = current.credential_name if current else None
                self.daemon.undo(stray.credential, name)
            generations.discard(stray)

    def of_other_kind(self, pending: Generation) -> bool:
        """Whether the operator has decided on another kind of key since this one was made."""
        return pending.request.get("kind") == "renew" and not as_wanted(pending, self.settings)


def as_wanted(generation: Generation, settings: AgentSettings) -> bool:
    """Whether a key is of the kind, and in the place, that the operator wants."""
    place = generation.key.uri.place if isinstance(generation.key, TokenKey) else None
    return place == wanted_token(settings) and kind_of(generation.key) == settings.key_type


def _proof(present: PrivateKey, csr: str) -> str:
    der = x509.load_pem_x509_csr(csr.encode()).public_bytes(Encoding.DER)
    return base64.b64encode(renewal.prove(present, der)).decode()


def _body(asked: Generation) -> Document:
    proof = asked.request.get("proof")
    return {"csr": asked.csr, **({"proof": proof} if proof else {})}


def _is_own(sa: IkeSa, own: set[str]) -> bool:
    return sa.local_id in own or sa.local_id.partition(":")[2] in own


def said(refused: ServerRefused) -> IkewardenError:
    """A refusal that means the end of this certificate as EnrollmentNeeded; others as they are."""
    if refused.problem in _ENDED:
        return EnrollmentNeeded(f"This gateway's certificate counts no more. {refused.message}")
    return refused
