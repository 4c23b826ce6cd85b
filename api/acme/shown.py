"""What the ACME door shows of accounts, orders, authorizations and challenges (RFC 8555 §7.1)."""

from datetime import datetime
from typing import Any, Final

from api.acme import problems
from api.acme.asked import Ask
from pki.acme import renewal
from pki.acme.accounts import Account
from pki.acme.orders import AuthorizationView, ChallengeView, OrderView
from pki.acme.renewal import Window
from pki.acme.states import State
from pki.x509.names import GeneralName

# RFC 8555 §7.1.4: which challenges are shown of an authorization in each state; of all others, all.
_SHOWN: Final = {State.VALID: State.VALID, State.INVALID: State.INVALID}


def directory(ask: Ask) -> dict[str, Any]:
    """RFC 8555 §7.1.1."""
    return {
        "newNonce": ask.url("new-nonce"),
        "newAccount": ask.url("new-account"),
        "newOrder": ask.url("new-order"),
        "revokeCert": ask.url("revoke-certificate"),
        "keyChange": ask.url("key-change"),
        "renewalInfo": ask.url("renewal-info"),  # RFC 9773 §4.1
        "meta": {
            "externalAccountRequired": ask.door.external_account,
            "profiles": {ask.through.profile: "The profile of this endpoint."},
        },
    }


def account(ask: Ask, shown: Account) -> dict[str, Any]:
    """RFC 8555 §7.1.2."""
    return {
        "status": shown.state,
        "contact": list(shown.contacts),
        "orders": ask.account_url(shown) + "/orders",
    }


def order(ask: Ask, shown: OrderView) -> dict[str, Any]:
    """RFC 8555 §7.1.3."""
    found: dict[str, Any] = {
        "status": shown.state,
        "expires": moment(shown.expires_at),
        "identifiers": [_identifier(each) for each in shown.identifiers],
        "authorizations": [ask.url("authorization", each) for each in shown.authorizations],
        "finalize": ask.url("order", shown.id, "finalize"),
        "profile": ask.through.profile,
    }
    if shown.state is State.VALID:
        found["certificate"] = ask.url("order", shown.id, "certificate")
    if shown.error is not None and shown.state is State.INVALID:
        denied = shown.error["code"] == "enrollment_denied"
        kind = "unauthorized" if denied else "badCSR"
        found["error"] = {**shown.error, "type": problems.TYPE + kind, "status": 403}
    if shown.replaces is not None:
        found["replaces"] = shown.replaces
    return found


def authorization(ask: Ask, shown: AuthorizationView) -> dict[str, Any]:
    """RFC 8555 §7.1.4."""
    only = _SHOWN.get(shown.state)
    chosen = [each for each in shown.challenges if only is None or each.state is only]
    return {
        "status": shown.state,
        "expires": moment(shown.expires_at),
        "identifier": _identifier(shown.identifier),
        "challenges": [challenge(ask, each) for each in chosen],
    }


def challenge(ask: Ask, shown: ChallengeView) -> dict[str, Any]:
    """RFC 8555 §7.1.5, §8."""
    found: dict[str, Any] = {
        "type": shown.kind,
        "url": ask.url("challenge", shown.id),
        "status": shown.state,
        "token": shown.token,
    }
    if shown.validated_at is not None:
        found["validated"] = moment(shown.validated_at)
    if (error := problems.proof(shown.error)) is not None:
        found["error"] = error
    return found


def suggestion(window: Window) -> dict[str, Any]:
    """RFC 9773 §4.2."""
    return {"suggestedWindow": {"start": moment(window.start), "end": moment(window.end)}}


def ask_again() -> str:
    """How many seconds later a client asks again (RFC 9773 §4.3)."""
    return str(int(renewal.ASK_AGAIN.total_seconds()))


def moment(at: datetime) -> str:
    """RFC 3339, in whole seconds."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _identifier(name: GeneralName) -> dict[str, str]:
    return {"type": name.kind, "value": name.value}
