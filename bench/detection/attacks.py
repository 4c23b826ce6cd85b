"""What strangers do, each at three strengths (0 is the weakest): guesses, floods, scans, from one source or many."""

from typing import Any

from bench.detection.fleet import Story, Tunnel


def guess(story: Story, tunnel: Tunnel, strength: int) -> None:
    """A stranger tries secrets for the identity of the tunnel."""
    pause, times = ((24.0, 40), (5.0, 60), (0.3, 400))[strength]
    for step in range(times):
        at = tunnel.at + 100 + step * pause * (0.95 + 0.1 * story.random.random())
        story.add(
            at, "auth_failed", source="192.0.2.66", ike_id=story.next(), identity=tunnel.identity
        )


def spray(story: Story, tunnel: Tunnel, strength: int) -> None:
    """One secret for many identities."""
    pause, times = ((60.0, 12), (10.0, 30), (0.5, 200))[strength]
    for step in range(times):
        at = tunnel.at + 100 + step * pause
        who = f"user{step}@example.com"
        story.add(at, "auth_failed", source="192.0.2.67", ike_id=story.next(), identity=who)


def spread(story: Story, tunnel: Tunnel, strength: int) -> None:
    """One attempt each from many hosts."""
    pause, times = ((25.0, 60), (5.0, 80), (0.5, 300))[strength]
    for step in range(times):
        at = tunnel.at + 100 + step * pause * (0.9 + 0.1 * story.random.random())
        source, who = f"203.0.{step % 250}.7", f"user{step}@example.com"
        story.add(at, "auth_failed", source=source, ike_id=story.next(), identity=who)


def beside(story: Story, tunnel: Tunnel, strength: int) -> None:
    """Who guesses has an account as well, and uses it between his guesses."""
    pause, rounds = ((100.0, 20), (30.0, 30), (5.0, 60))[strength]
    for step in range(4 * rounds):
        at = tunnel.at + 100 + step * pause / 4
        one: dict[str, Any] = {"source": "192.0.2.68", "ike_id": story.next(), "name": "users"}
        if step % 4 < 3:
            story.add(at, "auth_failed", **one, identity=f"user{step}@example.com")
        else:
            story.add(at, "ike_established", **one, identity="mallory@example.com")
            story.add(at + 0.8 * pause, "ike_deleted", **one)


def existing(story: Story, tunnel: Tunnel, strength: int) -> None:
    """Existing users are tried, from an address each that was never seen; some of them are up, and most have been."""
    pause, times = ((25.0, 60), (5.0, 80), (0.5, 300))[strength]
    for step in range(times):
        at = tunnel.at + 100 + step * pause * (0.9 + 0.1 * story.random.random())
        source, who = (
            f"100.{step}.0.9" if step < 256 else f"101.{step - 256}.0.9",
            f"worker{step % 30}",
        )
        story.add(at, "auth_failed", source=source, ike_id=story.next(), name="users", identity=who)


def other(story: Story, tunnel: Tunnel, strength: int) -> None:
    """Who has an account tries that of one other, and logs in between."""
    pause, times = ((24.0, 60), (5.0, 90), (0.4, 400))[strength]
    begin = tunnel.at + 100
    up: dict[str, Any] = {"source": "203.0.111.5", "name": "users", "ike_id": story.next()}
    story.add(begin, "ike_established", **up, identity="director")
    story.add(begin + 20_000, "ike_deleted", **up)
    for step in range(times):
        at = begin + 10 + step * pause
        one: dict[str, Any] = {"source": "192.0.2.69", "ike_id": story.next(), "name": "users"}
        if step % 12:
            story.add(at, "auth_failed", **one, identity="director")
        else:
            story.add(at, "ike_established", **one, identity="mallory@example.com")
            story.add(at + 0.8 * pause, "ike_deleted", **one)


def numberless(story: Story, tunnel: Tunnel, strength: int) -> None:
    """Faster than one in two seconds, on a device whose events have no number of an IKE SA."""
    pause, times = ((1.5, 100), (0.5, 200), (0.1, 400))[strength]
    for step in range(times):
        at, who = tunnel.at + 100 + step * pause, f"user{step}@example.com"
        story.add(at, "auth_failed", source="192.0.2.70", identity=who)


def flood(story: Story, tunnel: Tunnel, strength: int) -> None:
    """One source: five half-open SAs, then the limit of an address; they time out after half a minute."""
    _half_open(story, tunnel, (0.4, 5.0, 100.0)[strength], forged=False)


def forged(story: Story, tunnel: Tunnel, strength: int) -> None:
    """Forged addresses: a cookie for each beyond thirty."""
    _half_open(story, tunnel, (1.0, 10.0, 100.0)[strength], forged=True)


def _half_open(story: Story, tunnel: Tunnel, rate: float, *, forged: bool) -> None:
    draw = story.random
    begin, seconds = tunnel.at + 100, 240.0 if rate < 50 else 30.0
    for step in range(int(seconds * rate)):
        at = begin + step / rate
        source = f"203.0.{draw.randrange(256)}.{draw.randrange(256)}" if forged else "192.0.2.99"
        if step % int(30 * max(rate, 1.0)) < (30 if forged else 5):
            ike = story.next()
            story.add(at, "ike_respond", source=source, ike_id=ike)
            story.add(at + 30, "ike_timeout", source=source, ike_id=ike)
        elif forged:
            story.add(at, "cookie", source=source)
        else:
            story.add(at, "half_open_limit", source=source)


def hidden(story: Story, tunnel: Tunnel, strength: int) -> None:
    """Forged addresses, and beside them one account logs in as often as it can."""
    rate = (1.0, 5.0, 40.0)[strength]
    _half_open(story, tunnel, rate, forged=True)
    for step in range(int(240 * rate / 2)):
        at = tunnel.at + 100 + 2 * step / rate
        one: dict[str, Any] = {"source": "192.0.2.98", "name": "users", "ike_id": story.next()}
        story.add(at, "ike_established", **one, identity="mallory@example.com")


def counted_flood(story: Story, tunnel: Tunnel, strength: int) -> None:
    """Forged addresses, of which nothing tells but counters: cookies keep the half-open ones at thirty."""
    rate, seconds = ((0.5, 300.0), (3.0, 240.0), (50.0, 120.0))[strength]
    draw, standing = story.random, [0.0] * 30
    for step in range(int(seconds * rate)):
        at = tunnel.at + 100 + step / rate
        if at - standing[0] >= 30.0:
            standing = [*standing[1:], at]
            source = f"203.0.{draw.randrange(256)}.{draw.randrange(256)}"
            story.add(at, "ike_respond", source=source, ike_id=story.next())


def counted_scan(story: Story, tunnel: Tunnel, strength: int) -> None:
    """Requests that no configuration fits; all that is known is how many."""
    pause, times = ((20.0, 60), (5.0, 80), (0.5, 300))[strength]
    for step in range(times):
        at = tunnel.at + 100 + step * pause
        story.add(at, "unknown_peer", source="192.0.2.78", ike_id=story.next())


def stranger(story: Story, tunnel: Tunnel, strength: int) -> None:
    pause, times = ((120.0, 10), (20.0, 20), (0.5, 100))[strength]
    for step in range(times):
        at = tunnel.at + 100 + step * pause
        story.add(at, "unknown_peer", source="192.0.2.77", ike_id=story.next())


def scan(story: Story, tunnel: Tunnel, strength: int) -> None:
    seconds, sources = ((2400.0, 20), (600.0, 40), (60.0, 200))[strength]
    for step in range(sources):
        at = tunnel.at + 100 + seconds * step / sources
        story.add(at, "unknown_peer", source=f"203.0.113.{step + 1}", ike_id=story.next())


def offers(story: Story, tunnel: Tunnel, strength: int) -> None:
    """Forged senders, one unfit proposal each."""
    seconds, sources = ((2400.0, 20), (60.0, 100), (10.0, 2000))[strength]
    for step in range(sources):
        at, source = tunnel.at + 100 + seconds * step / sources, f"10.{step // 250}.{step % 250}.9"
        story.add(at, "proposal_mismatch", source=source, ike_id=story.next())


def named(story: Story, tunnel: Tunnel, strength: int) -> None:
    """The same, at a connection that is open to any address."""
    seconds, sources = ((2400.0, 40), (60.0, 100), (10.0, 2000))[strength]
    for step in range(sources):
        at, source = tunnel.at + 100 + seconds * step / sources, f"10.{step // 250}.{step % 250}.8"
        story.add(at, "proposal_mismatch", source=source, ike_id=story.next(), name="users")


_SLOWLY = ((1_200.0, 28), (600.0, 56), (310.0, 110))


def guess_slowly(story: Story, tunnel: Tunnel, strength: int) -> None:
    """A stranger tries secrets for the identity of the tunnel, for hours, which is up at home meanwhile."""
    pause, times = _SLOWLY[strength]
    for step in range(times):
        at, who = tunnel.at + 100 + step * pause, tunnel.identity
        one: dict[str, Any] = {"ike_id": story.next(), "name": tunnel.name, "identity": who}
        story.add(at, "auth_failed", source="192.0.2.71", **one)


def spray_slowly(story: Story, tunnel: Tunnel, strength: int) -> None:
    """One identity after another, for hours."""
    pause, times = _SLOWLY[strength]
    for step in range(times):
        at, who = tunnel.at + 100 + step * pause, f"user{step}@example.com"
        story.add(at, "auth_failed", source="192.0.2.72", ike_id=story.next(), identity=who)


def spray_beside(story: Story, tunnel: Tunnel, strength: int) -> None:
    """The same by somebody who has an account, and uses it meanwhile."""
    pause, times = ((600.0, 50), (450.0, 70), (310.0, 110))[strength]
    for step in range(times):
        at = tunnel.at + 100 + step * pause
        one: dict[str, Any] = {"source": "192.0.2.73", "ike_id": story.next(), "name": "users"}
        if step % 12 == 0:
            story.add(at, "ike_established", **one, identity="mallory@example.com")
            story.add(at + 10 * pause, "ike_deleted", **one)
        else:
            story.add(at, "auth_failed", **one, identity=f"user{step}@example.com")


def ask_slowly(story: Story, tunnel: Tunnel, strength: int) -> None:
    """A device with a wrong address asks for hours, as seldom as daemons try again."""
    pause, times = _SLOWLY[strength]
    for step in range(times):
        at = tunnel.at + 100 + step * pause
        story.add(at, "unknown_peer", source="192.0.2.74", ike_id=story.next())
