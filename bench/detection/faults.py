"""Attacks and faults, each at three strengths (0 is the weakest), and which alert each must raise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.detection import attacks
from bench.detection.fleet import STRONG, Story, Tunnel
from ike.detection.bounds import Planned


@dataclass(frozen=True)
class Fault:
    """`happen` begins at tunnel.at and leaves the tunnel where its life goes on; `beside` may be alerted as well."""

    name: str
    kind: str
    happen: Callable[[Story, Tunnel, int], None]
    beside: frozenset[str] = frozenset()
    #: What the tunnel must be like.
    needs: str = ""


def _ike(tunnel: Tunnel, ike: int) -> dict[str, Any]:
    return {"ike_id": ike} if tunnel.numbered else {}


def _fast(story: Story, tunnel: Tunnel, strength: int) -> None:
    share = (0.6, 0.3, 0.03)[strength]
    for _ in range((6, 10, 30)[strength]):
        low = (tunnel.rekey - tunnel.rand) * share
        story.rekey(tunnel, tunnel.installed + low * (0.7 + 0.3 * story.random.random()))


def _storm(story: Story, tunnel: Tunnel, strength: int) -> None:
    pause = (5.0, 2.0, 0.7)[strength]
    for _ in range((10, 30, 100)[strength]):
        story.rekey(tunnel, tunnel.installed + pause * (0.8 + 0.4 * story.random.random()))


def _silent(story: Story, tunnel: Tunnel, strength: int) -> None:
    """No rekey comes; the tunnel stays as it is for as long as two lives."""
    tunnel.at = tunnel.installed = tunnel.installed + tunnel.rekey * (2.2, 3.0, 4.0)[strength]
    story.rekey(tunnel, tunnel.installed)


def _refused(story: Story, tunnel: Tunnel, strength: int) -> None:
    at = tunnel.installed + tunnel.rekey * 0.95
    for _ in range((4, 8, 15)[strength]):
        fields = {"child_id": tunnel.child} if tunnel.numbered else {}
        story.add(at, "proposal_mismatch", tunnel)
        story.add(at + 0.01, "child_rekey_failed", tunnel, child="net", **fields)
        at += 10 + 20 * story.random.random()
    story.close(tunnel, at, tunnel.child, tunnel.pair, 500)
    tunnel.at = at + 5
    story.install(tunnel, at + 5)


def _flap(story: Story, tunnel: Tunnel, strength: int) -> None:
    life, pause, times = ((8.0, 60.0, 6), (4.0, 10.0, 10), (1.0, 0.3, 40))[strength]
    at = tunnel.at + 100
    story.add(at, "ike_deleted", tunnel)
    for _ in range(times):
        at += pause * (0.7 + 0.6 * story.random.random())
        tunnel.at = at
        story.establish(tunnel)
        at += life * (0.6 + 0.6 * story.random.random()) + 0.2
        story.add(at, "ike_deleted", tunnel)
    tunnel.at = at + 30
    story.establish(tunnel)


def _duplicates(story: Story, tunnel: Tunnel, strength: int) -> None:
    """Deletions get lost."""
    for _ in range((3, 5, 8)[strength]):
        story.rekey(tunnel, story.due(tunnel), lose_closing=True)


def _collisions(story: Story, tunnel: Tunnel, strength: int) -> None:
    share = (0.5, 0.8, 1.0)[strength]
    for _ in range((24, 14, 10)[strength]):
        if story.random.random() < share:
            story.collide(tunnel, tunnel.installed + tunnel.rekey)
        else:
            story.rekey(tunnel, tunnel.installed + tunnel.rekey)


def _auth(story: Story, tunnel: Tunnel, strength: int) -> None:
    pause, times = ((170.0, 8), (60.0, 8), (10.0, 15))[strength]
    at = tunnel.at + 50
    story.add(at, "ike_deleted", tunnel)
    for _ in range(times):
        at += pause * (0.9 + 0.2 * story.random.random())
        tunnel.ike = story.next()
        story.add(at, "ike_initiate", tunnel)
        story.add(at + 0.1, "auth_failed", tunnel, identity=tunnel.identity, reason="psk")
        story.add(at + 0.11, "auth_failed", tunnel)
    tunnel.at = at + 100
    story.establish(tunnel)


def _weak(story: Story, tunnel: Tunnel, strength: int) -> None:
    text = (
        "IKE:AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024",
        "IKE:3DES_CBC/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_2048",
        "IKE:DES_CBC/HMAC_MD5_96/PRF_HMAC_MD5/MODP_768",
    )[strength]
    _negotiated(story, tunnel, text)


def _downgraded(story: Story, tunnel: Tunnel, strength: int) -> None:
    text = (
        "IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/MODP_2048",
        "IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_1024",
        "IKE:3DES_CBC/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024",
    )[strength]
    _negotiated(story, tunnel, text)


def _negotiated(story: Story, tunnel: Tunnel, text: str) -> None:
    at = tunnel.at + 100
    story.add(at, "ike_deleted", tunnel)
    tunnel.ike = story.next()
    story.add(at + 30, "ike_respond", tunnel)
    story.add(at + 30.02, "algorithms", tunnel, algorithms=text)
    story.add(at + 30.1, "ike_established", tunnel, identity=tunnel.identity)
    tunnel.ike_due = at + tunnel.ike_rekey
    story.install(tunnel, at + 30.2)


def _mismatch(story: Story, tunnel: Tunnel, strength: int) -> None:
    _refusals(story, tunnel, strength, "proposal_mismatch")


def _networks(story: Story, tunnel: Tunnel, strength: int) -> None:
    _refusals(story, tunnel, strength, "ts_unacceptable")


def _groups(story: Story, tunnel: Tunnel, strength: int) -> None:
    _refusals(story, tunnel, strength, "invalid_ke")


def _refusals(story: Story, tunnel: Tunnel, strength: int, kind: str) -> None:
    pause, times = ((170.0, 8), (60.0, 8), (10.0, 9))[strength]
    at = tunnel.at + 50
    story.add(at, "ike_deleted", tunnel)
    for _ in range(times):
        at += pause * (0.9 + 0.2 * story.random.random())
        tunnel.ike = story.next()
        story.add(at, "ike_initiate", tunnel)
        story.add(at + 0.1, kind, tunnel)
    tunnel.at = at + 100
    story.establish(tunnel)


def _lost(story: Story, tunnel: Tunnel, strength: int) -> None:
    """The link goes down and up."""
    down, up, times = ((300.0, 500.0, 6), (170.0, 120.0, 8), (30.0, 40.0, 12))[strength]
    for _ in range(times):
        story.outage(tunnel, tunnel.at + up * (0.8 + 0.4 * story.random.random()), down)


def _away(story: Story, tunnel: Tunnel, strength: int) -> None:
    """The peer does not come back for long; the daemon goes on trying."""
    tunnel.ike = (
        tunnel.ike if strength else story.next()
    )  # the line that told that it came up was lost
    story.outage(tunnel, tunnel.at + 300, (1_500.0, 6_000.0, 25_000.0)[strength])


def _rests(story: Story, tunnel: Tunnel, strength: int) -> None:
    """The peer does not come back, and the daemon tries a few times only."""
    at = tunnel.at + 300
    for _ in range(1 + (1, 2, 4)[strength]):
        tunnel.at = at
        story.add(at + 165, "giving_up", tunnel)
        tunnel.ike = story.next()
        story.add(at + 165.1, "ike_initiate", tunnel)
        at += 165.1
    tunnel.at = at + (9_000.0, 15_000.0, 25_000.0)[strength]
    story.truths.append(("peer_unreachable", tunnel.name, at, tunnel.at))
    story.establish(tunnel)


def _lossy(story: Story, tunnel: Tunnel, strength: int) -> None:
    share, seconds = ((0.15, 3600), (0.3, 1800), (0.5, 1200))[strength]
    at, due = tunnel.at, story.due(tunnel)
    for _ in range(int(seconds / 20)):
        if at > due:
            story.rekey(tunnel, at)
            due = story.due(tunnel)
        at += 20 * (0.9 + 0.2 * story.random.random())
        wait = 4.0
        for seq in range(1, 4):
            if story.random.random() > 2 * share * (1 - share) + share * share:
                break
            story.add(at + wait, "retransmit", tunnel, seq=seq)
            wait += 4.0 * 1.8**seq
    tunnel.at = at + 60


def _certificate(story: Story, tunnel: Tunnel, strength: int) -> None:
    kind, reason, pause = (
        ("cert_invalid", "expired", 900.0),
        ("cert_invalid", "issuer", 60.0),
        ("cert_revoked", "revoked", 170.0),
    )[strength]
    at = tunnel.at + 50
    story.add(at, "ike_deleted", tunnel)
    for _ in range(4):
        at += pause
        tunnel.ike = story.next()
        story.add(at, "ike_respond", tunnel)
        story.add(at + 0.1, kind, tunnel, reason=reason)
        story.add(at + 0.11, "auth_failed", tunnel, identity=tunnel.identity)
    tunnel.at = at + 100
    story.establish(tunnel)


def _unchecked(story: Story, tunnel: Tunnel, strength: int) -> None:
    for _ in range((1, 2, 5)[strength]):
        at = tunnel.at + 600
        story.add(at, "ike_deleted", tunnel)
        ike = tunnel.ike = story.next()
        story.add(at + 1, "crl_fetch_failed", tunnel, reason="crl", **_ike(tunnel, ike))
        tunnel.at = at + 3
        story.add(at + 3, "ike_established", tunnel, identity=tunnel.identity)
        story.install(tunnel, at + 3.1)
    tunnel.ike_due = tunnel.at + tunnel.ike_rekey


def _conflict(story: Story, tunnel: Tunnel, strength: int) -> None:
    pause, times = ((290.0, 8), (60.0, 10), (11.0, 20))[strength]
    home, at = tunnel.peer, tunnel.at + 100
    for step in range(times):
        at += pause * (0.9 + 0.2 * story.random.random())
        story.add(
            at, "duplicate_replaced", tunnel, identity=tunnel.identity, **_ike(tunnel, tunnel.ike)
        )
        tunnel.peer = home if step % 2 else "203.0.113.250"
        tunnel.at = at
        story.establish(tunnel)


def _shared(story: Story, tunnel: Tunnel, strength: int) -> None:
    other = story.tunnels[1]
    at = tunnel.installed + 60
    for _ in range(strength + 1):
        fields: dict[str, Any] = {
            "name": other.name, "source": other.peer, "child": "other", "child_id": story.next(),
            "spi_in": tunnel.pair[0], "spi_out": tunnel.pair[1],
        }  # fmt: skip
        story.add(at, "child_established", **fields)
        story.add(at + 5, "child_closed", **fields)
        at += 10
    tunnel.at = at


def _rotation(story: Story, tunnel: Tunnel, strength: int) -> None:
    """Our own rotation, and one end does not have the new secret."""
    at = tunnel.at + 100
    story.planned.append(Planned(at - 5, at + 400, tunnel.name, story.host))
    for _ in range((1, 3, 8)[strength]):
        at += 25
        ike = story.next()
        story.add(at, "auth_failed", tunnel, ike_id=ike, identity=tunnel.identity, reason="psk")
        story.add(at + 0.01, "auth_failed", tunnel, ike_id=ike)
    story.add(at + 100, "ike_deleted", tunnel)
    tunnel.at = at + 130
    story.establish(tunnel)


def _rotation_beside(story: Story, tunnel: Tunnel, strength: int) -> None:
    """And another peer of the connection comes up meanwhile."""
    for step in range(12):
        one: dict[str, Any] = {"source": "192.0.2.97", "name": tunnel.name, "ike_id": story.next()}
        at = tunnel.at + 103 + 30 * step
        story.add(at, "ike_established", **one, identity="mallory@example.com")
        story.add(at + 20, "ike_deleted", **one)
    _rotation(story, tunnel, strength)


def _clock(story: Story, tunnel: Tunnel, strength: int) -> None:
    """The daemon says so."""
    story.add(tunnel.at + 50, "clock")
    tunnel.at += 60


def _dates(story: Story, tunnel: Tunnel, strength: int) -> None:
    """The clock is wrong, so the certificates of all peers are out of date."""
    at = tunnel.at + 50
    for one in story.tunnels[: 3 + strength]:
        at += 20
        story.add(
            at, "cert_invalid", one, ike_id=story.next(), reason=("expired", "not_yet_valid")[strength % 2]
        )  # fmt: skip
    tunnel.at = at + 10


def _put_back(story: Story, tunnel: Tunnel, strength: int) -> None:
    """The clock is put back while the log goes on; by more than lines are apart, else the log does not show it."""
    story.weather.steps.append((tunnel.at + 50, (-3600.0, -14_400.0, -86_400.0)[strength]))
    tunnel.at += 60


def _ike_stays(story: Story, tunnel: Tunnel, strength: int) -> None:
    """The IKE SA is not rekeyed, while its Child SAs are."""
    tunnel.ike_due = tunnel.at + tunnel.ike_rekey * (3.0, 4.0, 5.0)[strength]
    while (due := story.due(tunnel)) < tunnel.ike_due:
        story.rekey(tunnel, due)


def _side_by_side(story: Story, tunnel: Tunnel, strength: int) -> None:
    """Both ends start, again and again, and nobody ends what is there."""
    at, first = tunnel.at + 100, (tunnel.ike, tunnel.child, tunnel.pair)
    for _ in range((2, 3, 5)[strength]):
        tunnel.at = at
        story.establish(tunnel)
        story.add(tunnel.at + 900, "ike_deleted", tunnel, ike_id=tunnel.ike)
        at += 40
    at, (tunnel.ike, tunnel.child, tunnel.pair) = tunnel.installed + 1, first
    tunnel.at = tunnel.installed = at
    story.rekey(tunnel, at)


def _dead(story: Story, tunnel: Tunnel, strength: int) -> None:
    """IKEv1: dead peer detection says so."""
    up, times = ((900.0, 4), (300.0, 6), (60.0, 10))[strength]
    for _ in range(times):
        at = tunnel.at + up * (0.8 + 0.3 * story.random.random())
        story.add(at, "dpd_timeout", tunnel)
        tunnel.at = at + 5 + 20 * story.random.random()
        story.establish(tunnel)


def _weak_child(story: Story, tunnel: Tunnel, strength: int) -> None:
    text = ("ESP:AES_CBC_128/HMAC_MD5_96", "ESP:3DES_CBC/HMAC_SHA1_96", "ESP:NULL/HMAC_SHA1_96")
    story.add(tunnel.at + 60, "algorithms", tunnel, algorithms=text[strength])
    story.rekey(tunnel, tunnel.at + 60.1)


def _quantum(story: Story, tunnel: Tunnel, strength: int) -> None:
    """The post-quantum key exchange that was there before is gone."""
    layers = ("KE1_ML_KEM_512", "KE1_ML_KEM_768", "KE1_ML_KEM_1024")
    story.add(tunnel.at + 50, "configured", tunnel)
    _negotiated(story, tunnel, f"{STRONG}/{layers[strength]}")
    tunnel.at += 300
    _negotiated(story, tunnel, STRONG)


def _slow_auth(story: Story, tunnel: Tunnel, strength: int) -> None:
    _slowly(story, tunnel, strength, "auth_failed", identity=tunnel.identity, reason="psk")


def _slow_mismatch(story: Story, tunnel: Tunnel, strength: int) -> None:
    _slowly(story, tunnel, strength, "proposal_mismatch")


def _slow_networks(story: Story, tunnel: Tunnel, strength: int) -> None:
    _slowly(story, tunnel, strength, "ts_unacceptable")


def _slowly(story: Story, tunnel: Tunnel, strength: int, kind: str, **fields: Any) -> None:
    """Refused for hours, too seldom to be seen in ten minutes."""
    pause, times = ((1_800.0, 18), (900.0, 30), (310.0, 60))[strength]
    at = tunnel.at + 50
    story.add(at, "ike_deleted", tunnel)
    for _ in range(times):
        at += pause * (0.98 + 0.1 * story.random.random())
        tunnel.ike = story.next()
        story.add(at, "ike_initiate", tunnel)
        story.add(at + 0.1, kind, tunnel, **fields)
    tunnel.at = at + 100
    story.establish(tunnel)


def _slow_certificate(story: Story, tunnel: Tunnel, strength: int) -> None:
    """Rejected less often than twice within an hour."""
    pause, times = ((7_000.0, 5), (5_400.0, 6), (3_700.0, 9))[strength]
    at = tunnel.at + 50
    story.add(at, "ike_deleted", tunnel)
    for _ in range(times):
        at += pause
        tunnel.ike = story.next()
        story.add(at, "ike_respond", tunnel)
        story.add(at + 0.1, "cert_invalid", tunnel, reason="issuer")
        story.add(at + 0.11, "auth_failed", tunnel, identity=tunnel.identity)
    tunnel.at = at + 100
    story.establish(tunnel)


_MATCH = frozenset({"proposal_mismatch"})
FAULTS = (
    Fault("rekeys below the bound", "rekey_too_fast", _fast),
    Fault("rekey storm", "rekey_too_fast", _storm, frozenset({"duplicate_sas"})),
    Fault("no rekey", "rekey_missed", _silent),
    Fault("IKE SA never rekeyed", "rekey_missed", _ike_stays, needs="known short"),
    Fault("rekey refused", "rekey_missed", _refused, _MATCH),
    Fault("establish/delete loop", "sa_flapping", _flap, frozenset({"rekey_too_fast"})),
    Fault("deletions lost", "duplicate_sas", _duplicates, needs="numbered"),
    Fault("IKE SAs side by side", "duplicate_sas", _side_by_side, needs="numbered"),
    Fault("collision at each rekey", "rekey_collisions", _collisions, needs="numbered short"),
    Fault("one identity fails", "auth_failures", _auth),
    Fault("one identity fails, slowly", "auth_failures", _slow_auth),
    Fault("secrets guessed slowly", "auth_failures", attacks.guess_slowly),
    Fault("identities tried slowly", "auth_guessing", attacks.spray_slowly),
    Fault("identities tried slowly, by a user", "auth_guessing", attacks.spray_beside),
    Fault("secrets guessed", "auth_guessing", attacks.guess, frozenset({"auth_failures"})),
    Fault("identities sprayed", "auth_guessing", attacks.spray),
    Fault("guessed from many hosts", "auth_guessing", attacks.spread),
    Fault("guessed beside an account", "auth_guessing", attacks.beside, frozenset({"sa_flapping"})),
    Fault("existing users tried", "auth_guessing", attacks.existing, frozenset({"auth_failures"})),
    Fault(
        "one other's account",
        "auth_guessing",
        attacks.other,
        frozenset({"auth_failures", "sa_flapping"}),
    ),
    Fault("guessed without numbers", "auth_guessing", attacks.numberless),
    Fault("flood from one source", "half_open_flood", attacks.flood),
    Fault("flood with forged addresses", "half_open_flood", attacks.forged),
    Fault(
        "flood beside an account", "half_open_flood", attacks.hidden, frozenset({"duplicate_sas"})
    ),
    Fault("flood, by counters alone", "half_open_flood", attacks.counted_flood, needs="counted"),
    Fault("weak proposal", "weak_algorithm", _weak, frozenset({"downgrade"})),
    Fault("weaker than before", "downgrade", _downgraded, frozenset({"weak_algorithm"}), "known"),
    Fault("post-quantum gone", "downgrade", _quantum, needs="known"),
    Fault("weak Child SA", "weak_algorithm", _weak_child, frozenset({"downgrade"})),
    Fault("no common proposal", "proposal_mismatch", _mismatch),
    Fault("networks differ", "proposal_mismatch", _networks),
    Fault("no common proposal, slowly", "proposal_mismatch", _slow_mismatch),
    Fault("networks differ, slowly", "proposal_mismatch", _slow_networks),
    Fault("group loop", "proposal_mismatch", _groups),
    Fault("one stranger", "unknown_peers", attacks.stranger),
    Fault("one stranger, slowly", "unknown_peers", attacks.ask_slowly),
    Fault("scan", "unknown_peers", attacks.scan),
    Fault("proposals of forged senders", "unknown_peers", attacks.offers),
    Fault("proposals at a named connection", "unknown_peers", attacks.named),
    Fault("refusals, by counters alone", "unknown_peers", attacks.counted_scan, needs="counted"),
    Fault("link up and down", "dpd_flapping", _lost),
    Fault("dead peer, IKEv1", "dpd_flapping", _dead),
    Fault("lossy path", "retransmit_storm", _lossy),
    Fault("peer stays away", "peer_unreachable", _away),
    Fault("peer stays away, few tries", "peer_unreachable", _rests),
    Fault("certificate rejected", "certificate_rejected", _certificate),
    Fault("certificate rejected, slowly", "certificate_rejected", _slow_certificate),
    Fault("CRL out of reach", "revocation_unchecked", _unchecked),
    Fault("two hosts, one identity", "identity_conflict", _conflict),
    Fault("one SA, two policies", "sa_shared", _shared),
    Fault("rotation on one end", "rotation_failed", _rotation),
    Fault(
        "rotation beside others", "rotation_failed", _rotation_beside, frozenset({"sa_flapping"})
    ),
    Fault("clock, as the daemon says", "clock", _clock),
    Fault("clock put back", "clock", _put_back),
    Fault("clock, by certificates", "clock", _dates, frozenset({"certificate_rejected"})),
)
