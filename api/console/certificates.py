"""Certificates: searched, looked at with everything that hangs on them, taken away as a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from cryptography import x509
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from api import cursors
from api.console.acting import told
from api.console.lists import ROWS, ListSearch, Search
from api.console.page import Answer, Download, Page, Screen, Visit, text
from api.console.render import link
from api.console.tones import SEVERITIES, Tone
from api.errors import CursorInvalid, RouteNotFound
from api.v1.certificates import Word
from fleet import loaded, sas
from fleet.monitoring import shown as monitoring
from fleet.monitoring.shown import AlertQuery
from fleet.sas import SaQuery
from pki import authorities, certificates, history, profiles
from pki.actors import Action
from pki.authorities import PROFILE as AUTHORITY_PROFILE
from pki.certificates import STATUSES, CertificateQuery, CertificateView
from pki.history import AuditQuery
from pki.x509.keys import key_algorithm
from pki.x509.lint import LintReport, lint
from pki.x509.signing import PublicKey

PATH: Final = "/certificates"
_NEWER: Final = PATH + "#newer"
ONE: Final = "/certificates/{serial}"
_FEW: Final = 20
_SOON: Final = timedelta(days=30)

STATES: Final[Mapping[str, Tone]] = {
    "pending": Tone("busy", text("Pending")),
    "valid": Tone("good", text("Valid")),
    "soon": Tone("warn", text("Expires soon")),
    "held": Tone("warn", text("On hold")),
    "revoked": Tone("bad", text("Revoked")),
    "abandoned": Tone("off", text("Never issued")),
    "expired": Tone("off", text("Expired")),
    "ended": Tone("bad", text("Authority not in force")),
}
VERDICTS: Final[Mapping[str, Tone]] = {
    "pass": Tone("good", text("Works")),
    "warn": Tone("warn", text("With warnings")),
    "fail": Tone("bad", text("Does not work")),
    "info": Tone("off", text("Note")),
}
DIALECTS: Final[Mapping[str, str]] = {
    "rfc4945": "RFC 4945",
    "strongswan": "strongSwan",
    "libreswan": "Libreswan",
    "windows": "Windows",
    "apple": "Apple",
    "cisco": "Cisco",
}


def _far() -> PydanticCustomError:
    return PydanticCustomError("year_refused", "must lie between the years 1970 and 9998")


def _instant(given: object) -> object:
    """A day, as a field for dates sends it, or an instant as REST has it; both in UTC."""
    if isinstance(given, str):
        try:
            found = datetime.fromisoformat(given)
        except ValueError:
            raise PydanticCustomError("date_parsing", "must be a date") from None
        try:
            found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except OverflowError:
            raise _far() from None
        if not 1970 <= found.year <= 9998:
            raise _far()
        return found
    return given


Instant = Annotated[datetime, BeforeValidator(_instant)]


class CertificateSearch(ListSearch):
    """What to look for, by the names that it has over REST."""

    q: Word | None = None
    name: Word | None = None
    serial: Word | None = None
    key: Word | None = None
    status: Literal["pending", "valid", "held", "revoked", "abandoned", "expired"] | None = None
    expires_after: Instant | None = None
    expires_before: Instant | None = None
    issued_after: Instant | None = None
    issued_before: Instant | None = None
    renewed: bool | None = None
    gateway: Word | None = None
    profile: Word | None = None
    authority: Word | None = None


class Which(Search):
    """Which authority's certificate is meant, where two used the same serial number."""

    authority: Word | None = None


class File(Which):
    """In which form it is wanted."""

    form: Literal["pem", "der", "chain"] = "pem"


@dataclass(frozen=True)
class Row:
    """A certificate in a list."""

    view: CertificateView
    state: Tone
    href: str

    @property
    def title(self) -> str:
        """What people call it."""
        return title(self.view)


def title(view: CertificateView) -> str:
    """What people call a certificate: its first name, or its subject."""
    return view.names[0].partition(":")[2] if view.names else view.subject or view.serial


def address(view: CertificateView, part: str = "", **query: object) -> str:
    """The path of a certificate's page, or of a part of it."""
    return link(f"{PATH}/{view.serial}{part}", authority=view.authority, **query)


def state_of(view: CertificateView, now: datetime) -> Tone:
    """How it is shown what a certificate is worth."""
    status = view.status_at(now)
    if status == "valid" and not view.in_force:
        return STATES["ended"]
    # Of what lives for days only, the last third: it is renewed by itself before.
    soon = min(_SOON, (view.not_after - view.not_before) / 3)
    if status == "valid" and view.not_after <= now + soon:
        return STATES["soon"]
    return STATES[status]


def row(view: CertificateView, now: datetime) -> Row:
    """A certificate as a list shows it."""
    return Row(view, state_of(view, now), address(view))


def list_(visit: Visit[None, CertificateSearch]) -> Answer:
    """Search certificates."""
    asked = visit.query
    given = asked.model_dump(exclude={"cursor"}, exclude_none=True)
    cursor, newer = _place(asked.cursor)
    wanted = CertificateQuery(**given, cursor=cursor, newer=newer, limit=ROWS)
    found = certificates.browse(visit.desk, visit.actor, wanted, now=visit.now)
    again = asked.model_dump(mode="json", exclude={"cursor"}, exclude_none=True)
    shown = {
        "rows": [row(each, visit.now) for each in found.items],
        "found": found,
        "asked": asked,
        "filtered": bool(given),
        "statuses": [(each, STATES[each].word) for each in STATUSES],
        "authorities": _authority_names(visit),
        "profiles": _profile_names(visit),
        "newer": found.newer and link(PATH, **again, cursor=cursors.encode(_NEWER, found.newer)),
        "older": found.older and link(PATH, **again, cursor=cursors.encode(PATH, found.older)),
    }
    return Screen("certificates/list.html", shown)


def _place(cursor: str | None) -> tuple[int | None, bool]:
    """The certificate that a cursor names, and whether it leads to newer ones."""
    try:
        return cursors.decode(PATH, cursor, int), False
    except CursorInvalid:
        return cursors.decode(_NEWER, cursor, int), True


def _authority_names(visit: Visit[Any, Any]) -> list[str]:
    known = told(visit, Action.AUTHORITY_READ, lambda: authorities.list_(visit.desk, visit.actor))
    return [each.name for each in known or ()]


def _profile_names(visit: Visit[Any, Any]) -> list[str]:
    known = told(visit, Action.PROFILE_READ, lambda: profiles.list_(visit.desk, visit.actor))
    return [each.name for each in known or () if not each.internal]


def pick(visit: Visit[Any, Any], authority: str | None) -> CertificateView:
    """The certificate that the path names. Raises as `pki.certificates.get` does."""
    return certificates.get(visit.desk, visit.actor, visit.path["serial"], authority=authority)


def show(visit: Visit[None, Which]) -> Answer:
    """Look at one certificate, and all that is known of it."""
    desk, actor = visit.desk, visit.actor
    found = pick(visit, visit.query.authority)
    print_ = found.fingerprint
    made = None if found.der is None else x509.load_der_x509_certificate(found.der)
    report = None if made is None else lint(made, at=visit.now)
    about = AuditQuery(object=f"certificate:{found.authority}:{found.serial}", limit=_FEW)
    shown: dict[str, Any] = {
        "row": row(found, visit.now),
        "found": found,
        "key": None if made is None else _key(made),
        "chain": _chain(visit, found),
        "verdicts": None if report is None else _verdicts(report),
        "loaded": told(
            visit,
            Action.GATEWAY_READ,
            lambda: loaded.where(
                desk, actor, found.serial, now=visit.now, authority=found.authority
            ),
        ),
        "sas": None
        if print_ is None
        else told(
            visit,
            Action.SA_READ,
            lambda: sas.search(desk, actor, SaQuery(certificate=print_, limit=_FEW)),
        ),
        "events": told(visit, Action.AUDIT_READ, lambda: history.audit_events(desk, actor, about)),
        "alerts": None
        if found.gateway is None
        else told(
            visit,
            Action.ALERT_READ,
            lambda: monitoring.alerts(
                desk, actor, AlertQuery(state="open", gateway=found.gateway, limit=_FEW)
            ),
        ),
        "severities": SEVERITIES,
        **_acts(visit, found),
    }
    return Screen("certificates/show.html", shown)


def _acts(visit: Visit[Any, Any], found: CertificateView) -> dict[str, str | None]:
    """The pages of what can be done with it now, by whom it is."""
    alive = found.status in {"valid", "held"} and found.not_after > visit.now
    worse = found.status == "revoked" and found.reason != "keyCompromise"
    ends = visit.may(Action.CERTIFICATE_REVOKE)
    of_authority = found.profile == AUTHORITY_PROFILE
    renews = visit.may(Action.CERTIFICATE_RENEW) and not of_authority
    reach = visit.may(Action.GATEWAY_READ) and found.status == "revoked"
    return {
        "renew_at": address(found, "/renew")
        if renews and alive and found.status == "valid"
        else None,
        "hold_at": address(found, "/hold") if ends and alive and found.status == "valid" else None,
        "release_at": address(found, "/release")
        if ends and alive and found.status == "held"
        else None,
        "revoke_at": address(found, "/revoke") if ends and alive else None,
        "worsen_at": address(found, "/revoke") if ends and worse else None,
        "reach_at": address(found, "/reach") if reach else None,
        "before_at": found.renewed_from and link(f"{PATH}/{found.renewed_from}"),
    }


def _key(made: x509.Certificate) -> str:
    public = made.public_key()
    return key_algorithm(public) if isinstance(public, PublicKey) else type(public).__name__


def _chain(visit: Visit[Any, Any], found: CertificateView) -> list[dict[str, Any]] | None:
    owner = told(
        visit,
        Action.AUTHORITY_READ,
        lambda: authorities.get(visit.desk, visit.actor, found.authority),
    )
    if owner is None:
        return None
    return [
        {
            "subject": each.subject.rfc4514_string(),
            "not_after": each.not_valid_after_utc,
            "sha256": authorities.sha256(each),
            "href": link(f"/authorities/{owner.name}") if number == 0 else None,
        }
        for number, each in enumerate(owner.chain)
    ]


def _verdicts(report: LintReport) -> list[dict[str, Any]]:
    return [
        {
            "dialect": DIALECTS[dialect],
            "state": VERDICTS[report.verdict(dialect)],
            "findings": [(VERDICTS[each.severity], each) for each in report.findings(dialect)],
        }
        for dialect in report.dialects
    ]


def download(visit: Visit[None, File]) -> Answer:
    """Take a certificate away."""
    found = pick(visit, visit.query.authority)
    if found.der is None:
        raise RouteNotFound("The certificate was never signed.")
    if visit.query.form == "der":
        return Download(found.der, "application/pkix-cert", f"{found.serial}.cer")
    content = authorities.pem_of(found.der)
    if visit.query.form == "chain":
        owner = authorities.get(visit.desk, visit.actor, found.authority)
        content += "".join(authorities.pem(each) for each in owner.chain)
        return Download(content.encode(), "application/x-pem-file", f"{found.serial}-chain.pem")
    return Download(content.encode(), "application/x-pem-file", f"{found.serial}.pem")


PAGES: tuple[Page, ...] = (
    Page("GET", PATH, list_, Action.CERTIFICATE_READ, query=CertificateSearch, menu="Certificates"),
    Page("GET", ONE, show, Action.CERTIFICATE_READ, query=Which),
    Page("GET", ONE + "/file", download, Action.CERTIFICATE_READ, query=File),
)
