"""What is played for the recordings: normal days, faults and attacks, compressed by short lifetimes.

Each takes a `Stage`, plays, and returns when what it shows is in the logs.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import vici
from cryptography.x509 import ReasonFlags

from tests.lab import flood, namespaces
from tests.lab.charon import Gateway
from tests.lab.errors import LabError, Refused
from tests.lab.handmade import Authority
from tests.lab.pluto import Pluto
from tests.lab.recording import SECRET, Stage
from tests.lab.settings import Section, merged

# Lifetimes of a compressed day: seconds for what are hours elsewhere.
_IKE: Final = {"rekey_time": "40s", "over_time": "8s", "rand_time": "4s", "mobike": "no"}
_CHILD: Final = {"rekey_time": "15s", "life_time": "18s", "rand_time": "3s"}
_CALM: Final = {"rekey_time": "1h", "mobike": "no"}
_QUICK: Final = {"retransmit_timeout": 0.4, "retransmit_tries": 3}
_KNOWN: Final = {f"branch-{number}": f"{SECRET}{number}" for number in range(1, 6)}


# the ground: two ends with certificates, or with a shared key


def _certified(stage: Stage, **more: Any) -> tuple[Gateway, Gateway, Authority]:
    left, right = stage.charon("left", **more), stage.charon("right", iso=False, **more)
    root = Authority("Lab Root")
    for number, gateway in enumerate((left, right)):
        leaf = root.leaf(f"{gateway.name}.example.net", serial=0xA0 + number)
        gateway.install(leaf.key_pem, leaf.pem, [root.pem])
    return left, right, root


def _join(
    left: Gateway,
    right: Gateway,
    *,
    both: Section,
    at_left: Section | None = None,
    at_right: Section | None = None,
    revocation: str = "relaxed",
) -> None:
    """A connection `site` with certificates. Two ends that reauthenticate at once double their SAs: such a time goes to
    one of them.
    """
    for here, there, more in ((left, right, at_left), (right, left, at_right)):
        section = {
            "version": 2,
            "local_addrs": here.outside,
            "remote_addrs": there.outside,
            "send_cert": "always",
            "local": {"auth": "pubkey", "id": here.identity},
            "remote": {
                "auth": "pubkey",
                "id": there.identity,
                "cacerts": ", ".join(here.credentials().anchors),
                "revocation": revocation,
            },
            "children": {
                "site": {"local_ts": here.inside.network, "remote_ts": there.inside.network}
            },
        }
        here.add_connection("site", merged(merged(section, both), more or {}))
        here.load_all()


def _end(here: Gateway, there: Gateway, section: Section) -> dict[str, Any]:
    base = {
        "version": 2,
        "local_addrs": here.outside,
        "remote_addrs": there.outside,
        "local": {"auth": "psk", "id": f"{here.name}.example.net"},
        "remote": {"auth": "psk", "id": f"{there.name}.example.net"},
        "children": {"net": {"local_ts": here.inside.network, "remote_ts": there.inside.network}},
    }
    return merged(base, section)


def _shared(
    left: Gateway,
    right: Gateway,
    *,
    both: Section | None = None,
    at_left: Section | None = None,
    at_right: Section | None = None,
    keys: tuple[str, str] = ("one", "one"),
) -> None:
    """A connection `site` with a shared key at both ends; `keys` that differ do not match."""
    ends = ((left, right, at_left, keys[0]), (right, left, at_right, keys[1]))
    for here, there, section, key in ends:
        here.add_connection("site", merged(_end(here, there, both or {}), section or {}))
        owners = [f"{each.name}.example.net" for each in (left, right)]
        _load_key(here, "site", f"{SECRET}{key}", owners)


def _load_key(gateway: Gateway, name: str, key: str, owners: list[str]) -> None:
    with gateway.session() as session:
        session.load_shared({"id": name, "type": "IKE", "data": key, "owners": owners})


def _try(gateway: Gateway, times: int, *, pause: float, child: str = "net") -> None:
    """Initiate again and again; whether it comes up is what the scenario shows."""
    for _ in range(times):
        with contextlib.suppress(Refused, LabError):
            gateway.initiate(child, timeout=30)
        time.sleep(pause)


def _pair(stage: Stage) -> tuple[Gateway, Gateway]:
    return stage.charon("left"), stage.charon("right", iso=False)


# what is normal


def normal_day(stage: Stage) -> None:
    """Rekeys of IKE and Child SA, and a planned restart of one end."""
    left, right, _ = _certified(stage)
    # A second is a long time here: with equal lifetimes the ends would often rekey at once.
    later = {"rekey_time": "55s", "children": {"site": {"rekey_time": "22s", "life_time": "26s"}}}
    both = merged(_IKE, {"children": {"site": _CHILD}})
    _join(left, right, both=both, at_right=later)
    left.initiate("site")
    time.sleep(100)
    left.terminate("site")
    left.stop()
    left.start()
    left.load_all()
    left.initiate("site")
    time.sleep(60)


def normal_reauthentication(stage: Stage) -> None:
    """Reauthentication make-before-break, as configured, and Child SAs rekeyed in between."""
    # A Child SA that was just replaced puts a reauthentication off, by more than a compressed life has.
    left, right, _ = _certified(
        stage, settings={"make_before_break": "yes", "delete_rekeyed_delay": 1}
    )
    again = {"reauth_time": "40s", "over_time": "30s", "rand_time": "4s"}
    both = {**_CALM, "children": {"site": _CHILD}}
    _join(left, right, both=both, at_left=again)
    left.initiate("site")
    time.sleep(140)


def normal_ikev1(stage: Stage) -> None:
    """The same in IKEv1."""
    left, right = _pair(stage)
    ike = {"version": 1, "rekey_time": "0", "reauth_time": "40s", "over_time": "8s"}
    _shared(left, right, both={**ike, "rand_time": "4s", "children": {"net": _CHILD}})
    left.initiate("net")
    time.sleep(90)


def normal_other_group(stage: Stage) -> None:
    """One end guesses another key exchange group first: one INVALID_KE_PAYLOAD and no more."""
    left, right = _pair(stage)
    _shared(
        left,
        right,
        both=_CALM,
        at_left={"proposals": "aes256-sha256-x25519-ecp256"},
        at_right={"proposals": "aes256-sha256-ecp256"},
    )
    left.initiate("net")
    time.sleep(2)


# rekeying that is not normal


def rekey_storm(stage: Stage) -> None:
    """A while as configured; then somebody gives one end lifetimes of seconds, and it keeps rekeying."""
    left, right = _pair(stage)
    _shared(left, right, both={**_CALM, "children": {"net": _CHILD}})
    left.initiate("net")
    time.sleep(75)
    tiny = {"rekey_time": "4s", "life_time": "30s", "rand_time": "1s"}
    left.add_connection("site", merged(_end(left, right, _CALM), {"children": {"net": tiny}}))
    # An SA keeps the lifetimes it was made with.
    left.terminate("site")
    left.initiate("net")
    time.sleep(100)


def rekey_storm_by_command(stage: Stage) -> None:
    """Somebody has the IKE SA rekeyed every second through VICI; the other end sees only the rekeys."""
    left, right = _pair(stage)
    _shared(left, right, both={**_IKE, "rekey_time": "1h", "over_time": "1m", "rand_time": "1m"})
    left.initiate("net")
    for _ in range(40):
        time.sleep(0.7)
        with left.session() as session, contextlib.suppress(vici.exception.CommandException):
            session.rekey({"ike": "site"})


def rekey_collision(stage: Stage) -> None:
    """Both ends rekey at the same instant, as they do without jitter."""
    left, right = _pair(stage)
    child = {"rekey_time": "14s", "life_time": "20s", "rand_time": "0s"}
    _shared(left, right, both={**_CALM, "children": {"net": child}})
    left.initiate("net")
    time.sleep(240)


def rekey_refused(stage: Stage) -> None:
    """The ends differ in the group of perfect forward secrecy: the first rekey shows it, and the Child SA expires."""
    left, right = _pair(stage)
    _shared(
        left,
        right,
        both={**_CALM, "children": {"net": {**_CHILD, "life_time": "80s"}}},
        at_left={"children": {"net": {"esp_proposals": "aes256-sha256-modp2048"}}},
        at_right={"children": {"net": {"esp_proposals": "aes256-sha256-ecp384"}}},
    )
    left.initiate("net")
    time.sleep(90)


def reauthentication_collision(stage: Stage) -> None:
    """Both ends reauthenticate make-before-break at the same instant: the SAs double each time."""
    left, right, _ = _certified(stage, settings={"make_before_break": "yes"})
    again = {"reauth_time": "80s", "over_time": "90s", "rand_time": "0s", "mobike": "no"}
    _join(left, right, both=again)
    left.initiate("site")
    time.sleep(246)


# authentication that fails


def wrong_psk(stage: Stage) -> None:
    """The ends have different shared keys, and one keeps trying."""
    left, right = _pair(stage)
    _shared(left, right, both=_CALM, keys=("one", "two"))
    _try(left, 8, pause=2)


def psk_guessing(stage: Stage) -> None:
    """A third host tries identities and keys, while a tunnel of another peer is up."""
    left, right = _pair(stage)
    _shared(left, right, both=_CALM)
    _branches(right)
    left.initiate("net")
    time.sleep(3)
    _guess(stage.lab.gateway("stranger"), right, 24)


def _branches(gateway: Gateway) -> None:
    """A connection for branch offices with any address, each with a key of its own."""
    section = {
        "version": 2,
        "local_addrs": gateway.outside,
        "local": {"auth": "psk", "id": f"{gateway.name}.example.net"},
        "remote": {"auth": "psk", "id": "%any"},
        "children": {"branch": {"local_ts": "10.2.0.0/24", "remote_ts": "10.128.0.0/16"}},
    }
    gateway.add_connection("branches", section)
    for name, key in _KNOWN.items():
        _load_key(gateway, name, key, [f"{name}.example.net"])


def _guess(stranger: Gateway, target: Gateway | Pluto, identities: int) -> None:
    for number in range(1, identities + 1):
        for guess in ("letmein", "vpn123"):
            own = f"branch-{number}.example.net"
            # A name of its own for each try: charon would rather use the key it had.
            name = f"try-{number}-{guess}"
            _load_key(stranger, name, f"{SECRET}{guess}", [own])
            section = {
                "version": 2,
                "local_addrs": stranger.outside,
                "remote_addrs": target.outside,
                "local": {"auth": "psk", "id": own},
                "remote": {"auth": "psk", "id": "%any"},
                "children": {name: {"remote_ts": "10.2.0.0/24"}},
            }
            stranger.add_connection(name, section)
            with contextlib.suppress(Refused, LabError):
                stranger.initiate(name)
            with stranger.session() as session:
                session.unload_shared({"id": name})
                session.unload_conn({"name": name})


def certificate_revoked(stage: Stage) -> None:
    """The certificate of one end is on the CRL, and the other wants to know."""
    left, _ = _with_crl(stage, policy="strict", at_left={}, revoked=True)
    _try(left, 6, pause=2, child="site")


def revocation_unreachable(stage: Stage) -> None:
    """The CRL cannot be fetched, and the peer is let in all the same, at each reauthentication."""
    again = {"reauth_time": "14s", "over_time": "4s", "rand_time": "1s"}
    left, _ = _with_crl(stage, policy="relaxed", at_left=again)
    left.initiate("site")
    time.sleep(62)


def revocation_unreachable_strict(stage: Stage) -> None:
    """The CRL cannot be fetched, and without it nobody is let in."""
    left, _ = _with_crl(stage, policy="strict", at_left={})
    _try(left, 6, pause=3, child="site")


def certificate_untrusted(stage: Stage) -> None:
    """The certificate of one end is from an authority that the other does not know."""
    left, right, _ = _certified(stage)
    other = Authority("Other Root")
    leaf = other.leaf("left.example.net", serial=0xC0)
    left.install(leaf.key_pem, leaf.pem, [])
    _join(left, right, both=_CALM)
    _try(left, 6, pause=3, child="site")


def _with_crl(
    stage: Stage, *, policy: str, at_left: Section, revoked: bool = False
) -> tuple[Gateway, Gateway]:
    """Two ends whose certificates name a CRL; it is there only where `revoked`, and lists that of the left."""
    site = stage.lab.site()
    root = Authority("Lab Root")
    url = f"{site.url}/lab.crl"
    if revoked:
        site.put("/lab.crl", root.crl(1, [(0xA0, ReasonFlags.key_compromise)]))
    settings = {"make_before_break": "yes"}
    left = stage.charon("left", settings=settings)
    right = stage.charon("right", settings=settings, iso=False)
    for number, gateway in enumerate((left, right)):
        leaf = root.leaf(f"{gateway.name}.example.net", serial=0xA0 + number, crl_urls=[url])
        gateway.install(leaf.key_pem, leaf.pem, [root.pem])
    _join(left, right, both=_CALM, at_left=at_left, revocation=policy)
    return left, right


def rotation_on_one_end(stage: Stage) -> None:
    """One end has the new shared key and uses it; the other still has the old one alone."""
    left, right = _pair(stage)
    _shared(left, right, both=_CALM)
    left.initiate("net")
    time.sleep(15)
    with left.session() as session:
        session.unload_shared({"id": "site"})
    _load_key(left, "new", f"{SECRET}two", [f"{each.name}.example.net" for each in (left, right)])
    left.terminate("site")
    _try(left, 5, pause=3)


# clocks


def clock_put_back(stage: Stage) -> None:
    """The clock of one end is put back by twenty minutes while rekeys go on."""
    left, right = stage.charon("left"), stage.charon("right", iso=False, clock="+0")
    _shared(left, right, both={**_CALM, "children": {"net": _CHILD}})
    left.initiate("net")
    time.sleep(40)
    stage.set_clock("right", "-20m")
    time.sleep(50)


def clock_behind(stage: Stage) -> None:
    """The clock of one end is a hundred days behind: no certificate is valid yet."""
    left = stage.charon("left")
    right = stage.charon("right", clock="-100d")
    root = Authority("Lab Root")
    for number, gateway in enumerate((left, right)):
        leaf = root.leaf(f"{gateway.name}.example.net", serial=0xA0 + number)
        gateway.install(leaf.key_pem, leaf.pem, [root.pem])
    _join(left, right, both=_CALM)
    _try(left, 6, pause=3, child="site")


# policies that do not match


def proposal_mismatch(stage: Stage) -> None:
    """No IKE proposal in common."""
    left, right = _pair(stage)
    _shared(
        left,
        right,
        both=_CALM,
        at_left={"proposals": "aes128-sha256-modp2048"},
        at_right={"proposals": "aes256gcm16-prfsha384-ecp384"},
    )
    _try(left, 8, pause=2)


def child_proposal_mismatch(stage: Stage) -> None:
    """The IKE SA comes up, and no ESP proposal fits."""
    left, right = _pair(stage)
    _shared(
        left,
        right,
        both=_CALM,
        at_left={"children": {"net": {"esp_proposals": "aes128-sha256"}}},
        at_right={"children": {"net": {"esp_proposals": "aes256gcm16"}}},
    )
    _try(left, 6, pause=2)


def ts_mismatch(stage: Stage) -> None:
    """One end asks for a network that the other does not give."""
    left, right = _pair(stage)
    _shared(left, right, both=_CALM, at_left={"children": {"net": {"remote_ts": "10.99.0.0/24"}}})
    _try(left, 8, pause=2)


def weak_algorithms(stage: Stage) -> None:
    """Both ends agree on what nobody should use."""
    left, right = _pair(stage)
    weak = {
        "proposals": "aes128-sha1-modp1024",
        "children": {"net": {"esp_proposals": "aes128-sha1"}},
    }
    _shared(left, right, both={**_CALM, **weak})
    left.initiate("net")
    time.sleep(3)


def weaker_than_before(stage: Stage) -> None:
    """A peer that had the strong proposal comes back with the weakest of those that the gateway still takes."""
    strong, weak = "aes256gcm16-prfsha384-ecp384", "aes256-sha256-modp2048"
    left, right = _pair(stage)
    right_takes = {"proposals": f"{strong}, {weak}"}
    _shared(left, right, both=_CALM, at_left={"proposals": strong}, at_right=right_takes)
    left.initiate("net")
    time.sleep(3)
    left.terminate("site")
    left.add_connection("site", _end(left, right, {**_CALM, "proposals": weak}))
    left.initiate("net")
    time.sleep(3)


def unknown_peer(stage: Stage) -> None:
    """A host that nobody configured keeps asking."""
    left, right = _pair(stage)
    _shared(left, right, both=_CALM)
    left.initiate("net")
    stranger = stage.lab.gateway("stranger")
    section = _end(stranger, right, _CALM)
    stranger.add_connection("site", section)
    _load_key(stranger, "site", f"{SECRET}one", ["stranger.example.net", "right.example.net"])
    _try(stranger, 12, pause=1)


def unknown_identity(stage: Stage) -> None:
    """The address fits a connection, the identity none."""
    left, right = _pair(stage)
    _shared(left, right, both=_CALM, at_left={"local": {"id": "old-name.example.net"}})
    _load_key(left, "old", f"{SECRET}one", ["old-name.example.net", "right.example.net"])
    _try(left, 8, pause=2)


# links and floods


def flapping_link(stage: Stage) -> None:
    """The cable comes and goes; dead peer detection notices, and the tunnel is made again."""
    left, _ = _watchful(stage)
    left.initiate("net")
    for _ in range(5):
        time.sleep(6)
        _port_of(stage, 1, "down")
        time.sleep(8)
        _port_of(stage, 1, "up")
    time.sleep(6)


def flapping_ikev1(stage: Stage) -> None:
    """The cable comes and goes under IKEv1, which has a time-out of its own for dead peers."""
    left, right = _pair(stage)
    ike = {"version": 1, **_CALM, "dpd_delay": "1s", "dpd_timeout": "4s"}
    again = {"keyingtries": 0, "children": {"net": {"dpd_action": "restart"}}}
    _shared(left, right, both=ike, at_left=again)
    left.initiate("net")
    for _ in range(4):
        time.sleep(6)
        _port_of(stage, 1, "down")
        time.sleep(9)
        _port_of(stage, 1, "up")
    time.sleep(12)


def flapping_loss(stage: Stage) -> None:
    """Most packets of IKE are lost on the way, for a while, again and again."""
    left, right = _watchful(stage)
    left.initiate("net")
    host = right.namespace
    rules = "table inet lossy { chain in { type filter hook input priority 0; %s }; }"
    lost = "udp dport { 500, 4500 } numgen random mod 100 < 75 drop;"
    for _ in range(5):
        time.sleep(4)
        host.run(["nft", rules % lost])
        time.sleep(14)
        host.run(["nft", "delete table inet lossy"])
    time.sleep(4)


def _watchful(stage: Stage) -> tuple[Gateway, Gateway]:
    left = stage.charon("left", settings=_QUICK)
    right = stage.charon("right", settings=_QUICK, iso=False)
    ike = {**_CALM, "dpd_delay": "1s"}
    again = {"children": {"net": {"dpd_action": "restart"}}}
    _shared(left, right, both=ike, at_left={**again, "keyingtries": 0})
    return left, right


def _port_of(stage: Stage, number: int, state: str) -> None:
    """Pull or plug the cable of the n-th host at the bridge."""
    namespaces.ip_batch(stage.lab.service.name, f"link set plug{number} {state}")


def half_open_flood(stage: Stage) -> None:
    """IKE_SA_INIT requests from many addresses that never go on, beside a tunnel that is up: cookies are asked for."""
    _flooded(stage, [f"192.0.2.{number}" for number in range(100, 140)], each=5)


def half_open_one_source(stage: Stage) -> None:
    """The same from one address, at a gateway that asks for cookies later than it refuses an address."""
    late = {"cookie_threshold": 500, "cookie_threshold_ip": 500}
    _flooded(stage, ["192.0.2.100"], each=150, settings=late)


def half_open_limit(stage: Stage) -> None:
    """The same from many addresses, at a gateway with a limit for all of them together and no cookies."""
    late = {"cookie_threshold": 500, "cookie_threshold_ip": 500, "init_limit_half_open": 20}
    sources = [f"192.0.2.{number}" for number in range(100, 140)]
    _flooded(stage, sources, each=5, settings=late)


def _flooded(
    stage: Stage, sources: list[str], *, each: int, settings: Section | None = None
) -> None:
    left = stage.charon("left")
    quick = {"half_open_timeout": 5, **(settings or {})}
    right = stage.charon("right", settings=quick, iso=False, net=2)
    _shared(left, right, both=_CALM)
    _branches(right)  # it answers any address
    left.initiate("net")
    stranger = stage.lab.namespace("stranger")
    flood.add_addresses(stranger, sources)
    flood.flood(stranger, right.outside, sources, each=each, pause=0.03)
    time.sleep(7)


def same_identity(stage: Stage) -> None:
    """Two hosts have one identity: each takes the tunnel from the other, notices, and takes it back."""
    left, right = _pair(stage)
    other = stage.charon("other")
    owners = ["left.example.net", "right.example.net"]
    both = f"{left.inside.network}, {other.inside.network}"
    again = {**_CALM, "dpd_delay": "4s", "children": {"net": {"dpd_action": "restart"}}}
    anywhere = {"remote_addrs": "%any", "children": {"net": {"remote_ts": both}}}
    _shared(left, right, both=_CALM, at_left=again, at_right=anywhere)
    other.add_connection("site", merged(_end(other, right, again), {"local": {"id": owners[0]}}))
    _load_key(other, "site", f"{SECRET}one", owners)
    left.initiate("net")
    time.sleep(5)
    other.initiate("net")
    time.sleep(110)


# pluto at one end; no Child SAs, for the lab's kernel has no ESP


def _with_pluto(
    stage: Stage, *, keys: tuple[str, str] = ("one", "one"), **more: object
) -> tuple[Gateway, Pluto]:
    left, right = stage.charon("left"), stage.pluto("right")
    owners = ["left.example.net", "right.example.net"]
    right.write_secrets(f'@{owners[1]} @{owners[0]} : PSK "{SECRET}{keys[1]}"')
    right.whack("--rereadsecrets")
    conn: Mapping[str, object] = {
        "left": right.outside,
        "right": left.outside,
        "leftid": "@right.example.net",
        "rightid": "@left.example.net",
        "leftsubnet": right.inside.network,
        "rightsubnet": left.inside.network,
        "authby": "secret",
        "ikev2": "insist",
        "auto": "add",
        **more,
    }
    right.add_connection("site", conn)
    right.childless()
    section = {
        "version": 2,
        "local_addrs": left.outside,
        "remote_addrs": right.outside,
        "mobike": "no",
        "local": {"auth": "psk", "id": owners[0]},
        "remote": {"auth": "psk", "id": owners[1]},
        "children": {"net": {"local_ts": left.inside.network, "remote_ts": right.inside.network}},
    }
    left.add_connection("site", section)
    _load_key(left, "site", f"{SECRET}{keys[0]}", owners)
    return left, right


def pluto_normal(stage: Stage) -> None:
    """IKE SAs of pluto, made, rekeyed by charon and ended."""
    left, right = _with_pluto(stage)
    right.initiate("site")
    for _ in range(3):
        time.sleep(12)
        with left.session() as session, contextlib.suppress(vici.exception.CommandException):
            session.rekey({"ike": "site"})
    time.sleep(4)
    right.terminate("site")
    time.sleep(1)


def pluto_wrong_psk(stage: Stage) -> None:
    """pluto and charon have different shared keys."""
    left, _ = _with_pluto(stage, keys=("one", "two"))
    # The group that pluto asks for first.
    left.add_connection("site", merged(_pluto_peer(left), {"proposals": "aes256-sha256-modp2048"}))
    _try(left, 8, pause=2)


def pluto_proposal_mismatch(stage: Stage) -> None:
    """No IKE proposal in common with pluto."""
    left, _ = _with_pluto(stage, ike="aes_gcm256-sha2_512;dh20")
    left.add_connection("site", merged(_pluto_peer(left), {"proposals": "aes128-sha256-modp2048"}))
    _try(left, 8, pause=2)


def _pluto_peer(left: Gateway) -> dict[str, Any]:
    return {
        "version": 2,
        "local_addrs": left.outside,
        "remote_addrs": "192.0.2.2",
        "local": {"auth": "psk", "id": "left.example.net"},
        "remote": {"auth": "psk", "id": "right.example.net"},
        "children": {"net": {"remote_ts": "10.2.0.0/24"}},
    }


def pluto_guessing(stage: Stage) -> None:
    """A third host tries identities and keys at pluto."""
    _, right = _with_pluto(stage, right="%any", rightid="%any", rightsubnet="10.128.0.0/16")
    _guess(stage.lab.gateway("stranger"), right, 12)


SCENARIOS: Final[Mapping[str, Callable[[Stage], None]]] = {
    play.__name__: play
    for play in (
        normal_day,
        normal_reauthentication,
        normal_ikev1,
        normal_other_group,
        rekey_storm,
        rekey_storm_by_command,
        rekey_collision,
        rekey_refused,
        reauthentication_collision,
        wrong_psk,
        psk_guessing,
        certificate_revoked,
        revocation_unreachable,
        revocation_unreachable_strict,
        certificate_untrusted,
        proposal_mismatch,
        child_proposal_mismatch,
        ts_mismatch,
        weak_algorithms,
        weaker_than_before,
        rotation_on_one_end,
        clock_put_back,
        clock_behind,
        unknown_peer,
        unknown_identity,
        flapping_link,
        flapping_ikev1,
        flapping_loss,
        half_open_flood,
        half_open_one_source,
        half_open_limit,
        same_identity,
        pluto_normal,
        pluto_wrong_psk,
        pluto_proposal_mismatch,
        pluto_guessing,
    )
}
