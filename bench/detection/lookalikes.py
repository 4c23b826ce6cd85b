"""What looks like an attack or a fault and is none. Rates are higher than in life, so that each is often seen."""

import random
from typing import Any

from bench.detection.fleet import DAY, Story, Tunnel
from ike.detection.bounds import Planned

#: Chances in an hour, which is about one rekey of a Child SA; the first two at each rekey.
_CROSSING, _REFUSED, _OUTAGE, _MOVED, _ROAMED = 0.05, 0.004, 0.003, 0.003, 0.002
_BYHAND, _REBOOT, _LOSS, _TYPO, _ROTATION, _CHANGED = 0.002, 0.002, 0.004, 0.003, 0.002, 0.0005
_RENEWAL, _CUT = 0.001, 0.0005
_HOUR = 3456.0
_MISTYPED = 0.15
_SHUT_OUT = 0.3
_OFFICE_MISTYPES, _WRONG_NAME = 0.3, 0.1


def rare(story: Story, tunnel: Tunnel, due: float) -> bool:
    """Perhaps something happens to `tunnel` before `due`; True if its timers begin anew."""
    draw = story.random
    at = tunnel.at + (due - tunnel.at) * (0.1 + 0.8 * draw.random())
    if draw.random() < _CROSSING:
        story.add(at, "retransmit", tunnel, seq=1)
    # By the time that passes: what happens to a link does not happen more often because its SAs are short-lived.
    share = min((due - tunnel.at) / _HOUR, 8.0)
    if draw.random() < _LOSS * share:
        for seq, wait in enumerate((4.0, 11.2), 1):
            story.add(at + wait, "retransmit", tunnel, seq=seq)
    if draw.random() < _REFUSED:
        story.add(due - 0.5, "child_rekey_failed", tunnel, child_id=tunnel.child, child="net")
    for chance, happen in _HAPPENINGS:
        if draw.random() < chance * share and at > tunnel.at + 5:
            happen(story, tunnel, at)
            return True
    return False


def _outage(story: Story, tunnel: Tunnel, at: float) -> None:
    """The last of these is long enough to be told as what it is, and must be nothing else."""
    story.outage(tunnel, at, story.random.choice((30.0, 600.0, 5000.0)))


def _moved(story: Story, tunnel: Tunnel, at: float) -> None:
    """MOBIKE: another address, and a rekey at once."""
    tunnel.peer = f"203.0.113.{story.random.randrange(1, 255)}"
    story.add(at, "address_changed", tunnel)
    story.rekey(tunnel, at + 0.3)


def _roamed(story: Story, tunnel: Tunnel, at: float) -> None:
    """A new address, a new authentication; the old SA is thrown out."""
    home = tunnel.peer
    for when in (at, at + 100 + 0.6 * tunnel.rekey * story.random.random()):
        old = tunnel.ike
        fields = {"ike_id": old} if tunnel.numbered else {}
        story.add(when, "duplicate_replaced", tunnel, identity=tunnel.identity, **fields)
        away = f"203.0.113.{story.random.randrange(1, 255)}"
        tunnel.peer = away if tunnel.peer == home else home
        tunnel.at = when
        story.establish(tunnel)


def _by_hand(story: Story, tunnel: Tunnel, at: float) -> None:
    """An operator rekeys, once or twice."""
    for step in range(story.random.choice((1, 2))):
        story.rekey(tunnel, at + 20 * step)


def _reboot(story: Story, tunnel: Tunnel, at: float) -> None:
    """The peer's daemon begins anew: INITIAL_CONTACT."""
    fields = {"ike_id": tunnel.ike} if tunnel.numbered else {}
    story.add(at, "duplicate_replaced", tunnel, identity=tunnel.identity, **fields)
    tunnel.at = at
    story.establish(tunnel)


def _typo(story: Story, tunnel: Tunnel, at: float) -> None:
    """Somebody changes the secret on one end, then on the other: one or two attempts fail.

    Not while we rotate it: then it is right to say so.
    """
    if any(
        one.purpose == "rotation" and one.covers(at, story.host, tunnel.name)
        for one in story.planned
    ):
        return _reboot(story, tunnel, at)
    for step in range(story.random.choice((1, 2))):
        when = at + 30 * step
        ike = story.next()
        story.add(when, "auth_failed", tunnel, ike_id=ike, identity=tunnel.identity, reason="psk")
        story.add(when + 0.01, "auth_failed", tunnel, ike_id=ike)
    _reboot(story, tunnel, at + 90)


def _rotation(story: Story, tunnel: Tunnel, at: float) -> None:
    """Our own: proven by two fresh authentications within a minute."""
    story.planned.append(Planned(at - 1, at + 120, tunnel.name, story.host))
    for step in range(3):
        old, child, pair = tunnel.ike, tunnel.child, tunnel.pair
        when = at + 4 * step
        story.add(when, "ike_reauth", tunnel)
        tunnel.at = when + 0.02
        story.establish(tunnel)
        story.close(tunnel, when + 0.4, child, pair, 100)
        story.add(when + 0.5, "ike_deleted", tunnel, **({"ike_id": old} if tunnel.numbered else {}))


def _renewed(story: Story, tunnel: Tunnel, at: float) -> None:
    """Our renewal of a certificate: rejected once by a peer that has not heard of the issuer yet, then used."""
    story.planned.append(Planned(at - 1, at + 600, tunnel.name, story.host, "renewal"))
    for step in range(story.random.choice((0, 1, 2))):
        ike = story.next()
        story.add(at + 20 * step, "cert_invalid", tunnel, ike_id=ike, reason="issuer")
        story.add(at + 20 * step + 0.01, "auth_failed", tunnel, ike_id=ike)
    _reboot(story, tunnel, at + 60)


def _cut(story: Story, tunnel: Tunnel, at: float) -> None:
    """We revoked the peer's certificate and cut its SA; it tries again until it has a new one."""
    story.planned.append(Planned(at - 1, at + 1200, tunnel.name, story.host, "cut"))
    story.add(at, "ike_deleted", tunnel, **({"ike_id": tunnel.ike} if tunnel.numbered else {}))
    for step in range(story.random.choice((1, 4, 15))):
        when, ike = at + 10 + 30 * step, story.next()
        story.add(when, "cert_revoked", tunnel, ike_id=ike, reason="revoked")
        story.add(when + 0.01, "auth_failed", tunnel, ike_id=ike, identity=tunnel.identity)
    tunnel.at = at + 600
    story.establish(tunnel)


def _changed(story: Story, tunnel: Tunnel, at: float) -> None:
    """The connection is loaded anew with another lifetime, where nobody told us the old one."""
    if tunnel.known or tunnel.rekey < 600.0 or tunnel.bytes_ is not None:
        return
    story.add(at, "configured", tunnel)
    tunnel.rekey, tunnel.rand = tunnel.rekey / 3, tunnel.rand / 3
    story.rekey(tunnel, at + 1)


_HAPPENINGS = (
    (_OUTAGE, _outage),
    (_MOVED, _moved),
    (_ROAMED, _roamed),
    (_BYHAND, _by_hand),
    (_REBOOT, _reboot),
    (_TYPO, _typo),
    (_ROTATION, _rotation),
    (_CHANGED, _changed),
    (_RENEWAL, _renewed),
    (_CUT, _cut),
)


def around(story: Story) -> None:
    """What happens to the gateway: probes from the Internet, clients behind a NAT, a failing OCSP request."""
    draw = story.random
    for at in story.weather.restarts:
        if at in story.weather.planned_restarts:
            story.add(at, "daemon_stopped")
        story.add(at + 1, "daemon_started")
    for _ in range(int(story.days * 4)):
        at = story.start + draw.random() * story.days * DAY
        source = f"192.0.2.{draw.randrange(1, 255)}"
        kind = draw.choice(("unknown_peer", "proposal_mismatch", "ike_timeout"))
        story.add(at, kind, source=source, ike_id=story.next())
    for _ in range(int(story.days * 0.5) + 1):
        at = story.start + draw.random() * story.days * DAY
        _return_behind_nat(story, at)
    at = story.start + draw.random() * story.days * DAY
    tunnel = draw.choice(story.tunnels)
    story.add(at, "crl_fetch_failed", tunnel, reason="ocsp", ike_id=story.next())
    for day in range(int(story.days)):
        _morning(story, story.start + (day + 0.2 * draw.random()) * DAY)
    daily = random.Random(story.seed + 8)
    for day in range(int(story.days)):
        begin = story.start + day * DAY
        _roaming(story, daily, begin)
        _office(story, daily, begin)
        _again(story, daily, begin)
    own = random.Random(story.seed + 7)
    for day in range(1, int(story.days)):
        if own.random() < _SHUT_OUT:
            _shut_out(story, own, story.start + (day + 0.7 + 0.2 * own.random()) * DAY)


def _roaming(story: Story, draw: random.Random, begin: float) -> None:
    """A laptop comes up some times a day, from wherever it is; often its user mistypes first, and at times gives up."""
    at = begin + 3_600 * draw.random()
    while at < begin + DAY - 4 * 3_600:
        source = f"198.19.{draw.randrange(256)}.{draw.randrange(256)}"
        one: dict[str, Any] = {"source": source, "name": "laptops", "identity": "traveller"}
        for _ in range(draw.choice((0, 0, 1, 2))):
            story.add(at, "auth_failed", **one, ike_id=story.next(), reason="eap")
            at += 320 + 300 * draw.random()
        ike = story.next()
        if draw.random() < 0.9:
            story.add(at, "ike_established", **one, ike_id=ike)
            story.add(at + 3_000, "ike_deleted", **one, ike_id=ike)
        at += 3_600 + 10_000 * draw.random()


def _office(story: Story, draw: random.Random, begin: float) -> None:
    """Many users behind one address come and go all day; some mistype their passwords, and some their names."""
    for step in range(120):
        at, who = begin + 600 * step + 300 * draw.random(), f"clerk{step}"
        one: dict[str, Any] = {"source": "203.0.114.9", "name": "laptops"}
        if draw.random() < _OFFICE_MISTYPES:
            wrong = f"{who}x{step}" if draw.random() < _WRONG_NAME else who
            story.add(at, "auth_failed", **one, ike_id=story.next(), identity=wrong, reason="eap")
        ike = story.next()
        story.add(at + 40, "ike_established", **one, ike_id=ike, identity=who)
        story.add(at + 9_000, "ike_deleted", **one, ike_id=ike)


def _again(story: Story, draw: random.Random, begin: float) -> None:
    """Scanners of the Internet come by a few times a day, each from its own address."""
    for number in range(4):
        kind, times = ("unknown_peer", "proposal_mismatch")[number % 2], draw.choice((1, 3, 8))
        for step in range(times):
            at = begin + DAY * (step + draw.random()) / times
            story.add(at, kind, source=f"198.18.7.{number}", ike_id=story.next())


def _morning(story: Story, at: float) -> None:
    """Users come to work; their negotiations stand half-open while they look for their passwords."""
    draw = story.random
    for step in range(30):
        when, ike = at + 300 * draw.random(), story.next()
        one: dict[str, Any] = {"source": f"203.0.112.{step}", "name": "users", "ike_id": ike}
        story.add(when, "ike_respond", **one)
        story.add(when + 25 * draw.random(), "ike_established", **one, identity=f"worker{step}")
        story.add(when + 28000 + 7200 * draw.random(), "ike_deleted", **one)


def _shut_out(story: Story, draw: random.Random, at: float) -> None:
    """The AAA server is out of reach, or a secret was changed: all users fail, at home and where they never were.

    It is told as what it is, and nobody guesses.
    """
    lasts = draw.choice((180.0, 600.0, 2400.0))
    roaming = draw.choice((0.0, 0.2, 0.5))
    for step in range(30):
        source = f"203.0.112.{step}"
        if draw.random() < roaming:
            source = f"198.18.{draw.randrange(256)}.{draw.randrange(256)}"
        who: dict[str, Any] = {"source": source, "name": "users", "identity": f"worker{step}"}
        when, pause = at + 60 * draw.random(), draw.choice((10.0, 30.0, 120.0))
        while when < at + lasts:
            story.add(when, "auth_failed", **who, ike_id=story.next(), reason="eap")
            when += pause * (0.9 + 0.2 * draw.random())
        ike = story.next()
        story.add(when, "ike_established", **who, ike_id=ike)
        story.add(when + 3600, "ike_deleted", **who, ike_id=ike)
    story.truths.append(("auth_failures", "users", at, at + lasts + 300))


def _return_behind_nat(story: Story, at: float) -> None:
    """After a power cut many clients behind one address come back at once, and meet the limit of half-open SAs.

    Some of their users mistype their passwords first.
    """
    draw = story.random
    for _ in range(draw.choice((8, 20, 40))):
        when = at + 30 * draw.random()
        ike = story.next()
        one: dict[str, Any] = {"source": "192.0.2.200", "name": "clients", "ike_id": ike}
        if random.Random(ike).random() < _MISTYPED:
            wrong = {**one, "ike_id": story.next(), "identity": f"user{ike}@example.com"}
            story.add(when, "auth_failed", **wrong)
            when += 10
        for _ in range(draw.choice((0, 0, 1, 2))):
            story.add(when - 4 * draw.random(), "half_open_limit", source="192.0.2.200")
        story.add(when, "ike_respond", **one)
        story.add(when + 0.2, "ike_established", **one, identity=f"user{ike}@example.com")
        story.add(
            when + 0.3, "child_established", **one, child="clients", child_id=story.next(),
            spi_in=story.spi(), spi_out=story.spi(),
        )  # fmt: skip
        away = when + 600 + 7200 * draw.random()
        story.add(away, "ike_deleted", **one)
