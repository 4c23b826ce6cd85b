"""By what the ends proved themselves: what is known, how, and what is not."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ike.daemons.port import fingerprint
from ike.daemons.strongswan.listing import Listed
from ike.daemons.strongswan.sightings import Sighting
from ike.sas import charon, pluto, windows
from ike.sas.association import INFERRED, NOTED, TOLD, Association, Proof, document
from ike.sas.proofs import Charon, Pluto
from ike.sas.text import lines
from tests.lab.handmade import Authority

VICI = Path(__file__).parent / "samples/vici.json"
LEFT, RIGHT = "left.example.net", "right.example.net"
ROOT = Authority("Lab Root")


def leaf(name: str, serial: int, *, own: bool = False) -> Listed:
    made = x509.load_pem_x509_certificate(ROOT.leaf(name, serial=serial).pem)
    return Listed(made, fingerprint(made), has_key=own, authority=False)


def conn(auth: str, **more: Any) -> dict[str, Any]:
    return {"site": {"local-1": {"class": auth}, "remote-1": {"class": auth}, **more}}


def of_charon(held: Charon) -> Association:
    (found,) = charon.associations(json.loads(VICI.read_text()), held)
    return found


def test_the_only_certificate_of_an_identity_is_taken_for_it() -> None:
    own, peer = leaf(LEFT, 0xA0, own=True), leaf(RIGHT, 0xB0)
    found = of_charon(Charon(conn("public key"), [peer, own, leaf("other.example.net", 0xC0)]))
    assert found.remote_proof == Proof(
        "certificate", INFERRED, f"CN={RIGHT}", "b0", peer.fingerprint
    )
    assert found.local_proof is not None
    assert (found.local_proof.serial, found.local_proof.basis) == ("a0", INFERRED)
    shown = "\n".join(lines([found]))
    assert "the peer by certificate CN=right.example.net, serial b0, SHA-256" in shown
    assert max(map(len, lines([found]))) <= 80
    told = document(found)["remote_proof"]
    assert (told["serial"], told["basis"], told["secret"]) == ("b0", "inferred", None)


def test_of_two_certificates_the_agent_knows_which() -> None:
    peers = [leaf(RIGHT, 0xB0), leaf(RIGHT, 0xB1)]
    held = Charon(conn("public key"), peers)
    proof = of_charon(held).remote_proof
    assert proof is not None
    assert (proof.basis, proof.subject) == (INFERRED, "")
    assert proof.remark == (
        "charon holds 2 certificates of this identity: which certificate it was is not told"
    )
    raw = json.loads(VICI.read_text())[0]["site"]
    key = f"{raw['initiator-spi']}:{raw['responder-spi']}"
    seen = Charon(conn("public key"), peers, noted={key: Sighting(peers[1].fingerprint, None)})
    proof = of_charon(seen).remote_proof
    assert proof is not None
    assert (proof.basis, proof.serial) == (NOTED, "b1")
    gone = Charon(conn("public key"), noted=seen.noted)
    assert of_charon(gone).remote_proof == Proof(
        "certificate", NOTED, fingerprint=peers[1].fingerprint
    )


@pytest.mark.parametrize(
    ("held", "proof"),
    [
        (
            Charon(conn("pre-shared key"), secrets=["k"]),
            Proof("pre-shared key", INFERRED, secret="k"),
        ),
        (
            Charon(conn("pre-shared key"), secrets=["a", "b"]),
            Proof(
                "pre-shared key",
                INFERRED,
                remark="charon lists 2 secrets, and does not tell for whom they are",
            ),
        ),
        (Charon(conn("any")), Proof(remark="the connection leaves the method open")),
        (Charon(), Proof(remark="the daemon has no connection of this name any longer")),
        (Charon(conn("EAP")), Proof("EAP", INFERRED)),
    ],
)
def test_what_is_not_known_is_said(held: Charon, proof: Proof) -> None:
    assert of_charon(held).remote_proof == proof


def test_rounds_follow_each_other() -> None:
    held = Charon(conn("public key", **{"remote-2": {"class": "EAP"}}))
    proof = of_charon(held).remote_proof
    assert proof is not None
    assert proof.method == "certificate + EAP"


STATUS = """\
000 "t": 10.1.0.0/24===192.0.2.1[@l]...192.0.2.2[@r]===10.2.0.0/24; erouted; eroute owner: #2
000 "t":     oriented; my_ip=unset; their_ip=unset; mycert=own; my_updown=ipsec _updown;
000 "t":   our auth:ecdsa, their auth:ecdsa, our autheap:none, their autheap:none;
000 "t":   CAs: 'CN=Lab Root'...'CN=Lab Root'
000 "t":   ike_life: 28800s; ipsec_life: 3600s; ipsec_max_bytes: 2^63B; rekey_margin: 540s;
000 "t":   policy: IKEv2+ECDSA+ENCRYPT+TUNNEL+PFS+REAUTH+UP+ESN_NO+ESN_YES;
000 "t":   our idtype: ID_FQDN; our id=@l; their idtype: ID_FQDN; their id=@r
000 "t":   IKEv2 algorithm newest: AES_GCM_16_256-HMAC_SHA2_512-MODP2048
000 "t":   ESP algorithm newest: AES_GCM_16_256-NONE; pfsgroup=<Phase1>
000 #1: "t":500 STATE_V2_ESTABLISHED_IKE_SA (established IKE SA); REPLACE in 28799s; newest; idle;
000 #2: "t":500 STATE_V2_ESTABLISHED_CHILD_SA (established Child SA); REKEY in 27s; REPLACE in 90s; IKE SA #1;
"""
CERTIFICATES = """\
000 End certificate "own" - SN: 0x00a0
000   subject: CN=left.lab.test
000   issuer: CN=Lab Root
"""
SECRETS = """\
000 List of Pre-shared secrets (from /etc/ipsec.secrets)
000     0: ECDSA (none) (none)
000     7: PSK @r @l
"""


def test_pluto_by_certificates() -> None:
    (found,) = pluto.associations("", STATUS, Pluto(CERTIFICATES, SECRETS))
    assert found.local_proof == Proof("certificate", INFERRED, "CN=left.lab.test", "a0")
    assert found.remote_proof is not None
    assert (found.remote_proof.method, found.remote_proof.subject) == ("certificate", "")
    assert found.remote_proof.remark.startswith("one of CN=Lab Root; which certificate it was")
    assert found.reauth_seconds == 28799
    (child,) = found.children
    assert (child.algorithms, child.lifetime_seconds) == ("AES_GCM_16_256-NONE", 3600)
    (bare,) = pluto.associations("", STATUS)
    assert bare.local_proof == Proof(
        "certificate", INFERRED, remark="its name in the database is own"
    )


@pytest.mark.parametrize(
    ("secrets", "secret", "remark"),
    [
        (SECRETS, "line 7 of its secrets", ""),
        ("", "", "which one it was is not in the status"),
        (SECRETS + "000     9: PSK @r @l\n", "", "pluto lists 2 keys for these two by their names"),
    ],
)
def test_pluto_by_a_secret(secrets: str, secret: str, remark: str) -> None:
    (found,) = pluto.associations("", STATUS.replace("ecdsa", "secret"), Pluto("", secrets))
    assert found.remote_proof == Proof("pre-shared key", INFERRED, secret=secret, remark=remark)


def test_windows_tells_the_method_and_no_certificate() -> None:
    netsh = (
        "Main Mode SA at 11/29/2026 12:00:00\nLocal IP Address: 192.0.2.1\n"
        "Remote IP Address: 192.0.2.2\nAuth1: ComputerCert\nAuth2: UserKerb\n"
    )
    (found,) = windows.of_netsh(netsh)
    said = "Windows does not tell which certificate"
    assert found.remote_proof == Proof("certificate + Kerberos", TOLD, remark=said)
    identity = {"AuthenticationMethod": 1, "Flags": 0, "Identity": "CN=gw2", "ImpersonationType": 0}
    (found,) = windows.of_powershell([{"InitiatorCookie": 1, "RemoteFirstId": identity}])
    assert (found.remote_id, found.local_proof) == ("CN=gw2", None)
    assert found.remote_proof is not None
    assert (found.remote_proof.method, found.remote_proof.basis) == ("certificate", INFERRED)


@pytest.mark.parametrize(
    ("method", "proof"),
    [({"value": 1, "Value": "MachineCert"}, "certificate"), ([1], None), ({}, None), ("1", None)],
)
def test_the_method_of_windows_in_any_form(method: object, proof: str | None) -> None:
    """PowerShell may write the number of an enumeration as an object."""
    identity = {"AuthenticationMethod": method, "Identity": "CN=gw2"}
    (found,) = windows.of_powershell([{"InitiatorCookie": 1, "RemoteFirstId": identity}])
    assert (found.remote_proof.method if found.remote_proof else None) == proof
