"""Enrollment: from one pasted line to a certificate, trusting nobody but the root that the line pins.

1. `/v1/trust` is fetched over a connection that is not verified and carries nothing secret; of what comes, only the
   certificate whose SHA-256 is the pin is believed.
2. From then on TLS is verified by that root. The token tells for which names and profile it is.
3. The key is made here and on disk, so is the Idempotency-Key, before the request leaves. Whatever dies, the same line
   again gets the same certificate.
4. The home belongs to the new service when the certificate is there; a former key stays in the daemon until the new
   one is in use.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from urllib3.exceptions import InsecureRequestWarning

from core.errors import Conflict, IkewardenError, InvalidInput, NotAuthenticated, NotPermitted
from core.secret import Secret
from ike.agent import channel_key
from ike.agent.channel import AnswerBroken, Document, ServerRefused, Service
from ike.agent.generations import Generation, Stage
from ike.agent.home import Home, stamp
from ike.agent.keys import (
    CertificateUnusable,
    credential_of,
    is_authority,
    kind_of,
    make_key,
    names_of,
    read_certificate,
    request_by,
)
from ike.agent.settings import NAME, AgentSettings, parse, render
from ike.agent.tokens import require_able, wanted_token
from ike.daemons.port import TokenKey
from pki.x509.names import GeneralName, InvalidName
from pki.x509.renewal import CHANNEL_NAMES

PREFIX: Final = "iwe1_"
TOLERATED: Final = timedelta(minutes=5)
_LONGEST: Final = 8192
_LARGEST_TRUST: Final = 2**20
# Nobody else tries again for a gateway that is not enrolled yet.
_TRIES: Final = 5
_PIN: Final = re.compile(r"[0-9a-f]{64}")
_SPENT: Final = ("token_refused", "token_used_up")
_OTHER: Final = ("outside_scope", "role_not_permitted")


class EnrollmentMalformed(InvalidInput):
    """What was pasted is no enrollment, or a part of one."""

    code = "enrollment_malformed"
    next_step = "Paste the whole line that `ikewarden gateway enrollment NAME` printed, from iwe1_ to its end."


class PinMismatch(NotAuthenticated):
    """Whoever answers does not have the root that the enrollment pins; nothing secret was sent to it."""

    code = "enrollment_pin_mismatch"
    next_step = (
        "Something between this gateway and the service answers in its place, or the service has a new root: "
        "ask its operator, and for a new enrollment."
    )


class EnrollmentSpent(NotAuthenticated):
    """The enrollment was used already, has expired, or was revoked."""

    code = "enrollment_spent"
    next_step = (
        "Ask for a new one: `ikewarden gateway enrollment NAME`. If nobody here used this one, somebody else did: "
        "look at `ikewarden cert list`, and revoke what is not yours."
    )


class EnrollmentForOther(NotPermitted):
    """The enrollment is not for this gateway's names or profile."""

    code = "enrollment_for_other"
    next_step = "Use the enrollment that was made for this gateway."


class ClockWrong(Conflict):
    """This gateway's clock and the service's are too far apart for certificates to work."""

    code = "clock_wrong"
    next_step = "Set the clock (`chronyc makestep`, say), then run the same again: the enrollment was not used."


class AlreadyEnrolled(Conflict):
    """There is a working enrollment in this home."""

    code = "agent_already_enrolled"
    next_step = "Give --force to enroll again; the key in use stays until the new one is."


@dataclass(frozen=True)
class Enrollment:
    """What the line holds: where the service is, SHA-256 of its root, the one-time token, the gateway's name."""

    url: str
    pin: str
    token: Secret
    name: str


def read_line(line: str) -> Enrollment:
    """Read a pasted line; blanks and line breaks that a terminal put into it do no harm. Raises EnrollmentMalformed."""
    text = "".join(line.split())
    if not text.startswith(PREFIX) or len(text) > _LONGEST:
        raise EnrollmentMalformed("This is no enrollment.")
    encoded = text.removeprefix(PREFIX)
    try:
        padded = encoded + "=" * (-len(encoded) % 4)
        document = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        url, pin, token, name = (document[each] for each in ("u", "p", "t", "n"))
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        raise EnrollmentMalformed("This is only a part of an enrollment, or was changed.") from None
    sound = all(isinstance(each, str) and each.isprintable() for each in (url, pin, token, name))
    if not sound or not _PIN.fullmatch(pin) or not token.isascii() or not name:
        raise EnrollmentMalformed("This enrollment holds something else than it must.")
    return Enrollment(url=url, pin=pin, token=Secret(token), name=name)


def enroll(
    home: Home,
    enrollment: Enrollment,
    wanted: AgentSettings,
    *,
    clock: Callable[[], datetime],
    force: bool = False,
) -> Generation:
    """Get a certificate for a key made here; afterwards the home is the new service's, and the generation is issued.

    The caller holds the home's lock. `wanted` are settings of which URL and gateway are taken from the enrollment.
    Run again after whatever happened, it takes up where it was. Raises what is above, the errors of
    `ike.agent.channel`, `ike.agent.errors`, and CertificateUnusable; the former key stays in use with all of them.
    """
    require_able(wanted)
    _refuse_second(home, enrollment, force=force)
    pinned = fetch_root(enrollment, clock=clock)
    with_token = Service(enrollment.url, pinned, clock=clock, token=enrollment.token, tries=_TRIES)
    try:
        generation = _prepared(home, enrollment, pinned, wanted, with_token, clock)
        _open_channel(home, with_token, generation, pinned, now=clock())
        answer = _ask(home, with_token, generation)
        if answer is not None:
            _keep(home, generation, answer, now=clock())
    finally:
        with_token.close()
    finish(home)
    return home.generations.all()[-1]


def fetch_root(enrollment: Enrollment, *, clock: Callable[[], datetime]) -> x509.Certificate:
    """The root that the enrollment pins. Raises PinMismatch, ClockWrong and the errors of `ike.agent.channel`."""
    stranger = Service(enrollment.url, None, clock=clock, tries=_TRIES)
    roots, status = None, 200
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureRequestWarning)  # on purpose: see the module
            roots = stranger.get("/v1/trust", limit=_LARGEST_TRUST).get("roots")
    except ServerRefused as refused:
        if refused.later:
            raise
        status = refused.status
    finally:
        stranger.close()
    if not isinstance(roots, list):
        raise AnswerBroken(
            f"{enrollment.url} does not tell its roots (status {status}).",
            next_step="Check that the URL in the enrollment is that of ikewarden's API.",
        )
    for pem in roots:
        try:
            root = x509.load_pem_x509_certificate(str(pem).encode())
        except ValueError:
            continue
        found = hashlib.sha256(root.public_bytes(Encoding.DER)).hexdigest()
        if hmac.compare_digest(found, enrollment.pin) and is_authority(root):
            check_clock(stranger.skew, clock())
            return root
    raise PinMismatch(f"What answers at {enrollment.url} does not have the pinned root.")


def check_clock(skew: float | None, now: datetime) -> None:
    """Refuse to go on with a clock that is far off the service's. Raises ClockWrong."""
    if skew is not None and abs(skew) > TOLERATED.total_seconds():
        raise ClockWrong(clock_words(skew, now))


def clock_words(skew: float, now: datetime) -> str:
    """Say how far apart the clocks are."""
    apart = timedelta(seconds=abs(round(skew)))
    way = "behind" if skew > 0 else "ahead of"
    service = now + timedelta(seconds=skew)
    return (
        f"This gateway's clock ({now:%Y-%m-%d %H:%M:%S}Z) is {apart} {way} the service's "
        f"({service:%Y-%m-%d %H:%M:%S}Z)."
    )


def _refuse_second(home: Home, enrollment: Enrollment, *, force: bool) -> None:
    current = home.generations.current()
    finished = home.generations.identity()
    if (current or finished) and not force:
        pending = home.generations.pending()
        if current is None and pending is not None and _of_line(pending, enrollment):
            return  # a former run of this same line was cut off
        raise AlreadyEnrolled(f"This gateway is enrolled already, in {home.path}.")


def _of_line(generation: Generation, enrollment: Enrollment) -> bool:
    found = generation.request.get("enrollment")
    return isinstance(found, dict) and found.get("line") == _line_of(enrollment)


def _line_of(enrollment: Enrollment) -> str:
    """Tells one enrollment from another without telling its token, which is 256 random bits."""
    text = f"{enrollment.url} {enrollment.pin} {enrollment.name} ".encode()
    return hashlib.sha256(text + enrollment.token.reveal()).hexdigest()


def _prepared(
    home: Home,
    enrollment: Enrollment,
    root: x509.Certificate,
    wanted: AgentSettings,
    service: Service,
    clock: Callable[[], datetime],
) -> Generation:
    """The generation to ask for: the one that a former run of this line left, or a new one."""
    pending = home.generations.pending()
    if pending is not None:
        known = _of_line(pending, enrollment)
        if known and pending.certificate is not None:
            return pending
        if known and kind_of(pending.key) == wanted.key_type and _same_place(pending, wanted):
            return pending
        if pending.certificate is None:
            home.generations.discard(pending)
    scope = _scope(service, enrollment)
    names, profile, channel = _names(scope), _profile(scope), _channel(scope, wanted)
    check_clock(service.skew, clock())
    own = replace(wanted, url=enrollment.url, gateway=enrollment.name)
    request: dict[str, Any] = {
        "kind": "enroll",
        "key": secrets.token_urlsafe(24),
        "at": stamp(clock()),
        "enrollment": {
            "line": _line_of(enrollment),
            "url": enrollment.url,
            "gateway": enrollment.name,
            "profile": profile,
            "names": names,
            "channel": channel,
            "root": root.public_bytes(Encoding.PEM).decode(),
            "settings": render(own).decode(),
        },
    }
    token = wanted_token(wanted)
    key = make_key(wanted.key_type) if token is None else home.tokens.make(token, wanted.key_type)
    csr = request_by(home.tokens.using(key), names)
    return home.generations.make(key, csr, request)


def _same_place(pending: Generation, wanted: AgentSettings) -> bool:
    place = pending.key.uri.place if isinstance(pending.key, TokenKey) else None
    return place == wanted_token(wanted)


def _open_channel(
    home: Home, service: Service, generation: Generation, root: x509.Certificate, *, now: datetime
) -> None:
    """Get the certificate to speak by, before the gateway's own: with that the enrollment is whole."""
    about = generation.request["enrollment"]
    if about.get("channel") and generation.certificate is None:
        try:
            channel_key.obtain(home, service, about, root, now=now)
        except ServerRefused as refused:
            raise _said(refused) from None


def scope_of(service: Service, enrollment: Enrollment) -> tuple[list[str], str]:
    """The names and the profile that the token is for; it is not used up by the question.

    Raises EnrollmentSpent, EnrollmentForOther and the errors of `ike.agent.channel`.
    """
    scope = _scope(service, enrollment)
    return _names(scope), _profile(scope)


def _scope(service: Service, enrollment: Enrollment) -> Document:
    try:
        scope = service.get("/v1/whoami")
    except ServerRefused as refused:
        raise _said(refused) from None
    if scope.get("gateway") not in (None, enrollment.name):
        raise EnrollmentForOther(
            f"The token in this enrollment is for {scope.get('gateway')}, not for {enrollment.name}."
        )
    return scope


def _channel(scope: Document, wanted: AgentSettings) -> str | None:
    """The name of the channel that the enrollment is for too; None where it is for a key in a file."""
    names = (str(each) for each in scope.get("names") or ())
    channel = next((each for each in names if each.startswith(CHANNEL_NAMES)), None)
    if wanted_token(wanted) is None and channel is not None:
        raise EnrollmentForOther(
            "This enrollment is for a gateway whose key is in a token.",
            next_step="Give --key pkcs11:…, or ask for an enrollment without --in-token.",
        )
    if wanted_token(wanted) is not None and channel is None:
        raise EnrollmentForOther(
            "This enrollment is for a gateway whose key is in a file.",
            next_step="Ask for one that was made by `ikewarden gateway enrollment NAME --in-token`.",
        )
    return channel


def _names(scope: Document) -> list[str]:
    """The names that the token permits, without patterns, which are no names."""
    names = []
    for text in scope.get("names") or ():
        if str(text).startswith(CHANNEL_NAMES):
            continue
        try:
            names.append(str(GeneralName.parse(str(text))))
        except InvalidName:
            continue
    return names


def _profile(scope: Document) -> str:
    profiles = scope.get("profiles")
    return str(profiles[0]) if isinstance(profiles, list) and profiles else "gateway"


def _ask(home: Home, service: Service, generation: Generation) -> Document | None:
    """Send the request, or find that its answer is on disk already."""
    if generation.stage not in (Stage.MADE, Stage.REQUESTED):
        return None
    asked = home.generations.ask(generation, generation.request)
    about = asked.request["enrollment"]
    body = {"csr": asked.csr, "profile": about["profile"], "gateway": about["gateway"]}
    try:
        return service.post("/v1/certificates", body, key=asked.request["key"])
    except ServerRefused as refused:
        raise _said(refused) from None


def _said(refused: ServerRefused) -> Exception:
    """The refusal in the words of an enrollment."""
    if refused.problem in _SPENT:
        return EnrollmentSpent("The service does not take this enrollment's token (any more).")
    if refused.problem in _OTHER:
        return EnrollmentForOther(refused.message)
    return refused


def _keep(home: Home, generation: Generation, answer: Document, *, now: datetime) -> Generation:
    """Keep the certificate that came, if it is what was asked for."""
    about = generation.request["enrollment"]
    chain = answer.get("chain")
    credential = credential_of(
        generation.key,
        read_certificate(str(answer.get("certificate"))),
        [read_certificate(str(each)) for each in chain] if isinstance(chain, list) else [],
        read_certificate(about["root"]),
    )
    missing = set(about["names"]) - set(names_of(credential.certificate))
    if missing:
        raise CertificateUnusable(f"The certificate lacks the name {min(missing)}.")
    asked = replace(generation, stage=Stage.REQUESTED)
    return home.generations.issue(asked, credential, now=now)


def settled(home: Home) -> AgentSettings:
    """The settings of the home, after finishing an enrollment that was cut off. Raises NotEnrolled and its like."""
    finish(home)
    return home.settings()


def finish(home: Home) -> None:
    """Make the home the service's that its newest certificate is of, if that was cut off; may be repeated."""
    generation = home.generations.identity()
    about = generation.request.get("enrollment") if generation else None
    if generation is None or not isinstance(about, dict) or "settings" not in about:
        return
    root = read_certificate(about["root"])
    settings = parse(about["settings"].encode(), home.path / NAME)
    if _other_service(home, root, settings.url):
        home.forget_desired()
    home.write_root(root)
    home.write_settings(settings)
    channel_key.settle(home, about["line"] if about.get("channel") else None)
    # From here on the operator's changes to agent.toml count.
    rest = {name: value for name, value in about.items() if name not in ("root", "settings")}
    home.generations.note(generation, {**generation.request, "enrollment": rest})


def _other_service(home: Home, root: x509.Certificate, url: str) -> bool:
    try:
        return home.settings().url != url or home.root() != root
    except IkewardenError:
        return True  # whatever is wrong with the former ones, they are replaced
