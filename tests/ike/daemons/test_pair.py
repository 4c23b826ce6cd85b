"""A charon and a pluto, each fed by its adapter: both renew, either is revoked.

With CHILD_SAs and traffic where the kernel has ESP (tests/ike/daemons/test_real_esp.py), else without.
"""

from dataclasses import dataclass

import pytest
from cryptography import x509

from ike.daemons.libreswan import Libreswan
from ike.daemons.port import Credential, Daemon
from ike.daemons.strongswan import StrongSwan
from tests.ike.daemons.charon_rig import adapter as charon_adapter
from tests.ike.daemons.charon_rig import in_cache
from tests.ike.daemons.contract import Pki, install, name_of, revoked
from tests.ike.daemons.pluto_rig import NICKNAME, TUNNEL
from tests.ike.daemons.pluto_rig import adapter as pluto_adapter
from tests.lab import Gateway, Lab, Pluto, Refused, ping

pytestmark = pytest.mark.usefixtures("needs_pluto")

CHARON, PLUTO = "charon.example", "pluto.example"


@dataclass
class Pair:
    """Both ends under strict checking, up. `certificates` are those in use, by end."""

    lab: Lab
    pki: Pki
    charon: Gateway
    pluto: Pluto
    charon_daemon: StrongSwan
    pluto_daemon: Libreswan
    credentials: dict[str, Credential]
    lists: int = 0

    @property
    def daemons(self) -> tuple[Daemon, Daemon]:
        return self.charon_daemon, self.pluto_daemon

    def publish(self, *bad: x509.Certificate) -> None:
        """Push the lists of both CAs to both ends."""
        self.lists += 1
        root = x509.load_der_x509_crl(self.pki.root.crl(self.lists))
        for daemon in self.daemons:
            daemon.load_crls([root, self.pki.crl(self.lists, *bad)])

    def renew(self, who: str) -> Credential:
        """One end's renewal, as its agent does it."""
        daemon = self.charon_daemon if who == CHARON else self.pluto_daemon
        old, fresh = self.credentials[who], self.pki.credential(who)
        install(daemon, fresh, old)
        daemon.prove(fresh, [TUNNEL], seconds=60)
        daemon.retire(name_of(old))
        self.credentials[who] = fresh
        return old

    def initiate(self) -> None:
        """A fresh authentication, begun by pluto: it can leave the CHILD_SA out."""
        self.end()
        self.pluto.initiate(TUNNEL)
        self.charon.wait_until(TUNNEL, up=True)

    def end(self) -> None:
        self.pluto.terminate(TUNNEL)
        self.charon.terminate(TUNNEL, force=True)
        self.pluto.wait_until(TUNNEL, up=False)
        self.charon.wait_until(TUNNEL, up=False)
        self.charon.flush_certs("x509")

    def require_traffic(self) -> None:
        """Packets go through; nothing where there are no CHILD_SAs."""
        if self.lab.kernel_esp:
            there = ping(self.charon, self.pluto, 5)  # type: ignore[arg-type]
            assert there.received == 5, there.output

    def require_no_return(self, judge: Gateway | Pluto) -> None:
        """Whoever begins, the end that knows of the revocation has no SA. The other may believe that there is one."""
        self.charon.flush_certs("x509")
        with pytest.raises(Refused):
            self.pluto.initiate(TUNNEL, timeout=10)
        self.pluto.terminate(TUNNEL)
        self.charon.terminate(TUNNEL, force=True)
        mark = self.charon.log.mark()
        self.charon.swanctl("--initiate", "--ike", TUNNEL, "--timeout", "10", check=False)
        failed = "AUTHENTICATION_FAILED|no trusted|constraint check failed|certificate was revoked"
        self.charon.log.wait_for(failed, since=mark)
        judge.wait_until(TUNNEL, up=False)


@pytest.fixture
def pair(lab: Lab) -> Pair:
    pki = Pki()
    charon = lab.gateway("charon")
    pluto = lab.pluto("pluto", setup={"crlcheckinterval": "1h", "crl-strict": "yes"})
    made = Pair(
        *(lab, pki, charon, pluto, charon_adapter(charon), pluto_adapter(pluto)),
        {who: pki.credential(who) for who in (CHARON, PLUTO)},
    )
    for daemon, who in zip(made.daemons, (CHARON, PLUTO), strict=True):
        daemon.trust(pki.authorities)
        install(daemon, made.credentials[who])
    charon.add_connection(
        TUNNEL,
        {
            "version": 2,
            "local_addrs": charon.outside,
            "remote_addrs": pluto.outside,
            "send_cert": "always",
            "local": {"auth": "pubkey", "id": CHARON},
            "remote": {"auth": "pubkey", "id": PLUTO, "revocation": "strict"},
            "children": {
                TUNNEL: {"local_ts": charon.inside.network, "remote_ts": pluto.inside.network}
            },
        },
    )
    pluto.add_connection(
        TUNNEL,
        {
            "left": pluto.outside,
            "right": charon.outside,
            "leftid": f"@{PLUTO}",
            "rightid": f"@{CHARON}",
            "leftcert": NICKNAME,
            "sendca": "all",
            "leftsubnet": pluto.inside.network,
            "rightsubnet": charon.inside.network,
            "authby": "ecdsa",
            "ikev2": "insist",
            "auto": "add",
        },
    )
    if not lab.kernel_esp:
        pluto.childless()
    else:
        pluto.whack("--impair", "revival")
    made.publish()
    made.initiate()
    return made


def test_both_renew_and_the_old_ones_are_worth_nothing(pair: Pair) -> None:
    pair.require_traffic()
    for _ in range(2):
        olds = [pair.renew(who) for who in (CHARON, PLUTO)]
        pair.require_traffic()
        pair.publish(*(each.certificate for each in olds))
        pair.initiate()
        assert in_cache(pair.charon, PLUTO) == [pair.credentials[PLUTO].fingerprint]
        pair.require_traffic()
    (sa,) = pair.pluto_daemon.sas()
    assert sa.established
    assert bool(sa.children) == pair.lab.kernel_esp
    for daemon, who in zip(pair.daemons, (CHARON, PLUTO), strict=True):
        loaded = [each for each in daemon.inventory().certificates if each.has_key]
        assert [each.fingerprint for each in loaded] == [pair.credentials[who].fingerprint]
        assert len(daemon.inventory().keys) == 1


@pytest.mark.parametrize("who", [CHARON, PLUTO])
def test_a_revoked_end_is_cut_off_by_the_other_and_cannot_come_back(pair: Pair, who: str) -> None:
    bad = pair.credentials[who].certificate
    teller = pair.pluto_daemon if who == CHARON else pair.charon_daemon
    pair.publish(bad)
    (cut,) = teller.cut(revoked(bad))
    assert (cut.sa.connection, cut.ended) == (TUNNEL, True)
    assert cut.matched_by == "identity"  # charon's adapter knows certificates only while it watches
    pair.charon.wait_until(TUNNEL, up=False)
    pair.pluto.wait_until(TUNNEL, up=False)
    if pair.lab.kernel_esp:
        assert ping(pair.charon, pair.pluto, 2, wait=0.5).received == 0  # type: ignore[arg-type]
    pair.require_no_return(pair.pluto if who == CHARON else pair.charon)
