"""Work with a token, done by a process that ends with it (`ike.tokens.worker`). The PIN goes through a pipe."""

import base64
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any, Final

from core.errors import IkewardenError
from core.secret import Secret
from ike.tokens import errors
from ike.tokens.errors import TokenFailed, TokenSlow
from ike.tokens.uri import TokenUri

# A smart card takes half a minute to make an RSA key.
_SECONDS: Final = 90
# Tokens and passphrases are none of a module's business.
_OURS: Final = "IKEWARDEN_"
_ERRORS: Final = {
    each.code: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, IkewardenError)
}


@dataclass(frozen=True)
class Work:
    """What is to be done: `make` a key of a `kind`, `public` half, `sign` data, `sweep` what bears a `prefix` but
    what is to `keep`. Which key it is stands in the URI.
    """

    operation: str
    mechanism: str = ""
    data: bytes = b""
    kind: str = ""
    prefix: str = ""
    keep: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What came of it: a public half or a signature; how many objects were destroyed."""

    octets: bytes = b""
    count: int = 0


def ask(uri: TokenUri, pin: Secret, work: Work) -> Answer:
    """Have it done. Raises what `ike.tokens.errors` has."""
    document = {
        "uri": str(uri),
        "pin": pin.reveal().decode(),
        "parent": os.getpid(),
        **asdict(work),
        "data": _text(work.data),
        "keep": [_text(each) for each in work.keep],
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ike.tokens.worker"],
            env={k: v for k, v in os.environ.items() if not k.startswith(_OURS)},
            input=json.dumps(document).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # modules chatter
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TokenSlow(f"The token did not answer within {_SECONDS} s.") from None
    except OSError as error:
        raise TokenFailed(f"No process for the token could be started: {error.strerror}.") from None
    return _answer(done.stdout, done.returncode)


def _answer(said: bytes, status: int) -> Answer:
    try:
        document: dict[str, Any] = json.loads(said)
        if "code" in document:
            kind = _ERRORS.get(str(document["code"]), TokenFailed)
            raise kind(str(document["message"]), next_step=str(document["next_step"]))
        return Answer(octets(document["octets"]), int(document["count"]))
    except (ValueError, KeyError, TypeError):
        raise TokenFailed(
            f"The process for the token ended without an answer (status {status}): its module crashed, it seems."
        ) from None


def octets(text: str) -> bytes:
    """Octets as they stand in the documents."""
    return base64.b64decode(text)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
