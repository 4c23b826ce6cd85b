"""What the log is told of a device that was refused: what the device shows of it nobody may ever read.

One line for each, the same at every door, so that an operator finds it by the device's address, its name or the code.
"""

import logging
import re
from collections.abc import Mapping
from typing import Final, Literal

from cryptography import x509

from api.problems import status_of
from core.errors import IkewardenError
from pki.acme.refusals import NonceRefused
from pki.identity import TokenRefused
from pki.x509.malformed import MALFORMED

Protocol = Literal["EST", "SCEP", "CMP", "ACME"]
_log = logging.getLogger("ikewarden.enrollment")
_ENDPOINT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_DEEPEST: Final = 4
_MOST: Final = 200


def tell(
    by: Protocol,
    error: IkewardenError,
    *,
    endpoint: str,
    client: str,
    request_id: str,
    actor: str = "",
    claims: str = "",
) -> None:
    """Write down that a request was refused, why, at which endpoint, from which address, and whose token it was.

    `actor` is who it was proved to be from, `claims` whom else it names, which anybody can.
    What the service is to blame for is a warning. A path that can name no endpoint is left out, with the words about
    it: a token may have been put there by mistake.
    """
    if isinstance(error, NonceRefused):
        return  # clients of ACME go on by themselves, with the nonce of that refusal
    level = logging.WARNING if status_of(error) >= 500 else logging.INFO
    known = _ENDPOINT.fullmatch(endpoint) is not None
    extra = {
        "code": error.code,
        "door": by,
        "endpoint": endpoint if known else "",
        "client": client,
        "actor": actor,
        "claims": claims[:_MOST],
        "request_id": request_id,
    }
    why = error.message if known else "There is no such endpoint."
    _log.log(level, "refused: %s", why, extra={**extra, **_token(error)})


def subject_of(shown: bytes | x509.Certificate | None) -> str:
    """The subject of the certificate (or its DER) that a device shows; empty where it shows none that can be read:
    a subject is read when it is asked for, and not with the certificate.
    """
    try:
        if isinstance(shown, bytes):
            shown = x509.load_der_x509_certificate(shown)
        return "" if shown is None else shown.subject.rfc4514_string()
    except MALFORMED:
        return ""


def _token(error: BaseException | None) -> Mapping[str, str]:
    """What had become of the token that was shown, where there is one: the device is not told."""
    for _ in range(_DEEPEST):
        if isinstance(error, TokenRefused) and error.of is not None:
            return {"token": error.of.id, "token_of": error.of.name, "token_is": error.of.state}
        error = None if error is None else error.__cause__
    return {}
