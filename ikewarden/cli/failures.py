"""Errors at this door: one table from class to exit code, and how they are told (DESIGN §4.1)."""

import errno
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TextIO

import click

from core.errors import (
    Conflict,
    IkewardenError,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    TooFast,
    TooLarge,
    Unavailable,
)

FAILED, BAD_INPUT, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130
# The class itself or its nearest ancestor decides.
_EXITS: Final[Mapping[type[BaseException], int]] = {
    InvalidInput: BAD_INPUT,
    NotAuthenticated: BAD_INPUT,
    TooLarge: BAD_INPUT,
    NotPermitted: FAILED,
    NotFound: FAILED,
    Conflict: FAILED,
    TooFast: UNREACHABLE,
    Unavailable: UNREACHABLE,
    IkewardenError: FAILED,
}
# Trying again does not help with these, which are Unavailable: the store of secrets or keys is there. By their codes,
# because the base install has no hsm.
_ANSWERED: Final = frozenset(
    {
        "secret_store_refused",
        "secret_store_credential",
        "secret_lost",
        "pin_refused",
        "pin_locked",
        "pkcs11_module_unusable",
        "key_ambiguous",
        "key_kind_unusable",
        "key_store_full",
        "key_version_gone",
        "key_deleted",
        "signer_refused",
        "signer_mount_missing",
        "signer_credential",
    }
)
# The service speaks to whoever writes HTTP; at this door nobody does.
_SHAPE: Final = {
    "detail": "The service does not take what was given.",
    "next_step": "Correct what is named above; --help says what may be given.",
}
_HERE: Final[Mapping[str, Mapping[str, str]]] = {
    "authorization_malformed": {
        "detail": "What was given as a token is none.",
        "next_step": "Look at IKEWARDEN_TOKEN, or into the token file: a token is one word that begins with iw_, as "
        "`ikewarden token create` prints it.",
    },
    "body_invalid": _SHAPE,
    "query_invalid": _SHAPE,
}
_STATUSES: Final = {401: BAD_INPUT, 403: FAILED, 404: FAILED, 409: FAILED}
# Which extra brings a library that the base install does not have.
_EXTRAS: Final = {
    **dict.fromkeys(
        (
            "alembic",
            "annotated_types",
            "apscheduler",
            "flask",
            "granian",
            "greenlet",
            "httptools",
            "hvac",
            "prometheus_client",
            "pydantic",
            "pydantic_core",
            "pyrage",
            "requests",
            "sqlalchemy",
            "uvicorn",
            "uvloop",
            "werkzeug",
        ),
        "server",
    ),
    "psycopg": "postgres",
    "opentelemetry": "traces",
}


class ExtraMissing(IkewardenError):
    """A library is missing that only some installations need."""

    code = "extra_missing"


@dataclass(frozen=True)
class Failure:
    """What is told of an error: the exit code, and the members of a problem document."""

    exit_code: int
    document: Mapping[str, Any]
    unforeseen: bool = False


def failure_of(error: Exception) -> Failure:
    """What to tell of an error, and with which code to end; notes on it are told too."""
    failure = _failure_of(error)
    notes = getattr(error, "__notes__", None)
    return replace(failure, document={**failure.document, "notes": notes}) if notes else failure


def _failure_of(error: Exception) -> Failure:
    from ikewarden.client import Refused

    if isinstance(error, Refused):
        return _refused(error.status, error.problem)
    if isinstance(error, ModuleNotFoundError):
        error = _extra_missing(error) or error
    if isinstance(error, IkewardenError):
        return _ours(error)
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, OSError):
        return _system(error)
    return _unknown(error)


def tell(failure: Failure, err: TextIO, *, as_json: bool) -> None:
    """Write it to standard error: one sentence, what to do next, and the code; or the document."""
    from core.escaping import escaped

    if as_json:
        err.write(json.dumps(failure.document, indent=2, default=str) + "\n")
        return
    document = failure.document
    lines = [f"ikewarden: {document['detail']} ({document['code']})"]
    lines += [f"  {each}" for each in _places(document.get("errors"))]
    lines += [f"  {line}" for line in _outline(document.get("details") or {})]
    lines += [f"  {note}" for note in document.get("notes", ())]
    if document.get("next_step"):
        lines.append(f"  Next: {document['next_step']}")
    if document["code"] == "internal_error" and document.get("request_id"):
        lines.append(f"  Request: {document['request_id']}")
    lines = list(map(escaped, lines))
    if err.isatty():
        lines = [part for line in lines for part in _folded(line)]
    err.write("".join(line + "\n" for line in lines))


def _folded(line: str) -> list[str]:
    """A line as those that a terminal shows without breaking words; what goes on is indented."""
    from shutil import get_terminal_size
    from textwrap import wrap

    behind = " " * (len(line) - len(line.lstrip()) + 2)
    return wrap(
        line,
        get_terminal_size((100, 24)).columns,
        subsequent_indent=behind,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _extra_missing(error: ModuleNotFoundError) -> ExtraMissing | None:
    """Commands import what they need when they are called; what the base install lacks is named then."""
    extra = _EXTRAS.get((error.name or "").partition(".")[0])
    if extra is None:
        return None
    return ExtraMissing(
        f"This command needs the {extra} part of ikewarden, which is not installed here.",
        next_step=f"In a clone of ikewarden, run: pip install '.[{extra}]'",
    )


def _ours(error: IkewardenError) -> Failure:
    code = next(_EXITS[base] for base in type(error).__mro__ if base in _EXITS)
    if error.code in _ANSWERED:
        code = FAILED
    document: dict[str, Any] = {
        "code": error.code,
        "detail": error.message,
        "next_step": error.next_step,
    }
    if error.details:
        document["details"] = dict(error.details)
    return Failure(code, document)


def _refused(status: int, problem: Mapping[str, Any]) -> Failure:
    fallback = UNREACHABLE if status in (429, 502, 503, 504) else FAILED
    if 400 <= status < 500:
        fallback = BAD_INPUT
    document = {
        "code": f"http_{status}",
        "detail": f"The service answered with status {status}.",
        "next_step": "",
        **problem,
    }
    document |= _HERE.get(document["code"], {})
    return Failure(_STATUSES.get(status, fallback), document)


def _usage(error: click.ClickException) -> Failure:
    ctx = getattr(error, "ctx", None)
    advice = f"See: {ctx.command_path} --help" if ctx else ""
    # click breaks the line before each choice that is missing
    detail = " ".join(error.format_message().split())
    document = {"code": "usage", "detail": detail, "next_step": advice}
    return Failure(BAD_INPUT, document)


def _system(error: OSError) -> Failure:
    where = f"{error.filename}: " if error.filename else ""
    what = error.strerror or type(error).__name__
    advice = _ADVICE.get(error.errno or 0, "")
    document = {"code": "system_error", "detail": f"{where}{what}.", "next_step": advice}
    return Failure(BAD_INPUT if error.filename and error.errno in _PATHS else FAILED, document)


_PATHS: Final = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES)
)
_ADVICE: Final = {
    **dict.fromkeys(_PATHS, "Look whether the path is right, and whether you may use it."),
    errno.EPERM: "Run it as a user who may do that.",
    errno.EROFS: "Choose a place that can be written to.",
    errno.ENOSPC: "Make room on the file system, then try again.",
    errno.EDQUOT: "Make room on the file system, then try again.",
    errno.EIO: "The file cannot be read or written: look at the disk, or name another file.",
}


def _unknown(error: Exception) -> Failure:
    """Nothing of its message: it may hold anything."""
    from ikewarden.logs import described

    known = described(error)
    document = {
        "code": "internal_error",
        "detail": "Something went wrong in ikewarden itself: "
        f"{known['error']} at {known.get('at', 'an unknown place')}.",
        "next_step": "Please report it; IKEWARDEN_TRACEBACK=1 shows more (look through it for secrets first).",
    }
    return Failure(FAILED, document, unforeseen=True)


def _places(errors: object) -> list[str]:
    """Lines of `errors`: a list of {pointer, detail}."""
    if not isinstance(errors, Sequence) or isinstance(errors, str):
        return []
    return [
        f"{each.get('pointer') or each.get('parameter') or ''}: {each.get('detail', '')}"
        for each in errors
        if isinstance(each, Mapping)
    ]


def _outline(details: object) -> list[str]:
    """Nested values as indented lines."""
    if isinstance(details, Mapping):
        lines = []
        for name, value in details.items():
            nested = _outline(value)
            if isinstance(value, Mapping | list) and nested:
                lines += [f"{name}:", *(f"  {line}" for line in nested)]
            else:
                lines.append(f"{name}: {value}")
        return lines
    if isinstance(details, list | tuple):
        return [line for each in details for line in _listed(each)]
    return [str(details)]


def _listed(value: object) -> list[str]:
    lines = _outline(value)
    return [f"- {lines[0]}", *(f"  {line}" for line in lines[1:])] if lines else []
