"""Certificates issued and renewed for requests that somebody pastes: the key never comes here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from api.console import acting
from api.console.acting import told
from api.console.certificates import DIALECTS, ONE, PATH, Which, address, pick, row
from api.console.lists import Search
from api.console.mending import WORTH_KEEPING, again
from api.console.page import Answer, Form, Page, Redirect, Screen, Visit, tell
from api.console.render import link
from api.registry import Nothing
from api.v1.certificates import Word
from core.errors import IkewardenError, InvalidInput
from pki import authorities, issuance, profiles
from pki.actors import Action
from pki.authorities import ACTIVE
from pki.issuance import IssuedCertificate, IssueRequest

_MAX_CSR: Final = 64_000


class IssueForm(Form):
    """What certificate is wanted."""

    csr: str = Field(default="", max_length=_MAX_CSR)
    profile: Word = "gateway"
    authority: Word | None = None
    names: str = Field(default="", max_length=20_000)
    gateway: str | None = Field(default=None, max_length=200)
    not_after: str | None = Field(default=None, max_length=40)


class RenewForm(Form):
    """A request with a new key, or `keep` for the same key once more."""

    csr: str = Field(default="", max_length=_MAX_CSR)
    keep: str | None = Field(default=None, max_length=10)
    authority: Word | None = None


class Prefilled(Search):
    """What is known already of the certificate that is wanted."""

    profile: Word | None = None
    gateway: Word | None = None
    names: Word | None = None


@dataclass(frozen=True)
class Choice:
    """A profile that may be chosen."""

    name: str
    days: int


def ask(visit: Visit[None, Prefilled]) -> Answer:
    """The page to issue a certificate."""
    known = visit.query.model_dump(exclude_none=True)
    typed = {"profile": "gateway", **known}
    return Screen("certificates/issue.html", _choices(visit, typed))


def _choices(visit: Visit[Any, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    desk, actor = visit.desk, visit.actor
    known = told(visit, Action.PROFILE_READ, lambda: profiles.list_(desk, actor)) or []
    owners = told(visit, Action.AUTHORITY_READ, lambda: authorities.list_(desk, actor)) or []
    return {
        "typed": {name: typed.get(name) or "" for name in IssueForm.model_fields},
        "profiles": [Choice(each.name, each.lifetime.days) for each in known if not each.internal],
        "authorities": [
            each.name for each in owners if each.status == ACTIVE and each.kind == "issuing"
        ],
        "default": desk.rules.default_authority,
        "findings": [],
    }


def issue(visit: Visit[IssueForm, Nothing]) -> Answer:
    """Issue a certificate; where daemons would not take it, say so before anything is signed."""
    sent = visit.body
    try:
        wanted = IssueRequest(
            csr=sent.csr.encode(),
            profile=sent.profile,
            authority=sent.authority,
            not_after=acting.moment("not_after", sent.not_after),
            names=acting.lines(sent.names),
            gateway=sent.gateway,
        )
        made = issuance.issue(visit.desk, visit.actor, wanted, now=visit.now)
    except WORTH_KEEPING as error:
        shown = _choices(visit, sent.model_dump()) | {"findings": _findings(error)}
        return again(visit, error, "certificates/issue.html", shown)
    return _made(made, "issued")


def _findings(error: IkewardenError) -> list[dict[str, str]]:
    """What the daemons mind, where that is why nothing was signed."""
    found = error.details.get("findings")
    if not isinstance(found, list):
        return []
    return [{**each, "dialect": DIALECTS.get(each["dialect"], each["dialect"])} for each in found]


def _made(made: IssuedCertificate, done: str) -> Redirect:
    return Redirect(link(f"{PATH}/{made.serial}", authority=made.authority.name), done)


def ask_renewal(visit: Visit[None, Which]) -> Answer:
    """The page to renew a certificate."""
    return Screen("certificates/renew.html", _old(visit, visit.query.authority, ""))


def _old(visit: Visit[Any, Any], authority: str | None, csr: str) -> dict[str, Any]:
    found = pick(visit, authority)
    return {
        "row": row(found, visit.now),
        "found": found,
        "target": link(f"{PATH}/{found.serial}/renew"),
        "back": address(found),
        "typed": {"csr": csr},
        "findings": [],
    }


def renew(visit: Visit[RenewForm, Nothing]) -> Answer:
    """Issue the successor of a certificate."""
    sent = visit.body
    try:
        if not sent.csr and sent.keep is None:
            raise _nothing_chosen()
        made = issuance.renew(
            visit.desk,
            visit.actor,
            visit.path["serial"],
            sent.csr.encode() or None,
            now=visit.now,
            authority=sent.authority,
        )
    except WORTH_KEEPING as error:
        shown = _old(visit, sent.authority, sent.csr) | {"findings": _findings(error)}
        return again(visit, error, "certificates/renew.html", shown)
    return _made(made, "renewed")


def _nothing_chosen() -> InvalidInput:
    return acting.wrong("csr", "Paste a request with a new key, or choose to keep the key.")


tell(
    issued="The certificate is issued.",
    renewed="The successor is issued. The old certificate stays valid until it expires or is revoked.",
)

PAGES: tuple[Page, ...] = (
    Page("GET", PATH + "/issue", ask, Action.CERTIFICATE_ISSUE, query=Prefilled),
    Page("POST", PATH + "/issue", issue, Action.CERTIFICATE_ISSUE, form=IssueForm),
    Page("GET", ONE + "/renew", ask_renewal, Action.CERTIFICATE_RENEW, query=Which),
    Page("POST", ONE + "/renew", renew, Action.CERTIFICATE_RENEW, form=RenewForm),
)
