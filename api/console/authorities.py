"""Authorities: what they are, how their lists and OCSP are, and who succeeds them. They are changed elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from api.console.acting import told
from api.console.page import Answer, Download, Page, Screen, Visit, text
from api.console.render import link
from api.console.tones import Tone
from api.registry import Nothing
from fleet import loaded
from hsm.keystores import place_of
from pki import authorities, ocsp_signers, publication
from pki.actors import Action
from pki.authorities import ACTIVE, OUTSIDE, PREPARED, RETIRED, REVOKED, Authority
from pki.publication import DELTA, FULL, NO_SHARD, Listed
from pki.rollover import crossing, phases
from pki.x509.keys import key_algorithm

PATH: Final = "/authorities"
_SOON: Final = timedelta(days=180)
_STATES: Final[Mapping[str, Tone]] = {
    ACTIVE: Tone("good", text("Active")),
    PREPARED: Tone("busy", text("Prepared")),
    RETIRED: Tone("off", text("Retired")),
    OUTSIDE: Tone("off", text("Kept elsewhere")),
    REVOKED: Tone("bad", text("Revoked or on hold")),
    "soon": Tone("warn", text("Expires soon")),
    "expired": Tone("bad", text("Expired")),
}
_LISTS: Final[Mapping[str, Tone]] = {
    "fresh": Tone("good", text("In force")),
    "stale": Tone("bad", text("Run out")),
}
KINDS: Final[Mapping[str, str]] = {
    FULL: text("Complete list"),
    DELTA: text("Delta"),
    "shard": text("Shard"),
}
_PHASES: Final[Mapping[str, Tone]] = {
    "prepared": Tone("busy", text("Prepared")),
    "published": Tone("busy", text("Published")),
    "scheduled": Tone("busy", text("Switch is scheduled")),
    "switched": Tone("busy", text("Switched")),
    "finished": Tone("good", text("Finished")),
    "abandoned": Tone("off", text("Abandoned")),
}


@dataclass(frozen=True)
class _Row:
    """An authority in a list."""

    known: Authority
    state: Tone
    href: str


def _row(known: Authority, now: datetime) -> _Row:
    state = _STATES[known.status]
    if known.status == ACTIVE and known.ends_at <= now:
        state = _STATES["expired"]
    elif known.status == ACTIVE and known.ends_at <= now + _SOON:
        state = _STATES["soon"]
    return _Row(known, state, link(f"{PATH}/{known.name}"))


def list_(visit: Visit[None, Nothing]) -> Answer:
    """All authorities that somebody may see."""
    found = authorities.list_(visit.desk, visit.actor)
    return Screen("authorities/list.html", {"rows": [_row(each, visit.now) for each in found]})


def show(visit: Visit[None, Nothing]) -> Answer:
    """Look at one authority."""
    desk, actor, now = visit.desk, visit.actor, visit.now
    found = authorities.get(desk, actor, visit.path["name"])
    name = found.name
    lists = told(visit, Action.CRL_READ, lambda: publication.lists(desk, actor, name))
    shown = {
        "row": _row(found, now),
        "found": found,
        "subject": found.certificate.subject.rfc4514_string(),
        "not_before": found.certificate.not_valid_before_utc,
        "not_after": found.certificate.not_valid_after_utc,
        "algorithm": key_algorithm(found.public_key),
        "sha256": found.sha256,
        "key_store": place_of(found.key_uri),
        "permitted": [str(tree) for tree in found.constraints[0].permitted],
        "excluded": [str(tree) for tree in found.constraints[0].excluded],
        "pem": authorities.pem(found.certificate),
        "chain": _chain(found),
        "lists": None if lists is None else [_list(visit, name, each) for each in lists],
        "signer": ocsp_signers.get(desk, actor, name, now=now),
        "ocsp_url": authorities.ocsp_url(desk, name),
        "trusting": told(visit, Action.GATEWAY_READ, lambda: loaded.trusting(desk, actor, name)),
        "rollovers": [
            (each, _PHASES[each.phase(now)])
            for each in phases.list_(desk, actor)
            if name in (each.authority, each.successor)
        ],
        "crosses": crossing.list_(desk, actor, name),
    }
    return Screen("authorities/show.html", shown)


def _chain(found: Authority) -> list[dict[str, Any]]:
    return [
        {
            "subject": each.subject.rfc4514_string(),
            "not_after": each.not_valid_after_utc,
            "sha256": authorities.sha256(each),
        }
        for each in found.chain
    ]


def _list(visit: Visit[Any, Any], name: str, listed: Listed) -> dict[str, Any]:
    urls = {
        FULL: authorities.full_crl_url(visit.desk, name),
        DELTA: authorities.delta_crl_url(visit.desk, name),
    }
    fresh = "fresh" if listed.next_update > visit.now else "stale"
    return {
        "kind": KINDS[listed.kind],
        "shard": None if listed.shard == NO_SHARD else listed.shard,
        "listed": listed,
        "state": _LISTS[fresh],
        "url": urls.get(listed.kind) or authorities.shard_crl_url(visit.desk, name, listed.shard),
    }


def download(visit: Visit[None, Nothing]) -> Answer:
    """Take the authority's certificate, and those above it, away."""
    found = authorities.get(visit.desk, visit.actor, visit.path["name"])
    content = "".join(authorities.pem(each) for each in found.chain)
    return Download(content.encode(), "application/x-pem-file", f"{found.name}-chain.pem")


PAGES: tuple[Page, ...] = (
    Page("GET", PATH, list_, Action.AUTHORITY_READ),
    Page("GET", PATH + "/{name}", show, Action.AUTHORITY_READ),
    Page("GET", PATH + "/{name}/file", download, Action.AUTHORITY_READ),
)
