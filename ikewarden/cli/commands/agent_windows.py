"""`ikewarden agent windows-bundle`: a PowerShell module for a Windows gateway."""

from pathlib import Path

import click

from ikewarden.cli.commands.agent_enroll import enrollment_file_option, read_pasted
from ikewarden.cli.help import command
from ikewarden.cli.options import example, format_option
from ikewarden.cli.session import Session, pass_session


@command(
    "windows-bundle",
    epilog=example(
        "ikewarden agent windows-bundle --out Ikewarden --enrollment-file win1.enrollment",
    ),
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory for the module: Ikewarden, by which PowerShell finds it.",
)
@enrollment_file_option
@format_option()
@pass_session
def windows_bundle(session: Session, out: Path, enrollment_file: Path | None) -> None:
    """Write a PowerShell module for a Windows gateway.

    It makes the key in Windows, enrolls and renews, sets up IPsec rules or RRAS, and ends SAs; everything with -WhatIf.
    The enrollment tells which gateway and service; it is not used up, and nothing secret is written.
    """
    from ike.agent import windows
    from ike.agent.enrollment import read_line

    gateway = windows.describe(read_line(read_pasted(enrollment_file)), session.clock())
    made = windows.write(gateway, out)
    screen = session.screen
    if screen.is_json:
        screen.json({"gateway": gateway.name, "files": [str(path) for path in made]})
        return
    screen.fields([("Gateway", gateway.name), ("Files", [str(path) for path in made])])
    screen.note("On Windows, as administrator:")
    screen.note(f"  Import-Module .\\{out.name}\\Ikewarden.psd1")
    screen.note("  Register-IkewardenGateway -WhatIf")
