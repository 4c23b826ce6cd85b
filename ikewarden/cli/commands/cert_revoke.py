"""`ikewarden cert revoke` and `cert reach`: what a revocation ends, and how far it has got."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import click

from ikewarden.cli.commands.cert import PATH, authority_option, show_certificate
from ikewarden.cli.help import command
from ikewarden.cli.options import PAST, approval_option, client_command, example, rfc3339
from ikewarden.cli.screen import Column, Screen
from ikewarden.cli.session import Session, pass_session
from pki.x509.serials import normal

# RFC 5280 §5.3.1, those that end a certificate for ever
REASONS: Final = (
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
)
# Those of RFC 5280 that are not given here, and what is.
_OTHERWISE: Final = {
    "certificatehold": "To stop it for a while, use `ikewarden cert hold`.",
    "removefromcrl": "To let a held one be valid again, use `ikewarden cert release`.",
    "aacompromise": "That is for attribute certificates, which are not issued here.",
}
# Of the answer: shown in tables of their own, or not at all.
_APART: Final = frozenset({"cut", "tunnels", "limit", "dry_run", "below", "same_key"})
_LOOK_SECONDS: Final = 1.0


class _Reason(click.Choice[str]):
    """A reason in whatever case, shown as RFC 5280 writes it."""

    def __init__(self) -> None:
        super().__init__(REASONS, case_sensitive=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read it; fails as click fails."""
        known = {name.lower(): name for name in REASONS}
        asked = str(value).lower()
        if asked not in known:
            instead = _OTHERWISE.get(asked, f"Choose from: {', '.join(REASONS)}.")
            self.fail(f"{value!r} is no reason to revoke for ever. {instead}", param, ctx)
        return known[asked]

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        """What may be given."""
        return f"Choose from: {', '.join(REASONS)}."


def _gateway(entry: Mapping[str, Any]) -> str:
    """Its name; a token of one gateway is not told those of others."""
    return entry["gateway"] or "(another gateway)"


def _tunnel(entry: Mapping[str, Any]) -> str | None:
    if entry["gateway"] is None:
        return None
    return entry["tunnel"] or f"(unrecorded: {entry['connection']})"


_CUT: Final = (
    Column("Cut by", _gateway),
    Column("Tunnel", _tunnel),
    Column("Peer", "peer"),
    Column("SAs", lambda entry: [f"{sa['id']} {sa['remote_address']}" for sa in entry["sas"]]),
)
_REVOKED: Final = (
    Column("Revoked", "serial", whole=True),
    Column("Authority", "authority"),
    Column("Subject", "subject"),
    Column("Gateway", "gateway"),
)
_SAME_KEY: Final = (
    Column("Same key", "serial", whole=True),
    Column("Authority", "authority"),
    Column("Status", "status"),
    Column("Subject", "subject"),
    Column("Until", "not_after", whole=True),
)
_GATEWAYS: Final = (
    Column("Gateway", _gateway),
    Column("State", "state", whole=True),
    Column("Told", "told_at", whole=True),
    Column("Confirmed", "confirmed_at", whole=True),
    Column("SAs ended", lambda entry: sum(bool(cut["ended"]) for cut in entry["cuts"])),
    Column("Error", "error"),
)


@command(
    "revoke",
    epilog=example(
        "ikewarden cert revoke 4f2a… --reason superseded --dry-run",
        "ikewarden cert revoke 4f2a… --reason keyCompromise --yes-i-cut 14",
        "ikewarden cert revoke 4f2a… 5b01… 77c0… --reason keyCompromise --approval 17",
    ),
)
@click.argument("serials", nargs=-1, required=True, metavar="SERIAL…")
@click.option(
    "--reason",
    type=_Reason(),
    metavar=f"[{'|'.join(REASONS)}]",
    required=True,
    help="Why, as RFC 5280 names it.",
)
@click.option(
    "--invalidity-date",
    type=PAST,
    metavar="TIME",
    help="Since when the key is believed to be lost: RFC 3339, a date, or how long ago.",
)
@click.option(
    "--dry-run", is_flag=True, help="Only tell which tunnels and SAs would end; change nothing."
)
@click.option(
    "--yes-i-cut",
    type=click.IntRange(min=0),
    metavar="N",
    help="End up to N tunnels, where that is more than the service ends unasked.",
)
@authority_option
@approval_option
@client_command()
@pass_session
def revoke(
    session: Session, /, serials: tuple[str, ...], authority: str | None, **given: Any
) -> None:
    """Revoke a certificate for ever.

    The service's OCSP says so at once and its CRLs within a second; caches in front of it a few minutes later. Then
    every gateway that has a tunnel with its holder ends that; `cert reach` tells how far that is. To stop a
    certificate for a while, use `cert hold`. Several are revoked together: all of them or none. With
    keyCompromise it shows what other certificates have the same key, and that key is not certified again.
    """
    if len(serials) > 1:
        _revoke_all(session, serials, authority, given)
        return
    serial = serials[0]
    since: datetime | None = given["invalidity_date"]
    body = {
        "reason": given["reason"],
        "invalidity_date": rfc3339(since),
        "dry_run": given["dry_run"],
        "cut_confirmed": given["yes_i_cut"],
    }
    path = f"{PATH}/{normal(serial)}/revoke"
    found = session.connect().post(path, body, {"authority": authority})
    screen = session.screen
    if screen.is_json:
        screen.json(found)
        return
    if not given["dry_run"]:
        show_certificate(screen, {k: v for k, v in found.items() if k not in _APART})
        screen.line()
    _show_cut(screen, found, dry_run=given["dry_run"])
    _show_same_key(screen, found)


def _revoke_all(
    session: Session,
    serials: Sequence[str],
    authority: str | None,
    given: Mapping[str, Any],
) -> None:
    if given["dry_run"] or given["invalidity_date"] is not None:
        raise click.UsageError("--dry-run and --invalidity-date are for one certificate at a time.")
    body = {
        "serials": [normal(serial) for serial in serials],
        "authority": authority,
        "reason": given["reason"],
        "cut_confirmed": given["yes_i_cut"],
    }
    found = session.connect().post(f"{PATH}/revoke", body)
    if session.screen.is_json:
        session.screen.json(found)
        return
    session.screen.entries(_REVOKED, found["items"], nothing="All of them were revoked before.")
    _show_same_key(session.screen, found)


def _show_same_key(screen: Screen, found: Mapping[str, Any]) -> None:
    """What else is lost with a compromised key."""
    if not found["same_key"]:
        return
    screen.line()
    screen.table(_SAME_KEY, found["same_key"])
    screen.note("These certificates have the compromised key too: revoke them as well.")


def _show_cut(screen: Screen, found: Mapping[str, Any], *, dry_run: bool) -> None:
    if found["below"] is not None:
        screen.note(_below(found["below"]))
    count = found["tunnels"]
    ends = "would end" if dry_run else "ends" if count == 1 else "end"
    if not found["cut"]:
        screen.note(f"No tunnel is known that {'would end' if dry_run else 'ends'} with it.")
        return
    screen.table(_CUT, found["cut"])
    tunnels = "tunnel" if count == 1 else "tunnels"
    screen.note(
        f"{count} {tunnels} {ends}. One revocation ends up to {found['limit']}; more with --yes-i-cut N."
    )


def _below(branch: Mapping[str, Any]) -> str:
    """What stands below a CA's certificate, in a sentence or two."""
    return (
        f"This is the certificate of a CA ({', '.join(branch['authorities'])}). Below it are"
        f" {branch['certificates']} certificates of {branch['gateways']} gateways: peers accept none of them once it is"
        " revoked. No gateway is told to cut: SAs that are up stay until they authenticate again."
    )


@command(
    "reach",
    epilog=example("ikewarden cert reach 4f2a…", "ikewarden cert reach 4f2a… --watch"),
)
@click.argument("serial")
@click.option(
    "--watch", is_flag=True, help="Go on until every gateway has confirmed; Ctrl-C ends it."
)
@authority_option
@client_command()
@pass_session
def reach(session: Session, serial: str, watch: bool, authority: str | None) -> int:
    """Tell how far a revocation has got.

    `confirmed`: the gateway has ended what the certificate authenticated; `pending`: it was told, or will be at once;
    `unreachable`: it was not heard of for a while, and is told when it is back. Ends with 1 while any is not confirmed,
    and where the certificate is not revoked: one on hold is refused, and ends no tunnel.
    """
    client = session.connect()
    path, query = f"{PATH}/{normal(serial)}/reach", {"authority": authority}
    found = client.get(path, query)
    stays = _why_it_stays(found)
    if watch and stays is None:
        sleep = time.sleep  # noqa: TID251 - an entry point
        found = _until_confirmed(session, lambda: client.get(path, query), found, sleep)
    _show_reach(session.screen, found)
    if stays is not None:
        session.screen.note(stays)
    return 0 if _is_done(found) else 1


def _why_it_stays(found: Mapping[str, Any]) -> str | None:
    """Why nothing is on its way to the gateways; None where a revocation is."""
    if found["revoked_at"] is None:
        return "The certificate is not revoked: there is nothing to reach a gateway."
    if found["status"] == "held":
        return "The certificate is on hold: the CRL and OCSP say so, daemons refuse it. Tunnels that are up stay up."
    return None


def _until_confirmed(
    session: Session,
    look: Callable[[], dict[str, Any]],
    found: dict[str, Any],
    sleep: Callable[[float], None],
) -> dict[str, Any]:
    said = ""
    while not _is_done(found):
        now = _counted(found["gateways"])
        if now != said:
            session.screen.note(now)
            said = now
        sleep(_LOOK_SECONDS)
        found = look()
    return found


def _is_done(found: Mapping[str, Any]) -> bool:
    answers = found["gateways"]
    return found["published_at"] is not None and all(e["state"] == "confirmed" for e in answers)


def _counted(answers: Sequence[Mapping[str, Any]]) -> str:
    states = [each["state"] for each in answers]
    counts = [f"{states.count(state)} {state}" for state in ("confirmed", "pending", "unreachable")]
    return ", ".join(counts)


def _show_reach(screen: Screen, found: Mapping[str, Any]) -> None:
    if screen.is_json:
        screen.json(found)
        return
    own = found["own"]
    head = {**found, "gateways": None, "below": None, "own": own and own["gateway"]}
    screen.fields((name, value) for name, value in head.items() if value is not None)
    if found["below"] is not None and found["revoked_at"] is not None:
        screen.note(_below(found["below"]))
    elif found["status"] == "revoked" and not found["gateways"]:
        published = found["published_at"] is not None
        screen.note(
            "The CRL tells of it. No gateway has a tunnel with its holder: none has to end one."
            if published
            else "The CRL that tells of it is not published yet."
        )
    if found["gateways"]:
        screen.line()
        screen.table(_GATEWAYS, found["gateways"])
        screen.note(_counted(found["gateways"]))
