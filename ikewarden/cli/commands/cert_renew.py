"""`ikewarden cert renew`: the successor of a certificate."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hsm.ports import KeyAlgorithm
from ikewarden.cli.commands.cert import PATH, authority_option
from ikewarden.cli.commands.cert_issue import (
    force_option,
    key_type_option,
    out_option,
    read_request,
    stem_option,
    tell,
)
from ikewarden.cli.help import command
from ikewarden.cli.options import client_command, example
from ikewarden.cli.session import Session, pass_session
from pki.x509.serials import normal


@dataclass(frozen=True)
class Wanted:
    """What the command line says."""

    serial: str
    authority: str | None
    new_key: bool
    csr: Path | None
    key_type: KeyAlgorithm
    out: Path
    stem: str | None
    force: bool


@command(
    epilog=example(
        "ikewarden cert renew 4f2a… --out gw1",
        "ikewarden cert renew 4f2a… --new-key --out gw1-2027",
    )
)
@click.argument("serial")
@click.option("--new-key", is_flag=True, help="Make a new key here. [default: keep the key]")
@click.option(
    "--csr",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Send this request for a key of your own making.",
)
@key_type_option
@out_option
@stem_option
@force_option
@authority_option
@client_command()
@pass_session
def renew(session: Session, /, **given: Any) -> None:
    """Issue the successor of a certificate.

    Profile, authority and names stay. In --out, the file of the certificate that is renewed is replaced; a key never
    is, except with --force.
    """
    from ikewarden.cli.delivery import Delivery
    from ikewarden.cli.enrolling import with_new_key
    from ikewarden.cli.requesting import file_stem
    from pki.x509.names import GeneralName

    wanted = Wanted(**given)
    if wanted.new_key and wanted.csr:
        raise click.UsageError("Give --new-key or --csr, not both.")
    serial = normal(wanted.serial)
    which = {"authority": wanted.authority}
    client = session.connect()
    old = client.get(f"{PATH}/{serial}", which)
    names = [GeneralName.parse(name) for name in old["names"]]
    stem = wanted.stem or (file_stem(names[0]) if names else serial)
    delivery = Delivery(wanted.out, stem, force=wanted.force, replaces=serial)
    path = f"{PATH}/{serial}/renew"
    with delivery.place(with_key=wanted.new_key):
        if wanted.new_key:
            made, files = with_new_key(
                delivery, wanted.key_type, names, lambda csr: client.post(path, {"csr": csr}, which)
            )
        else:
            body = {"csr": read_request(wanted.csr)} if wanted.csr else {}
            made = client.post(path, body, which)
            files = delivery.save(made, with_key=False)
    tell(session, made, files)
