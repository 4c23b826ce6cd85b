"""One piece of work with a token: a document on standard input, one on standard output, and the process ends."""

import base64
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, Final

from core.errors import IkewardenError
from core.secret import Secret
from ike.tokens.errors import TokenFailed, TokenLibraryMissing
from ike.tokens.process import octets
from ike.tokens.uri import parse

_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """See the module."""
    # What a module prints must not stand between.
    answer = os.dup(1)
    os.dup2(2, 1)
    asked = json.loads(sys.stdin.buffer.read())
    _end_with(asked["parent"])
    try:
        told = _done(asked)
    except IkewardenError as error:
        told = {"code": error.code, "message": error.message, "next_step": error.next_step}
    except Exception as error:  # noqa: BLE001 - the parent must hear of it, and not of what a text may quote
        failed = TokenFailed(f"The work with the token failed ({type(error).__name__}).")
        told = {"code": failed.code, "message": failed.message, "next_step": failed.next_step}
    with open(answer, "wb") as sink:
        sink.write(json.dumps(told).encode())
        sink.flush()
        # Modules have crashed in what they do at the end of a process; the session is closed.
        os._exit(0)


def _end_with(parent: int) -> None:
    """Die with the agent: nothing is made in the token that the next one could not know of."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _done(asked: Mapping[str, Any]) -> dict[str, Any]:
    try:
        from ike.tokens.token import session
    except ModuleNotFoundError as missing:
        raise TokenLibraryMissing(
            f"The library for PKCS#11 is not installed ({missing.name})."
        ) from None
    uri = parse(asked["uri"])
    made, count = b"", 0
    with session(uri.place, Secret(asked["pin"])) as opened:
        match asked["operation"]:
            case "make":
                made = opened.make(asked["kind"], uri.id, uri.object)
            case "public":
                made = opened.public(uri.id)
            case "sign":
                made = opened.sign(uri.id, asked["mechanism"], octets(asked["data"]))
            case "sweep":
                count = opened.sweep(asked["prefix"], [octets(each) for each in asked["keep"]])
    return {"octets": base64.b64encode(made).decode(), "count": count}


if __name__ == "__main__":
    main()
