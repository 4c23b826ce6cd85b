"""The entry point of the program: arguments in, exit code out."""

import contextlib
import gc
import io
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

import click

from ikewarden.cli.failures import FAILED, INTERRUPTED, failure_of, tell
from ikewarden.cli.root import program
from ikewarden.cli.session import Session

# Importing our modules makes many objects and no garbage; Python would look for some after every 700.
_GARBAGE = 50_000


def main() -> int:
    """Run one command with the arguments, environment, clock and streams of this process."""
    if sys.stdin is None:  # closed by whoever started us: nothing comes from it
        sys.stdin = open(os.devnull, encoding="utf-8")
    session = Session(
        environ=os.environ, clock=_now, out=_stream(sys.stdout), err=_stream(sys.stderr)
    )
    gc.set_threshold(_GARBAGE)
    code = run(sys.argv[1:], session)
    gc.freeze()  # at the end Python looks through all that is left, which takes longer than many a command
    return code


def run(arguments: Sequence[str], session: Session) -> int:
    """Run one command; give its exit code. Every error is told here, and nowhere else."""
    try:
        outcome = program.main(
            args=list(arguments), prog_name="ikewarden", standalone_mode=False, obj=session
        )
        session.out.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        session.err.write(error.format_message() + "\n")
        return error.exit_code
    except BrokenPipeError:
        _abandon_output()  # whoever read along has seen enough
        return FAILED
    except click.Abort:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it was, the user is told in one way
        failure = failure_of(error)
        if failure.unforeseen and session.environ.get("IKEWARDEN_TRACEBACK"):
            traceback.print_exception(error, file=session.err)
        if isinstance(error, OSError):
            _abandon_output()
        tell(failure, session.err, as_json=_wants_json(arguments))
        return failure.exit_code
    return outcome if isinstance(outcome, int) else 0


def _abandon_output() -> None:
    """What could not be written (a full disk, a reader gone) is not tried again when the process ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _wants_json(arguments: Sequence[str]) -> bool:
    """Looked for in the arguments themselves: they may be what cannot be understood."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return "--format=json" in arguments or ("--format", "json") in pairs


def _stream(stream: TextIO | None) -> TextIO:
    """The stream, made to write what its encoding lacks as an escape; nowhere if it is closed."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - an entry point


if __name__ == "__main__":
    sys.exit(main())
