"""The authority of two charons is rolled over while packets pass between them."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.lab import Lab
from tests.lab.agents import COUNTED, TUNNEL, Fed, fleet, join, until
from tests.lab.charon import connect
from tests.lab.errors import LabError, Refused
from tests.lab.handmade import Authority
from tests.lab.story import Warden
from tests.lab.test_agents import renew
from tests.lab.traffic import ping_through, pinging, strays

OLD, NEW = "issuing", "issuing-2"


def begin(warden: Warden, authority: str, *, same_subject: bool = False) -> int:
    """Prepare a rollover; gives its number."""
    path = f"/v1/authorities/{authority}"
    wanted = {"subject": warden.call("GET", path)["subject"]} if same_subject else {}
    made = warden.call("POST", f"{path}/rollover", wanted)
    assert made["same_subject"] is (same_subject or authority == "root")
    assert (made["authority"], made["state"]) == (authority, "prepared")
    return int(made["id"])


def move(warden: Warden, number: int, to: str, **order: Any) -> str:
    """Take a step; gives the state after it."""
    moved = warden.call("POST", f"/v1/rollovers/{number}", {"to": to, **order})
    return str(moved["state"])


def switch(warden: Warden, number: int) -> None:
    """Switch as soon as the gateways know the successor."""

    def switched() -> bool:
        try:
            return move(warden, number, "switched") == "switched"
        except LabError as refused:
            if "rollover_gateways_untold" in str(refused):
                return False
            raise

    until(switched, "the gateways trust the successor")


def roll_root(warden: Warden) -> None:
    """Have a new root issue in the place of the old one: what is founded from now on is below it."""
    number = begin(warden, "root")
    assert move(warden, number, "published") == "published"
    switch(warden, number)


def speaks_by(warden: Warden, authority: str) -> None:
    """The service's own certificate is of this authority."""
    own = ssl.get_server_certificate(("127.0.0.1", warden.api_port))
    issuer = x509.load_der_x509_certificate(warden.fetch(f"/ca/{authority}.crt"))
    x509.load_pem_x509_certificate(own.encode()).verify_directly_issued_by(issuer)


def issuer_of(fed: Fed) -> str:
    """The authority that certified what the gateway uses."""
    (serial, *_) = fed.serials
    found = fed.warden.call("GET", f"/v1/certificates/{serial}")
    return str(found["authority"])


def top_of(fed: Fed) -> str:
    """The root above the certificate that the gateway uses."""
    name = issuer_of(fed)
    while parent := fed.warden.call("GET", f"/v1/authorities/{name}")["parent"]:
        name = parent
    return name


def authenticate_afresh(fed: Fed) -> None:
    """Have a gateway make its SA anew, and wait until it carries its CHILD_SA."""
    before = fed.gateway.established(TUNNEL)
    assert before is not None
    fed.tell("reauthenticate", connection=TUNNEL)
    until(
        lambda: (
            (sa := fed.gateway.established(TUNNEL)) is not None
            and sa.number != before.number
            and sa.children
        ),
        "a fresh IKE_SA",
    )
    until(lambda: len(fed.gateway.list_sas()) == 1, "the former one has ended")


def meet(left: Fed, right: Fed) -> None:
    """Each end authenticates to the other, begun by either in turn, under traffic."""
    for first in (left, right):
        for each in (left, right):
            each.gateway.flush_certs()
        with pinging(left.gateway, right.gateway) as counted:
            authenticate_afresh(first)
        # charon sends on its new CHILD_SA a moment before its peer has it (docs/explanation/reload.md). How many
        # packets that costs depends on how busy the machine is.
        assert counted[0].lost <= strays(left.gateway, right.gateway), counted[0].output


@pytest.mark.parametrize(
    ("root", "start_action", "same_subject"),
    [(False, "none", True), (False, "start", False), (True, "none", False)],
    ids=["issuing, one subject", "issuing, to be up", "root"],
)
def test_authorities_are_rolled_over_under_traffic(
    lab: Lab, tmp_path: Path, root: bool, start_action: str, same_subject: bool
) -> None:
    names = ("gw-a", "gw-b")
    with fleet(lab, tmp_path / "instance", *names, settings=COUNTED) as (left, right):
        join(left, right, start_action=start_action)
        warden = left.warden
        if start_action == "start":
            # A peer that was not ready has refused the first try.
            until(lambda: left.gateway.established(TUNNEL), "the tunnel is up")
        else:
            left.gateway.initiate(TUNNEL)
        ping_through(left.gateway, right.gateway)
        before = left.gateway.established(TUNNEL)
        assert before is not None
        with pinging(left.gateway, right.gateway) as counted:
            if root:
                roll_root(warden)
            number = begin(warden, OLD, same_subject=same_subject)
            right.stop()
            assert move(warden, number, "published") == "published"
            with pytest.raises(LabError, match=f"rollover_gateways_untold.*{right.name}"):
                move(warden, number, "switched")
            right.start()
            switch(warden, number)
            renew(right)
            if root:
                # Its own certificate is below the new root now: who pinned the old one comes by the cross-certificate.
                warden.stop()
                warden.start()
                warden.wait_until_ready()
                speaks_by(warden, NEW)
                for each in (left, right):
                    # One that has lost its service waits longer and longer.
                    each.stop()
                    each.start()
        assert (issuer_of(left), issuer_of(right)) == (OLD, NEW)
        assert top_of(right) == ("root-2" if root else "root")
        assert counted[0].sent > 10
        assert counted[0].lost == 0, counted[0].output
        after = left.gateway.established(TUNNEL)
        assert after is not None
        assert after.number == before.number

        meet(left, right)  # one old and one new
        renew(left)
        assert issuer_of(left) == NEW
        meet(left, right)

        # The certificates before these have not ended.
        with pytest.raises(LabError, match="rollover_certificates_in_force"):
            move(warden, number, "finished")
        assert move(warden, number, "finished", despite=True) == "finished"
        ping_through(left.gateway, right.gateway)
        for name in (OLD, NEW):
            assert x509.load_der_x509_crl(warden.fetch(f"/crl/{name}.crl")).next_update_utc
        assert [each.record["drift"] for each in (left, right)] == [[], []]
        revoked_of_the_successor(left, right)


def revoked_of_the_successor(left: Fed, right: Fed) -> None:
    """Its lists count beside those of the other authority, which may have its subject."""
    path = f"/v1/certificates/{right.serials[0]}"
    left.warden.call("POST", f"{path}/revoke", {"reason": "keyCompromise"})
    until(lambda: left.gateway.established(TUNNEL) is None, "the tunnel has ended")
    until(
        lambda: all(
            each["state"] == "confirmed"
            for each in left.warden.call("GET", f"{path}/reach")["gateways"]
        ),
        "the cut is confirmed",
    )
    mark = left.gateway.log.mark()
    with pytest.raises(Refused):
        right.gateway.initiate(TUNNEL)
    assert left.gateway.log.words("certificate was revoked", since=mark)


# What a peer that knows one root alone is shown of the other one's, and whether charon takes it. It counts a
# cross-certificate of a root against the path length, which RFC 5280 §6.1.4 (l) does not: an authority below the root
# is certified by the other root instead. One that fails after an upgrade of strongSwan is news.
WAYS = [
    ("new with old", None, True),
    ("old with new", None, True),
    ("new with old", 1, False),
    ("the new issuing one with old", 1, True),
]


@pytest.mark.parametrize(("way", "limit", "taken"), WAYS, ids=[f"{w[0]}, {w[1]}" for w in WAYS])
def test_what_charon_makes_of_cross_certificates(
    lab: Lab, way: str, limit: int | None, taken: bool
) -> None:
    roots = [Authority("Lab Root", path_length=limit) for _ in range(2)]
    old, new = reversed(roots) if way == "old with new" else roots
    below = Authority("Lab Issuing", new, serial=2, path_length=None if limit is None else 0)
    shown = [below.by(old, 3)] if "issuing" in way else [below.pem, new.by(old, 3)]
    known = Authority("Lab Issuing", old, serial=4)
    verifier, prover = lab.gateway("verifier"), lab.gateway("prover")
    mine, its = known.leaf("verifier.lab.test", serial=5), below.leaf("prover.lab.test", serial=6)
    verifier.install(mine.key_pem, mine.pem, known.chain)
    prover.install(its.key_pem, its.pem, [*shown, old.pem])
    connect(verifier, prover, revocation="relaxed")
    for first in (verifier, prover):
        mark = verifier.log.mark()
        if taken:
            first.initiate()
            first.terminate()
        else:
            with pytest.raises(Refused):
                first.initiate()
            assert verifier.log.words("path length of 2 violates constraint of 1", since=mark)
        verifier.flush_certs()
