"""The key by which an agent speaks to the service where the gateway's own is in a token.

TLS here takes keys from files only. So such a home has a second line of generations, `channel/`, whose certificates are
of the profile `gateway-channel`: no IKE peer knows the gateway by one, and the service renews the gateway's own
certificate through it only with a signature of the gateway's present key.
"""

import secrets
from datetime import datetime
from typing import Any

from cryptography import x509

from ike.agent.channel import Service
from ike.agent.generations import Generation, Generations, Stage
from ike.agent.home import Home, stamp
from ike.agent.keys import credential_of, make_key, make_request, names_of, read_certificate

PROFILE = "gateway-channel"
_STEPS = (Stage.ISSUED, Stage.STAGED, Stage.APPLIED, Stage.PROVEN, Stage.CURRENT)


def obtain(
    home: Home,
    service: Service,
    about: dict[str, Any],
    root: x509.Certificate,
    *,
    now: datetime,
) -> None:
    """Get the first certificate of an enrollment's channel: `about` has line, gateway and channel (its name).

    Run again, it takes up where it was. Raises what `ike.agent.channel` has, CertificateUnusable.
    """
    asked = _of_line(home.channel, about["line"])
    if asked is None:
        _forget_unfinished(home.channel)
        key = make_key("ec-p256")
        request = {
            "key": secrets.token_urlsafe(24),
            "line": about["line"],
            "at": stamp(now),
        }
        asked = home.channel.make(key, make_request(key, [about["channel"]]), request)
    if asked.certificate is not None:
        return
    asked = home.channel.ask(asked, asked.request)
    body = {"csr": asked.csr, "profile": PROFILE, "gateway": about["gateway"]}
    answer = service.post("/v1/certificates", body, key=asked.request["key"])
    _keep(home.channel, asked, answer, root, now)


def settle(home: Home, line: str | None) -> None:
    """Speak by the channel of an enrollment from now on, or by none."""
    chosen = _of_line(home.channel, line) if line is not None else None
    if chosen is not None:
        _use(home.channel, chosen)
    for each in home.channel.all():
        if chosen is None or each.number != chosen.number:
            _drop(home.channel, each)


def renew(home: Home, service: Service, *, now: datetime) -> Generation:
    """Get the channel's next certificate, or go on with that; from then on the home speaks by it.

    Raises what `ike.agent.channel` has, CertificateUnusable; the one in use stays.
    """
    channel = home.channel
    current, pending = channel.current(), channel.pending()
    if pending is None:
        if current is None:
            raise ValueError("there is no channel to renew")
        key = make_key("ec-p256")
        request = {"key": secrets.token_urlsafe(24), "serial": current.serial, "at": stamp(now)}
        pending = channel.make(key, make_request(key, names_of(current.certified)), request)
    if pending.certificate is None:
        asked = channel.ask(pending, pending.request)
        path = f"/v1/certificates/{asked.request['serial']}/renew"
        answer = service.post(path, {"csr": asked.csr}, key=asked.request["key"])
        pending = _keep(channel, asked, answer, home.root(), now)
    return _use(channel, pending)


def retire(home: Home) -> None:
    """Forget former keys; the service was spoken to with the newest."""
    for each in home.channel.replaced():
        home.channel.retire(each)


def _keep(
    channel: Generations,
    asked: Generation,
    answer: dict[str, Any],
    root: x509.Certificate,
    now: datetime,
) -> Generation:
    chain = answer.get("chain")
    credential = credential_of(
        asked.key,
        read_certificate(str(answer.get("certificate"))),
        [read_certificate(str(each)) for each in chain] if isinstance(chain, list) else [],
        root,
    )
    return channel.issue(asked, credential, now=now)


def _use(channel: Generations, made: Generation) -> Generation:
    """There is no daemon that could refuse it: all steps at once."""
    while made.stage is not Stage.CURRENT:
        made = channel.move(made, _STEPS[_STEPS.index(made.stage) + 1])
    return made


def _of_line(channel: Generations, line: str) -> Generation | None:
    found = (each for each in reversed(channel.all()) if each.request.get("line") == line)
    return next(found, None)


def _forget_unfinished(channel: Generations) -> None:
    for each in channel.all():
        if each.stage is not Stage.CURRENT:
            channel.discard(each)


def _drop(channel: Generations, each: Generation) -> None:
    if each.stage is Stage.CURRENT:
        channel.retire(each)
    else:
        channel.discard(each)
