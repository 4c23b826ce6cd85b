"""The list of checks, carried out, and the one next thing to do. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from ike.doctor import clock, negotiation, path, policy, proof
from ike.doctor.values import Case, Check, Verdict


class Question(NamedTuple):
    """A check and what it is called. The order is that in which a tunnel comes up: what fails first hides the rest."""

    name: str
    title: str
    ask: Callable[[Case], Check | None]


QUESTIONS: Final[tuple[Question, ...]] = (
    Question("daemon", "The daemon runs", path.daemon),
    Question("configuration", "The connection is configured", policy.configuration),
    Question("readable", "All files could be read", policy.readable),
    Question("loaded", "The daemon has loaded it", path.loaded),
    Question("ports", "UDP 500 and 4500 are bound here", path.ports),
    Question("clock", "The clock is right", clock.clock),
    Question("reachable", "The peer answers at UDP 500", path.reachable),
    Question("nat_port", "The peer answers at UDP 4500", path.nat_port),
    Question("counterpart", "The peer has a connection for it", policy.counterpart),
    Question("versions", "Both speak one version of IKE", policy.versions),
    Question("nat", "Addresses are as expected", path.nat),
    Question("ike_proposals", "Proposals for IKE in common", policy.ike_proposals),
    Question("fragments", "Large messages get through", path.fragments),
    Question("authentication", "Methods of authentication match", policy.authentication),
    Question("identities", "Identities match", policy.identities),
    Question("secret", "Pre-shared keys are equal", proof.secret),
    Question("certificate_key", "Certificates have their keys", proof.certificate_key),
    Question("certificate_valid", "Certificates are valid now", proof.certificate_valid),
    Question(
        "certificate_identity", "Certificates name the identities", proof.certificate_identity
    ),
    Question("trust", "Certificates are trusted", proof.trust),
    Question("revoked", "No certificate is revoked", proof.revoked),
    Question("revocation_source", "Revocation can be looked up", proof.revocation_source),
    Question("accepted", "The other daemon takes the certificate", proof.accepted),
    Question("child_proposals", "Proposals for the Child SA in common", policy.child_proposals),
    Question("selectors", "Networks match", policy.selectors),
    Question("duplicate", "Nobody else has the identity", negotiation.duplicate),
    Question("traffic", "Traffic goes both ways", path.traffic),
    Question("negotiation", "The last negotiation went well", negotiation.last),
    Question("associations", "The SAs are there", negotiation.associations),
)
TITLES: Final[Mapping[str, str]] = {each.name: each.title for each in QUESTIONS}
# Without these nothing else counts, whatever an older log says.
_FIRST: Final = frozenset({"daemon", "configuration", "loaded", "ports"})
_SYMPTOMS: Final = frozenset({"negotiation", "associations", "traffic"})
_PROOFS: Final = frozenset(
    {
        "authentication",
        "identities",
        "secret",
        "clock",
        *("certificate_key", "certificate_valid", "certificate_identity", "trust", "revoked"),
        *("revocation_source", "accepted"),
    }
)
_SILENCE: Final = frozenset({"reachable", "nat_port", "fragments", "nat"})
# What the last failure speaks for: how far the negotiation came.
_POINTS_TO: Final[Mapping[str, frozenset[str]]] = {
    "cert_revoked": frozenset({"revoked"}),
    "cert_invalid": _PROOFS,
    "crl_fetch_failed": frozenset({"revocation_source"}),
    "auth_failed": _PROOFS,
    "unknown_peer": frozenset({"nat", "identities", "authentication", "counterpart", "versions"}),
    "proposal_mismatch": frozenset(
        {"ike_proposals", "child_proposals", "nat", "counterpart", "versions"}
    ),
    "ts_unacceptable": frozenset({"selectors"}),
    "giving_up": _SILENCE,
    "ike_timeout": _SILENCE,
    "retransmit": _SILENCE,
}


@dataclass(frozen=True)
class Diagnosis:
    """All answers, and the one to begin with; None where nothing is left to do."""

    tunnel: str
    checks: tuple[Check, ...]
    first: Check | None

    @property
    def wrong(self) -> tuple[Check, ...]:
        """What is wrong."""
        return tuple(each for each in self.checks if each.verdict is Verdict.WRONG)

    @property
    def causes(self) -> tuple[Check, ...]:
        """What is wrong, without what merely follows from it; all of it where no cause was found."""
        return tuple(each for each in self.wrong if each.name not in _SYMPTOMS) or self.wrong


def examine(case: Case) -> Diagnosis:
    """Carry out the checks. What most probably keeps the tunnel down comes first; without anything wrong, what is not
    known and would tell most.
    """
    checks = tuple(check for each in QUESTIONS if (check := each.ask(case)) is not None)
    order = {each.name: place for place, each in enumerate(QUESTIONS)}
    failure = case.failure
    pointed = _POINTS_TO.get(failure.kind, frozenset()) if failure is not None else frozenset()
    doubtful = case.log is not None and case.log.doubtful

    def urgency(check: Check) -> tuple[bool, bool, bool, int]:
        name = check.name
        # What may be of somebody else speaks only where nothing else does.
        behind = name == "nat" if doubtful else name not in pointed
        return name not in _FIRST, name in _SYMPTOMS, behind, order[name]

    wrong = [each for each in checks if each.verdict is Verdict.WRONG]
    first = min(wrong, key=urgency, default=None)
    if first is None and not case.is_up:
        unknown = (each for each in checks if each.verdict is Verdict.UNKNOWN and each.next_step)
        first = min(unknown, key=urgency, default=None)
    return Diagnosis(case.tunnel.name if case.tunnel is not None else case.name, checks, first)
