"""What clients of the service trust, and the lists that daemons are given: roots, and CRLs over the API."""

from pydantic import Field

from api.registry import Call, Nothing, Reply, Route, Shown
from fleet import enrollment, lists
from pki.actors import Action
from pki.authorities import pem

_TAG = "Authorities"
_CRL = "application/pkix-crl"


class Trust(Shown):
    """The roots; whoever has a pin chooses by it, and nobody else trusts them for coming from here."""

    roots: list[str] = Field(description="PEM.")


def show(call: Call[None, Nothing]) -> Reply:
    """Show the roots."""
    found = enrollment.roots(call.desk)
    return Reply(Trust(roots=[pem(each.certificate) for each in found]))


def crl(call: Call[None, Nothing]) -> Reply:
    """Give the complete list of an authority."""
    found = lists.get(call.desk, call.actor, call.path["name"])
    headers = (("ETag", f'"{found.sha256}"'),)
    if f'"{found.sha256}"' in call.known:
        return Reply(b"", status=304, headers=headers)
    return Reply(found.der, media_type=_CRL, headers=headers)


ROUTES = (
    Route(
        method="GET",
        path="/v1/trust",
        view=show,
        summary="The root certificates, for an agent that has a pin and nothing else",
        description="Fetched without trust: the agent takes the root whose SHA-256 is its pin.",
        tag=_TAG,
        action=None,
        public=True,
        answer=Trust,
    ),
    Route(
        method="GET",
        path="/v1/authorities/{name}/crl",
        view=crl,
        summary="The complete revocation list of an authority, in DER",
        tag=_TAG,
        action=Action.CRL_READ,
        answer=_CRL,
        refusals=(404,),
    ),
)
