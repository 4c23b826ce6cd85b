"""`ikewarden completion`: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class

from ikewarden.cli.help import command
from ikewarden.cli.options import example
from ikewarden.cli.session import Session, pass_session

NAME = "ikewarden"
VARIABLE = "_IKEWARDEN_COMPLETE"


@command(
    epilog=example(
        "ikewarden completion bash > ~/.local/share/bash-completion/completions/ikewarden",
        "ikewarden completion zsh > /usr/local/share/zsh/site-functions/_ikewarden",
        "ikewarden completion fish > ~/.config/fish/completions/ikewarden.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_session
def completion(session: Session, shell: str) -> None:
    """Print the completion script for a shell.

    It calls `ikewarden` for the words that may follow, so it stays right when the program is changed.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.BadParameter(f"There is no completion for {shell}.", param_hint="SHELL")
    root = click.get_current_context().find_root().command
    session.screen.verbatim(kind(root, {}, NAME, VARIABLE).source())
