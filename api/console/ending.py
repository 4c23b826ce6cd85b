"""Certificates stopped: for a while or for ever, after a look at what ends with them, and how far that is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from api.console import acting
from api.console.acting import told
from api.console.certificates import ONE, PATH, Row, Which, address, row
from api.console.errors import PageStale
from api.console.mending import WORTH_KEEPING, again
from api.console.page import Answer, Form, Page, Redirect, Screen, Visit, tell, text
from api.console.render import link
from api.console.tones import Tone
from api.registry import Nothing
from api.v1.certificates import Word
from fleet import reach, revoking
from fleet.revoking import Revocation
from pki import compromise, revocation
from pki.actors import Action, Actor
from pki.approvals import ApprovalRequired
from pki.authorities import PROFILE as AUTHORITY_PROFILE
from pki.certificates import CertificateView

#: The reasons of RFC 5280 §5.3.1 that can be given, in words.
REASONS: Final[Mapping[str, str]] = {
    "superseded": text("Superseded: another certificate takes its place"),
    "cessationOfOperation": text("Cessation of operation: it is not needed any more"),
    "keyCompromise": text("Key compromise: the key is lost, stolen, or known to somebody else"),
    "affiliationChanged": text("Affiliation changed: a name in it is not right any more"),
    "privilegeWithdrawn": text("Privilege withdrawn: its holder shall not have it any more"),
    "unspecified": text("Unspecified"),
}
_OF_AUTHORITY: Final[Mapping[str, str]] = {
    "cACompromise": text("CA compromise: the key of the authority is lost, stolen, or known")
}
_STATES: Final[Mapping[str, Tone]] = {
    "confirmed": Tone("good", text("Confirmed")),
    "pending": Tone("busy", text("Pending")),
    "unreachable": Tone("bad", text("Unreachable")),
}
_REVOKE, _HOLD, _RELEASE = "revoke", "hold", "release"
_SHOWN: Final = 200


class EndQuery(Which):
    """What was chosen before, when another person had to approve it first."""

    reason: str = Field(default="", max_length=40)
    invalidity: str = Field(default="", max_length=40)
    confirmed: str = Field(default="", max_length=18)
    approval: str = Field(default="", max_length=18)


class EndForm(Form):
    """What is done, and what the page showed: the certificate's `status`, and how many end with it."""

    authority: Word | None = None
    reason: str = Field(default="", max_length=40)
    invalidity: str | None = Field(default=None, max_length=40)
    confirmed: str | None = Field(default=None, max_length=18)
    approval: str | None = Field(default=None, max_length=18)
    status: str = Field(default="", max_length=20)
    ends: str = Field(default="0", max_length=18)


@dataclass(frozen=True)
class _Act:
    """One of the three acts: its page, and what does it."""

    verb: str
    template: str
    done: str
    do: Callable[[Visit[EndForm, Nothing], Actor], object]


def _revoke(visit: Visit[EndForm, Nothing], actor: Actor) -> object:
    sent = visit.body
    return revoking.revoke(
        visit.desk,
        actor,
        visit.path["serial"],
        sent.reason,
        now=visit.now,
        invalidity_date=acting.moment("invalidity", sent.invalidity),
        authority=sent.authority,
        confirmed=acting.number("confirmed", sent.confirmed),
    )


def _hold(visit: Visit[EndForm, Nothing], actor: Actor) -> object:
    return revoking.hold(
        visit.desk,
        actor,
        visit.path["serial"],
        now=visit.now,
        authority=visit.body.authority,
        confirmed=acting.number("confirmed", visit.body.confirmed),
    )


def _release(visit: Visit[EndForm, Nothing], actor: Actor) -> object:
    serial, authority = visit.path["serial"], visit.body.authority
    return revocation.release(visit.desk, actor, serial, now=visit.now, authority=authority)


_ACTS: Final = {
    each.verb: each
    for each in (
        _Act(_REVOKE, "certificates/revoke.html", "revoked", _revoke),
        _Act(_HOLD, "certificates/hold.html", "held", _hold),
        _Act(_RELEASE, "certificates/hold.html", "released", _release),
    )
}


def _ask(verb: str) -> Callable[[Visit[None, EndQuery]], Answer]:
    def ask(visit: Visit[None, EndQuery]) -> Answer:
        """The page that shows what will happen, before it does."""
        asked = visit.query
        return Screen(
            _ACTS[verb].template, _shown(visit, verb, asked.authority, asked.model_dump())
        )

    return ask


def _shown(
    visit: Visit[Any, Any], verb: str, authority: str | None, typed: Mapping[str, Any]
) -> dict[str, Any]:
    found = _preview(visit, authority)
    certificate = found.certificate
    waits = str(typed["approval"] or "")
    return {
        "verb": verb,
        "row": row(certificate, visit.now),
        "found": certificate,
        "ends": found,
        "cut": found.cut[:_SHOWN],
        "asks": found.number > found.limit and verb != _RELEASE,
        "same": [row(each, visit.now) for each in found.same_key],
        "reasons": {**REASONS, **_OF_AUTHORITY}
        if certificate.profile == AUTHORITY_PROFILE
        else REASONS,
        "target": link(f"{PATH}/{certificate.serial}/{verb}"),
        "back": address(certificate),
        "typed": {name: typed[name] or "" for name in ("reason", "invalidity", "confirmed")},
        "waits": waits,
        "approval": acting.approval(visit, acting.number("approval", waits or None)),
    }


def _preview(visit: Visit[Any, Any], authority: str | None) -> Revocation:
    # For a lost key, so that the page can tell of other certificates with it before the reason is chosen.
    serial = visit.path["serial"]
    return revoking.preview(
        visit.desk, visit.actor, serial, "keyCompromise", now=visit.now, authority=authority
    )


def _do(verb: str) -> Callable[[Visit[EndForm, Nothing]], Answer]:
    act = _ACTS[verb]

    def do(visit: Visit[EndForm, Nothing]) -> Answer:
        """Do what the page showed, if it is still so."""
        sent = visit.body
        try:
            _refuse_stale(visit)
            act.do(visit, acting.with_approval(visit, sent.approval))
        except ApprovalRequired as missing:
            return _wait(visit, verb, missing)
        except WORTH_KEEPING as error:
            shown = _shown(visit, verb, sent.authority, sent.model_dump())
            return again(visit, error, act.template, shown)
        serial = visit.path["serial"]
        part = "/reach" if verb == _REVOKE and visit.may(Action.GATEWAY_READ) else ""
        return Redirect(link(f"{PATH}/{serial}{part}", authority=sent.authority), act.done)

    return do


def _refuse_stale(visit: Visit[EndForm, Nothing]) -> None:
    """Whoever sends the form agreed to what it showed: not to another status, nor to more that ends."""
    now = _preview(visit, visit.body.authority)
    if visit.body.status != now.certificate.status:
        raise PageStale(f"The certificate is {now.certificate.status} by now; nothing was done.")
    if now.number > (acting.number("ends", visit.body.ends) or 0):
        raise PageStale(f"By now {now.number} would end; nothing was done.")


def _wait(visit: Visit[EndForm, Nothing], verb: str, missing: ApprovalRequired) -> Answer:
    """Back to the page, which has in its address what is asked for: it can be kept until the approval is there."""
    sent = visit.body
    to = link(
        f"{PATH}/{visit.path['serial']}/{verb}",
        authority=sent.authority,
        reason=sent.reason,
        invalidity=sent.invalidity,
        confirmed=sent.confirmed,
        approval=missing.details.get("approval"),
    )
    return Redirect(to, "approval-asked")


def progress(visit: Visit[None, Which]) -> Answer:
    """How far a revocation is: watched, it goes on by itself."""
    found = reach.progress(
        visit.desk,
        visit.actor,
        visit.path["serial"],
        now=visit.now,
        authority=visit.query.authority,
    )
    counts = {state: sum(each.state == state for each in found.gateways) for state in _STATES}
    view = found.certificate
    shown = {
        "row": row(view, visit.now),
        "found": found,
        "states": _STATES,
        "counts": counts,
        "back": address(view),
        "others": told(visit, Action.CERTIFICATE_REVOKE, lambda: _others(visit, view)),
    }
    return Screen("certificates/reach.html", shown, part="progress")


def _others(visit: Visit[Any, Any], found: CertificateView) -> list[Row]:
    """Other certificates in force with a key that is lost."""
    reason = found.reason or ""
    others = compromise.others(visit.desk, visit.actor, [found], reason, now=visit.now)
    return [row(each, visit.now) for each in others]


def _pages(verb: str) -> tuple[Page, Page]:
    path, action = f"{ONE}/{verb}", Action.CERTIFICATE_REVOKE
    return (
        Page("GET", path, _ask(verb), action, query=EndQuery),
        Page("POST", path, _do(verb), action, form=EndForm),
    )


tell(
    revoked="The certificate is revoked. Below is how far that has got.",
    held="The certificate is on hold.",
    released="The certificate is valid again.",
    approval_asked="Another person must approve this. Your request is on record.",
)

PAGES: tuple[Page, ...] = (
    *_pages(_REVOKE),
    *_pages(_HOLD),
    *_pages(_RELEASE),
    Page("GET", ONE + "/reach", progress, Action.GATEWAY_READ, query=Which, live=True),
)
