"""`ikewarden ca request|sign|import|crl`: an issuing CA here, its root on a machine that has no network.

They work on the instance of the machine they run on, not over the API.
"""

import os
import pwd
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click

from hsm.ports import KEY_ALGORITHMS
from ikewarden.cli import files
from ikewarden.cli.help import command
from ikewarden.cli.local import config_option, opened_instance
from ikewarden.cli.options import (
    approval_option,
    directory_option,
    example,
    format_option,
    rfc3339,
    store_option,
)
from ikewarden.cli.session import Session, pass_session

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW: Final = click.Path(dir_okay=False, path_type=Path)
_LARGEST: Final = 16 * 2**20
_subject = click.option(
    "--subject", required=True, metavar="DN", help="Its name as RFC 4514 writes it: CN=…,O=…."
)
_algorithm = click.option(
    "--algorithm",
    type=click.Choice(KEY_ALGORITHMS),
    default="ec-p256",
    show_default=True,
    help="Its key.",
)


def _actor(session: Session) -> Any:
    from pki.actors import Actor, Role

    approval = session.given.get("approval")
    return Actor("console", Role.ADMIN, approval=None if approval is None else int(str(approval)))


def _person() -> Any:
    """Who sits at the console, as the system knows them."""
    from pki.actors import Actor, Role

    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return Actor(f"console:{user}", Role.ADMIN)


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_LARGEST)


def _tell(session: Session, **made: object) -> None:
    if session.screen.is_json:
        session.screen.json(made)
    else:
        session.screen.fields(
            (name.replace("_", " ").capitalize(), each) for name, each in made.items()
        )


@command(
    "request",
    epilog=example(
        "ikewarden ca request issuing2 --subject 'CN=Issuing CA 2,O=Example' --out issuing2.csr"
    ),
)
@click.argument("name")
@_subject
@_algorithm
@store_option("as [keys] store says")
@click.option("--out", type=_NEW, required=True, metavar="FILE", help="Where the request goes.")
@directory_option
@config_option
@format_option()
@pass_session
def request(
    session: Session,
    name: str,
    subject: str,
    algorithm: Any,
    key_store: str | None,
    out: Path,
    config: Path | None,
) -> None:
    """Make the key of an authority whose parent is outside, and its request.

    The key waits in a key store of this machine. Asked again, the request is for the same key.
    """
    from pki import outside
    from pki.founding import AuthorityRequest

    wanted = AuthorityRequest(name, "issuing", subject, algorithm, key_store=key_store)
    files.check_new(out)
    with opened_instance(session, config) as opened:
        desk = opened.desk
        csr = outside.ask(desk, _actor(session), wanted, now=session.clock())
    files.write_new(out, csr, files.PUBLIC)
    _tell(session, request=str(out))


@command(
    "sign",
    epilog=example(
        "ikewarden ca sign issuing2 issuing2.csr --parent root --subject 'CN=Issuing CA 2,O=Example' --out issuing2.pem"
    ),
)
@click.argument("name")
@click.argument("csr", type=_FILE, metavar="REQUEST")
@click.option("--parent", required=True, metavar="NAME", help="The authority here that signs it.")
@_subject
@_algorithm
@click.option(
    "--days",
    type=click.IntRange(1, 14640),
    default=3650,
    show_default=True,
    help="How long it is valid.",
)
@click.option(
    "--path-length",
    type=click.IntRange(0, 8),
    default=0,
    show_default=True,
    help="How many authorities may follow below it.",
)
@click.option(
    "--permit",
    "permitted",
    multiple=True,
    metavar="NAME",
    help="Name constraint: only below this one.",
)
@click.option(
    "--exclude",
    "excluded",
    multiple=True,
    metavar="NAME",
    help="Name constraint: none below this one.",
)
@click.option("--out", type=_NEW, required=True, metavar="FILE", help="Where the certificate goes.")
@approval_option
@directory_option
@config_option
@format_option()
@pass_session
def sign(session: Session, /, name: str, csr: Path, **given: Any) -> None:
    """Sign the certificate of an authority whose key is on another machine.

    Of the request the key counts alone; it must have the subject and the kind of key that are named.
    """
    from pki import authorities, outside
    from pki.founding import AuthorityRequest

    out, config, days = given.pop("out"), given.pop("config"), given.pop("days")
    wanted = AuthorityRequest(name=name, kind="issuing", lifetime=timedelta(days=days), **given)
    files.check_new(out)
    with opened_instance(session, config) as opened:
        desk = opened.desk
        made = outside.certify(desk, _actor(session), wanted, _content(csr), now=session.clock())
    files.write_new(out, authorities.pem(made).encode(), files.PUBLIC)
    _tell(session, certificate=str(out), expires=rfc3339(made.not_valid_after_utc))


@command(
    "import",
    epilog=example(
        "ikewarden ca import issuing2 issuing2.pem --parent root2 \\",
        "    --parent-certificate root2.pem --parent-crl root2.crl",
    ),
)
@click.argument("name")
@click.argument("certificate", type=_FILE)
@click.option(
    "--parent",
    required=True,
    metavar="NAME",
    help="What the root is called here, and on its machine.",
)
@click.option("--parent-certificate", type=_FILE, required=True, help="The root's certificate.")
@click.option("--parent-crl", type=_FILE, required=True, help="The root's newest list.")
@approval_option
@directory_option
@config_option
@format_option()
@pass_session
def import_(session: Session, /, name: str, certificate: Path, **given: Any) -> None:
    """Take the certificate of an authority that was requested, with its root and that root's list.

    The certificate must be for the key that waits, and keep to the root's limits. The authority issues from then on.
    """
    from pki import outside

    above = outside.Above(
        given["parent"], _content(given["parent_certificate"]), _content(given["parent_crl"])
    )
    with opened_instance(session, given["config"]) as opened:
        desk = opened.desk
        made = outside.install(
            desk, _actor(session), name, _content(certificate), above, now=session.clock()
        )
    _tell(
        session,
        name=made.name,
        parent=made.parent,
        expires=rfc3339(made.certificate.not_valid_after_utc),
    )


@command(
    "crl",
    epilog=example(
        "ikewarden ca crl root --out root.crl", "ikewarden ca crl offline-root --in root.crl"
    ),
)
@click.argument("name")
@click.option(
    "--out", type=_NEW, metavar="FILE", help="Make a list of an authority here, and write it."
)
@click.option("--in", "taken", type=_FILE, metavar="FILE", help="Take a list of a root outside.")
@directory_option
@config_option
@format_option()
@pass_session
def crl(
    session: Session, name: str, out: Path | None, taken: Path | None, config: Path | None
) -> None:
    """Make a fresh revocation list on this machine, or take one of a root outside.

    How long a list is good for is a matter of [crl] full_hours on the machine that makes it.
    """
    from pki import outside, publication

    if (out is None) == (taken is None):
        raise click.UsageError("Give either --out or --in.")
    now = session.clock()
    if out is not None:
        files.check_new(out)  # before a number is used up and a list is published
    with opened_instance(session, config) as opened:
        desk = opened.desk
        if taken is not None:
            done = outside.take_list(desk, _actor(session), name, _content(taken), now=now)
        else:
            done = publication.publish_by_hand(desk, _person(), name, now=now)
    if out is not None:
        files.write_new(out, done.der, files.PUBLIC)
    _tell(session, number=done.number, next_update=rfc3339(done.next_update), entries=done.entries)
