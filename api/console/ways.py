"""Ways to sign in beside a token: with a client certificate, and through OpenID Connect."""

from base64 import urlsafe_b64encode
from typing import Any

from pydantic import ConfigDict, Field

from api import oidc
from api.console import cookies
from api.console.entry import EntryForm, SignInQuery, entered
from api.console.mending import refused
from api.console.page import Answer, Page, Redirect, Screen, Visit
from api.errors import RouteNotFound
from api.registry import Sent
from core.errors import IkewardenError
from core.secret import Secret
from pki import sessions
from pki.actors import Actor
from pki.desk import OidcRules

_MAX: int = 4000


class AnswerQuery(Sent):
    """What the provider answers (RFC 6749 §4.1.2, RFC 9207); it may say more, which counts for nothing."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    state: str = Field(default="", max_length=_MAX)
    code: str = Field(default="", max_length=_MAX)
    iss: str = Field(default="", max_length=_MAX)
    error: str = Field(default="", max_length=_MAX)


def with_certificate(visit: Visit[EntryForm, Any]) -> Answer:
    """Begin a session for the holder of the certificate that the browser showed."""
    sent = visit.body
    try:
        opened = sessions.sign_in_with_certificate(
            visit.desk,
            visit.certificate,
            client=visit.client,
            now=visit.now,
            request_id=visit.request_id,
            before=cookies.read_session(visit.cookies),
        )
    except IkewardenError as error:
        return _again(visit, error, sent.next, sent.kept_for, sent.kept)
    return entered(opened, next=sent.next, kept_for=sent.kept_for, kept=sent.kept)


def start(visit: Visit[None, SignInQuery]) -> Answer:
    """Send the browser to the provider. A link leads here and no form: the policy of our pages lets forms go nowhere
    else.
    """
    rules = _rules(visit)
    secret = Secret(urlsafe_b64encode(visit.desk.entropy(32)).rstrip(b"="))
    try:
        sessions.check_tries(visit.desk, visit.client, now=visit.now)
        to = oidc.provider(rules).address(oidc.Attempt.of(secret), now=visit.now)
    except IkewardenError as error:
        return _again(visit, error, visit.query.next)
    return Redirect(to, cookies=(cookies.attempt(secret, visit.query.next),))


def finish(visit: Visit[None, AnswerQuery]) -> Answer:
    """Take the provider's answer, and begin a session for whom it proves."""
    rules, query = _rules(visit), visit.query
    secret, onward = cookies.read_attempt(visit.cookies.get(cookies.ATTEMPT))
    try:
        sessions.check_tries(visit.desk, visit.client, now=visit.now)
        if secret is None:
            raise oidc.OidcAttemptOver("This browser is not about to sign in.")
        attempt, provider = oidc.Attempt.of(secret), oidc.provider(rules)
        provider.check_answer(attempt, query.state, query.iss, now=visit.now)
        if query.error or not query.code:
            raise oidc.OidcDeclined("The provider signed nobody in.")
        actor = _identified(visit, provider, attempt)
        opened = sessions.begin(
            visit.desk,
            actor,
            "oidc",
            client=visit.client,
            now=visit.now,
            before=cookies.read_session(visit.cookies),
        )
    except IkewardenError as error:
        return _again(visit, error, onward, used_up=True)
    answer = entered(opened, next=onward)
    gone = cookies.gone(cookies.ATTEMPT)
    return (
        Redirect(answer.to, cookies=(*answer.cookies, gone))
        if isinstance(answer, Redirect)
        else answer
    )


def _identified(
    visit: Visit[None, AnswerQuery], provider: oidc.Provider, attempt: oidc.Attempt
) -> Actor:
    try:
        return provider.identify(
            attempt, visit.query.code, now=visit.now, request_id=visit.request_id
        )
    except oidc.OidcRefused:
        # Counted only here, where the answer is of an attempt of this browser: no other site can lock somebody out.
        sessions.note_failure(visit.desk, visit.client, now=visit.now, request_id=visit.request_id)
        raise


def _rules(visit: Visit[Any, Any]) -> OidcRules:
    rules = visit.desk.rules.sessions.oidc
    if rules is None:
        raise RouteNotFound("There is nothing at this path.")
    return rules


def _again(
    visit: Visit[Any, Any],
    error: IkewardenError,
    onward: str,
    kept_for: str = "",
    kept: str = "",
    *,
    used_up: bool = False,
) -> Screen:
    """The page to sign in once more, with what was wrong; also where the provider is away: there are other ways."""
    shown = refused(error, visit, also=(oidc.OidcUnavailable,))
    facts = {"next": onward, "error": shown, "kept": kept, "kept_for": kept_for}
    ended = (cookies.gone(cookies.ATTEMPT),) if used_up else ()
    return Screen("sign_in.html", facts, status=shown.status, cookies=ended)


PAGES: tuple[Page, ...] = (
    Page("POST", "/sign-in/certificate", with_certificate, None, form=EntryForm, public=True),
    Page("GET", "/sign-in/oidc", start, None, query=SignInQuery, public=True),
    Page("GET", "/sign-in/oidc/callback", finish, None, query=AnswerQuery, public=True),
)
