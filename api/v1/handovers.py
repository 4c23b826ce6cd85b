"""A shared secret handed to whoever runs an outside peer: a token for one use, and its use."""

import base64
from datetime import datetime
from typing import Annotated

from pydantic import Field, GetPydanticSchema
from pydantic_core import core_schema

from api.bridge import REQUEST_ID
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.secrets import TAG, KindName
from core.secret import Secret
from fleet.rotation import handover
from fleet.rotation.values import Kind
from pki.actors import Action

CLAIM = "/v1/handovers/claim"
_UNSTORED = (("Cache-Control", "no-store"),)
TokenText = Annotated[
    Secret,
    GetPydanticSchema(
        lambda _source, _handler: core_schema.no_info_after_validator_function(
            Secret, core_schema.str_schema(min_length=1, max_length=200)
        )
    ),
]


class HandOver(Sent):
    """Which secret, and how long the token is good."""

    kind: KindName = "psk"
    hours: int = Field(default=24, ge=1, le=336)


class ClaimSecret(Sent):
    """The token. It stands in the body alone: a URL is logged and remembered."""

    token: TokenText


class HandoverShown(Shown):
    """A new token, shown this once."""

    id: int
    secret: str
    version: int
    fingerprint: str | None
    expires_at: datetime
    url: str = Field(description="Of the service; the token is sent to it in a body.")
    token: str


class ClaimedShown(Shown):
    """What was handed over."""

    tunnel: str
    kind: str
    version: int
    fingerprint: str | None
    ppk_id: str | None
    value: str = Field(description="Base64.")


def create(call: Call[HandOver, Nothing]) -> Reply:
    """Make a token."""
    body, name = call.body, call.path["name"]
    made = handover.create(call.desk, call.actor, name, Kind(body.kind), body.hours, now=call.now)
    answer = HandoverShown(
        id=made.id,
        secret=made.slot,
        version=made.version,
        fingerprint=made.fingerprint,
        expires_at=made.expires_at,
        url=call.desk.rules.service_url,
        token=made.token.reveal().decode(),
    )
    return Reply(answer, status=201, headers=_UNSTORED)


def claim(call: Call[ClaimSecret, Nothing]) -> Reply:
    """Use a token up."""
    found = handover.claim(
        call.desk, call.body.token, call.client, request_id=REQUEST_ID.get(), now=call.now
    )
    fields = {name: getattr(found, name) for name in ClaimedShown.model_fields if name != "value"}
    text = base64.b64encode(found.value.reveal()).decode()
    return Reply(ClaimedShown(**fields, value=text), headers=_UNSTORED)


ROUTES = (
    Route(
        method="POST",
        path="/v1/tunnels/{name}/handover",
        view=create,
        summary="Make a token with which whoever runs the outside peer gets the key, once",
        tag=TAG,
        action=Action.SECRET_HANDOVER,
        body=HandOver,
        answer=HandoverShown,
        status=201,
        secret=True,
        example={"hours": 24},
        refusals=(404, 409, 422, 503),
    ),
    Route(
        method="POST",
        path=CLAIM,
        view=claim,
        summary="Get a key by a token that is good once",
        description="The token is all the permission that is needed. Each use is on record with its address.",
        tag=TAG,
        action=None,
        public=True,
        body=ClaimSecret,
        answer=ClaimedShown,
        secret=True,
        secret_body=True,
        example={"token": "iwh1_…"},
        refusals=(404, 422, 503),
    ),
)
