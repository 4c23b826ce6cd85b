"""One round of the agent: make the daemon what the service wants, and tell what was found.

Trust, CRLs, credential, shared secrets, connections, commands, report: in this order, each step repeatable. A command
to cut goes before all of them, after the CRL that it names. What one step cannot do is written down and does not keep
the others from being done; only a daemon that does not answer ends the steps that need it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Protocol, runtime_checkable

from cryptography.hazmat.primitives.hashes import SHA256

from ike.agent import channel_key, commands, credential, report, sharing
from ike.agent.channel import Document, ServerRefused, Service
from ike.agent.circumstances import Circumstances
from ike.agent.crls import Crl
from ike.agent.desired import DesiredState
from ike.agent.drift import Wanted, compare, tunnels_down
from ike.agent.enrollment import TOLERATED, clock_words
from ike.agent.home import stamp
from ike.daemons.port import fingerprint


@runtime_checkable
class Settling(Protocol):
    """A daemon that wants to be told when a round is over: files whose reader is called once for all changes."""

    def settle(self) -> None:
        """Bring what was changed into effect. Raises DaemonRefused."""
        ...


def run(here: Circumstances, desired: DesiredState | None) -> None:
    """Do all steps and report."""
    if desired is not None:
        commands.cut(here, desired, partial(_tell_cut, here, desired))
    here.step(lambda: _meet(here))
    if desired is not None:
        here.step(lambda: here.daemon.trust(desired.authorities))
        here.step(lambda: _load_crls(here, desired), needs_daemon=False)
    credential.see_to(here, desired)
    if desired is not None:
        # Before the connections: they refer to the secrets.
        sharing.share(here, desired)
        here.step(lambda: here.daemon.connect(desired.connections))
        commands.carry_out(here, desired)
    if isinstance(here.daemon, Settling):
        here.step(here.daemon.settle)
    look(here, desired)
    if here.skew is not None and abs(here.skew) > TOLERATED.total_seconds():
        here.write_down("clock_wrong", clock_words(here.skew, here.clock.wall()))
    tell(here, desired)
    if here.told and not here.renewed:
        here.step(lambda: channel_key.retire(here.home), needs_daemon=False)


def look(here: Circumstances, desired: DesiredState | None) -> list[dict[str, str]]:
    """Compare what is loaded with what should be; gives the differences."""
    here.notes.drift = []
    here.step(lambda: _look_at_daemon(here))
    drift = sharing.look(here, desired)
    # After the secrets: an IKE_SA that is not there yet will be made with what was just found.
    here.step(lambda: _look_at_sas(here, desired))
    if not here.daemon_gone:
        here.notes.drift = compare(_wanted(here, desired), here.inventory) + drift
        if desired is not None:
            up = {str(each["connection"]) for each in here.notes.sas}
            loaded = here.inventory.connections
            here.notes.drift += tunnels_down(desired.connections, loaded, up)
    return here.notes.drift


def _look_at_daemon(here: Circumstances) -> None:
    here.inventory = here.daemon.inventory()


def _look_at_sas(here: Circumstances, desired: DesiredState | None) -> None:
    found = here.daemon.sas()
    sharing.observe(here, desired, found)
    here.notes.sas = [report.sa_document(each, here.notes.secrets) for each in found]


def _wanted(here: Circumstances, desired: DesiredState | None) -> Wanted:
    generations = here.home.generations
    current = generations.current()
    held = [here.crls.held(each.authority) for each in (desired.crls if desired else ())]
    return Wanted(
        certificate=current.certificate if current else None,
        authorities=desired.authorities if desired else (),
        crls=[crl for crl in held if crl is not None],
        connections=[each.name for each in desired.connections] if desired else (),
        old=[fingerprint(each.certified) for each in generations.replaced()],
    )


def _meet(here: Circumstances) -> None:
    """See which daemon is there; give it the credential in use again where it has forgotten it."""
    here.info = here.daemon.describe()
    here.notes.daemon = {"kind": here.info.kind, "version": here.info.version}
    here.inventory = here.daemon.inventory()
    current = here.home.generations.current()
    certificate = current.certificate if current else None
    forgotten = compare(Wanted(certificate, (), (), ()), here.inventory)
    changed = current is not None and here.credentials.pin_changed(current)
    if changed or forgotten or here.notes.incarnation != here.info.incarnation:
        # What was only loaded is gone with the former process, or with somebody's `--load-creds`.
        here.credentials.load_again()
        here.notes.incarnation = here.info.incarnation


def _load_crls(here: Circumstances, desired: DesiredState) -> None:
    lists: list[Crl] = []
    for wanted in desired.crls:
        found: list[Crl] = []
        if here.reached is not None:
            update = partial(here.crls.update, here.reached, wanted, desired.authorities)
            here.step(partial(_collect, found, update), needs_daemon=False)
        crl = found[0] if found else here.crls.held(wanted.authority)
        if crl is not None:
            lists.append(crl)
    here.home.drop_crls({each.authority for each in desired.crls})
    given = (here.notes.incarnation, [each.fingerprint(SHA256()) for each in lists])
    if not lists or (given == here.crls.given and not _lack(here, lists)):
        return  # loading empties the daemon's caches, so that it asks for everything anew
    here.crls.given = None
    here.step(partial(_give, here, lists, given))


def _give(here: Circumstances, lists: Sequence[Crl], given: object) -> None:
    here.daemon.load_crls(lists)
    here.crls.given = given


def _lack(here: Circumstances, lists: Sequence[Crl]) -> bool:
    return bool(compare(Wanted(None, (), lists, ()), here.inventory))


def _collect(found: list[Crl], fetch: Callable[[], Crl]) -> None:
    found.append(fetch())


def _tell_cut(here: Circumstances, desired: DesiredState) -> None:
    here.step(lambda: _look_at_daemon(here))
    here.step(lambda: _look_at_sas(here, None))
    tell(here, desired)


def tell(here: Circumstances, desired: DesiredState | None) -> None:
    """Report, and keep what was done; a report that does not get through is sent with the next round."""
    here.notes.errors = list(here.errors)
    here.notes.skew_seconds = here.skew
    if desired is not None:
        here.notes.version = desired.version
        if here.reached is not None:
            here.step(partial(_send, here, here.reached, desired), needs_daemon=False)
    here.step(lambda: here.home.write_notes(here.notes), needs_daemon=False)


def _send(here: Circumstances, service: Service, desired: DesiredState) -> None:
    current = here.home.generations.current()
    document = report.applied(
        here.notes,
        version=desired.version,
        daemon=here.info,
        certificate=fingerprint(current.certified) if current else None,
        proof=current.proof if current else None,
        inventory=here.inventory,
        errors=[*here.errors, *here.notes.drift],
        secrets=desired.secrets is not None,
    )
    here.told = False
    _post(service, document)
    here.notes.applied_at = stamp(here.clock.wall())
    for each in document["commands"]:
        here.notes.commands[str(each["id"])] |= {"told": True, "told_version": desired.version}
    if not here.daemon_gone:
        told = report.sas_report(here.notes.sas, here.clock.wall())
        service.post("/v1/gateways/self/sas", told)
    here.told = True


def _post(service: Service, document: Document) -> None:
    try:
        service.post("/v1/gateways/self/applied", document)
    except ServerRefused as refused:
        if refused.status != HTTPStatus.UNPROCESSABLE_ENTITY or not document.get("abilities"):
            raise
        # A service from before the rotation of shared secrets takes no member that it does not know.
        known = {k: v for k, v in document.items() if k not in ("abilities", "secrets")}
        service.post("/v1/gateways/self/applied", known)
