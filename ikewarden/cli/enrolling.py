"""A certificate for a key that is made for it, so that no crash leaves a certificate without its key."""

from collections.abc import Callable, Sequence
from typing import Any

from hsm.ports import KeyAlgorithm
from ikewarden.cli.delivery import Delivery
from ikewarden.cli.requesting import SubjectMalformed, pending_key, signing_request
from ikewarden.client import Refused, ServiceUnreachable
from pki.x509.names import GeneralName


def with_new_key(
    delivery: Delivery,
    kind: KeyAlgorithm,
    names: Sequence[GeneralName],
    send: Callable[[str], dict[str, Any]],
    *,
    subject: str = "",
) -> tuple[dict[str, Any], dict[str, str]]:
    """Make a key, `send` a request for it, and write both; give the answer and the paths by role.

    The key is on disk before the request leaves. It gets its final name with the certificate; until then it stands
    beside it, and a second run takes it up again. It is removed where the service surely issued nothing. Raises
    what `send` and the parts raise, with a note where the key stays.
    """
    key, new = pending_key(delivery.pending, kind)
    try:
        answer = send(signing_request(key, names, subject))
    except Exception as error:
        if new and _surely_not_done(error):
            delivery.pending.unlink()
        else:
            error.add_note(
                f"The key stays in {delivery.pending}, in case there is a certificate for it: "
                "the same command takes it up again."
            )
        raise
    return answer, delivery.save(answer, with_key=True)


def _surely_not_done(error: Exception) -> bool:
    if isinstance(error, ServiceUnreachable):
        return not error.maybe_done
    return isinstance(error, SubjectMalformed) or (
        isinstance(error, Refused) and error.surely_not_done
    )
