"""`ikewarden cert issue`: a key made here, and a certificate for it."""

import base64
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from core.errors import InvalidInput
from hsm.ports import KEY_ALGORITHMS, KeyAlgorithm
from ikewarden.cli.commands.cert import PATH
from ikewarden.cli.files import named
from ikewarden.cli.help import command
from ikewarden.cli.options import FUTURE, client_command, example, rfc3339
from ikewarden.cli.place import program
from ikewarden.cli.session import Session, pass_session

_LONGEST: Final = 64_000
out_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Directory for the files; made if it is not there. [default: this one]",
)
stem_option = click.option(
    "--name",
    "stem",
    metavar="NAME",
    help="Beginning of the file names. [default: the first name, or that of the request's file]",
)
key_type_option = click.option(
    "--key-type",
    type=click.Choice(KEY_ALGORITHMS),
    default="ec-p256",
    show_default=True,
    help="The kind of key to make.",
)
force_option = click.option("--force", is_flag=True, help="Replace files of the same names.")


class RequestUnreadable(InvalidInput):
    """A file that cannot hold a request."""

    code = "csr_unreadable"
    next_step = "Give a PKCS#10 request in PEM or DER."


@dataclass(frozen=True)
class Wanted:
    """What the command line says."""

    names: tuple[str, ...]
    profile: str
    authority: str | None
    gateway: str | None
    not_after: datetime | None
    csr: Path | None
    key_type: KeyAlgorithm
    subject: str
    out: Path
    stem: str | None
    force: bool


@command(
    epilog=example(
        "ikewarden cert issue gw1.example.com 192.0.2.1 --out gw1",
        "ikewarden cert issue carol@example.com --profile user --subject CN=Carol --key-type rsa-3072",
        "ikewarden cert issue --csr router.csr --profile network-device",
    )
)
@click.argument("names", nargs=-1)
@click.option(
    "--profile",
    metavar="NAME",
    default="gateway",
    show_default=True,
    help="See `ikewarden profile list`.",
)
@click.option("--authority", metavar="NAME", help="Who issues it. [default: the service's]")
@click.option(
    "--gateway",
    metavar="NAME",
    help="Which gateway it speaks for. [default: the first name, or that of the request's file]",
)
@click.option(
    "--not-after",
    type=FUTURE,
    metavar="TIME",
    help="End of validity: RFC 3339, a date, or from now: 30d. [default: the profile's]",
)
@click.option(
    "--csr",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Send this request (PEM or DER, - for standard input) and make no key.",
)
@key_type_option
@click.option(
    "--subject",
    default="",
    metavar="DN",
    help="Subject to ask for, as RFC 4514 writes it: CN=…,O=….",
)
@out_option
@stem_option
@force_option
@client_command()
@pass_session
def issue(session: Session, /, **given: Any) -> None:
    """Issue a certificate: make the key here, fetch the certificate.

    Writes NAME.key (mode 0600; it never leaves this machine), NAME.pem, NAME-chain.pem and ca.pem. An address among
    NAMES is an address, what has an @ is a mailbox, everything else a host name; write uri:… and dn:… with their kind.
    """
    from ikewarden.cli.delivery import Delivery
    from ikewarden.cli.requesting import file_stem, typed

    wanted = Wanted(**given)
    names = [typed(text) for text in wanted.names]
    if wanted.csr is None and not names and not wanted.subject:
        raise click.UsageError("Give the names for the certificate, or a request with --csr.")
    stem = wanted.stem or (file_stem(names[0]) if names else "")
    if not stem and wanted.csr is not None and str(wanted.csr) != "-":
        stem = wanted.csr.stem  # router.csr becomes router.pem
    if not stem or "/" in stem or stem.startswith("."):
        raise click.UsageError("Give the beginning of the file names with --name.")
    delivery = Delivery(wanted.out, stem, force=wanted.force)
    client = session.connect()
    body = {
        "profile": wanted.profile,
        "authority": wanted.authority,
        "gateway": wanted.gateway,
        "not_after": rfc3339(wanted.not_after),
        "names": [str(name) for name in names],
    }
    with delivery.place(with_key=wanted.csr is None):
        if wanted.csr is not None:
            made = client.post(PATH, {**body, "csr": read_request(wanted.csr)})
            files = delivery.save(made, with_key=False)
        else:
            from ikewarden.cli.enrolling import with_new_key

            made, files = with_new_key(
                delivery,
                wanted.key_type,
                names,
                lambda csr: client.post(PATH, {**body, "csr": csr}),
                subject=wanted.subject,
            )
    tell(session, made, files, subject=wanted.subject)


def read_request(file: Path) -> str:
    """A request from a file as the API reads it: PEM, or base64 of DER. Raises RequestUnreadable."""
    if str(file) == "-":
        content = sys.stdin.buffer.read(_LONGEST + 1)
    else:
        with file.open("rb") as opened:
            content = opened.read(_LONGEST + 1)
    if not content.strip() or len(content) > _LONGEST:
        raise RequestUnreadable(f"{named(file)} is empty or far too long for a request.")
    if content.startswith(b"0"):  # DER: a SEQUENCE, 0x30
        return base64.b64encode(content).decode()
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        raise RequestUnreadable(f"{named(file)} is no request.") from None


def tell(
    session: Session, made: Mapping[str, Any], files: Mapping[str, str], *, subject: str = ""
) -> None:
    """Say what was issued, where it is, and what to do with it; and where another `subject` was asked for."""
    from ikewarden.cli.delivery import advice

    screen = session.screen
    if subject and not _same_name(subject, made["subject"]):
        screen.note(
            f"The profile {made['profile']} makes the subject itself: {made['subject'] or '(empty)'}, in place of "
            f"{subject}."
        )
    if screen.is_json:
        screen.json({**made, "files": files})
        return
    screen.fields(
        [
            ("serial", made["serial"]),
            ("subject", made["subject"]),
            ("names", made["names"]),
            ("not_after", made["not_after"]),
            ("lint", [f"{dialect} {verdict}" for dialect, verdict in made["lint"].items()]),
            *files.items(),
        ]
    )
    if set(made["lint"].values()) - {"pass"}:
        screen.line(f"Why not all pass: {program()} cert lint {shlex.quote(files['certificate'])}")
    lines = advice(files, made)
    if lines:
        screen.line()
    for line in lines:
        screen.line(line)


def _same_name(one: str, other: str) -> bool:
    from cryptography import x509

    names = [set(x509.Name.from_rfc4514_string(each)) for each in (one, other)]
    return names[0] == names[1]
