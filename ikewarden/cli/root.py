"""The program's commands, in the order of a user's way."""

from typing import Final

import click

from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import connection_options, example, format_option

_COMMANDS: Final = "ikewarden.cli.commands"


@click.group(
    cls=LazyGroup,
    lazy={
        "init": Lazy(
            f"{_COMMANDS}.init:init", "Make an instance: settings, keys, a root and an issuing CA."
        ),
        "serve": Lazy(
            f"{_COMMANDS}.serve:serve", "Run the API, the validation listener and the scheduler."
        ),
        "health": Lazy(f"{_COMMANDS}.health:health", "Ask the service on this machine how it is."),
        "migrate": Lazy(
            f"{_COMMANDS}.migrate:migrate", "Bring the records to this version of the program."
        ),
        "backup": Lazy(
            f"{_COMMANDS}.backup:backup", "Write the whole instance into one encrypted file."
        ),
        "restore": Lazy(
            f"{_COMMANDS}.restore:restore", "Put a backup into an empty directory, or check it."
        ),
        "check-config": Lazy(
            f"{_COMMANDS}.check_config:check_config",
            "Check a settings file and its enrollment endpoints, and tell all that is wrong.",
        ),
        "change-passphrase": Lazy(
            f"{_COMMANDS}.change_passphrase:change_passphrase",
            "Seal the keys and secrets in files under a new passphrase.",
        ),
        "vault": Lazy(
            f"{_COMMANDS}.vault:vault", "Vault or OpenBao as the store of secrets and keys."
        ),
        "hsm": Lazy(f"{_COMMANDS}.hsm:hsm", "Signing keys in an HSM, over PKCS#11."),
        "ca": Lazy(f"{_COMMANDS}.ca:ca", "Certificate authorities."),
        "cert": Lazy(f"{_COMMANDS}.cert:cert", "Certificates: issue, look, revoke, renew, lint."),
        "gateway": Lazy(
            f"{_COMMANDS}.gateway:gateway", "Gateways: register, enroll, look, remove."
        ),
        "tunnel": Lazy(f"{_COMMANDS}.tunnel:tunnel", "Tunnels: who talks to whom."),
        "rotation": Lazy(f"{_COMMANDS}.rotation:rotation", "Rotations of shared secrets."),
        "secret": Lazy(
            f"{_COMMANDS}.secret:secret", "Shared secrets that were handed over to you."
        ),
        "overview": Lazy(f"{_COMMANDS}.overview:overview", "Tell what needs a person now."),
        "finding": Lazy(f"{_COMMANDS}.finding:finding", "What audits found on gateways."),
        "alert": Lazy(f"{_COMMANDS}.alert:alert", "What is wrong with the SAs of the fleet."),
        "report": Lazy(f"{_COMMANDS}.report:report", "Reports of the whole fleet."),
        "sa": Lazy(f"{_COMMANDS}.sa:sa", "Security associations."),
        "doctor": Lazy(f"{_COMMANDS}.doctor:doctor", "Find out why a tunnel does not come up."),
        "audit": Lazy(f"{_COMMANDS}.audit:audit", "Find out who can read the keys of a host."),
        "enroll-endpoint": Lazy(
            f"{_COMMANDS}.enroll_endpoint:enroll_endpoint",
            "Enrollment endpoints: who, by which door, gets what.",
        ),
        "profile": Lazy(f"{_COMMANDS}.profile:profile", "Profiles: what certificates contain."),
        "token": Lazy(
            f"{_COMMANDS}.token:token", "Bearer tokens for people, programs and enrolling gateways."
        ),
        "session": Lazy(f"{_COMMANDS}.session:session", "Who is signed in to the web console."),
        "approval": Lazy(
            f"{_COMMANDS}.approval:approval", "What one person asks for and another one approves."
        ),
        "whoami": Lazy(f"{_COMMANDS}.whoami:whoami", "Tell who the service takes you for."),
        "agent": Lazy(
            f"{_COMMANDS}.agent:agent", "On a gateway: enroll, feed the IKE daemon, renew."
        ),
        "job": Lazy(f"{_COMMANDS}.job:job", "What is done by the clock."),
        "audit-log": Lazy(f"{_COMMANDS}.audit_log:audit_log", "Who did what, and when."),
        "completion": Lazy(
            f"{_COMMANDS}.completion:completion", "Print the completion script for a shell."
        ),
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=example(
        "ikewarden init --dir var && ikewarden serve --dir var",
        "ikewarden cert issue gw1.example.com 192.0.2.1 --out gw1",
    ),
)
@click.version_option(package_name="ikewarden", message="%(prog)s %(version)s")
@format_option()
@connection_options
def program() -> None:
    """Keys and certificates for IPsec fleets.

    Exit codes: 0 done, 1 found or failed, 2 bad usage or input, 3 service unreachable, or unable to now.
    """
