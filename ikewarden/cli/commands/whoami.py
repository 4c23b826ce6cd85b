"""`ikewarden whoami`: the caller as the service sees it."""

from ikewarden.cli.help import command
from ikewarden.cli.options import client_command, example
from ikewarden.cli.session import Session, pass_session


@command(epilog=example("ikewarden whoami", "ikewarden whoami --token-file gw1.token"))
@client_command()
@pass_session
def whoami(session: Session) -> None:
    """Tell who the service takes you for.

    With your role, what you may do, and the limits of your credential.
    """
    found = session.connect().get("/v1/whoami")
    screen = session.screen
    if screen.is_json:
        screen.json(found)
        return
    limits = [
        ("profiles", found["profiles"]),
        ("authorities", found["authorities"]),
        ("names", found["names"]),
        ("gateway", found["gateway"]),
    ]
    screen.fields(
        [
            ("Name", found["name"]),
            ("Role", found["role"]),
            ("Credential", found["credential"]),
            ("May", found["actions"]),
            *((f"Only {name}", limit) for name, limit in limits if limit is not None),
        ]
    )
