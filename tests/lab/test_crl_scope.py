"""What charon makes of the scope of CRLs, of deltas, of OCSP, and of its caches.

These tests hold the daemon's behaviour of today, also where it is wrong, because the CA is built
around it (docs/explanation and docs/how-to/lab.md say how). One that fails after an upgrade of
strongSwan is news, not a fault of the CA: read what has changed, then change the CA's rules and the
test together.
"""

from collections.abc import Sequence

import pytest
from cryptography.x509 import Certificate, ReasonFlags
from cryptography.x509.ocsp import OCSPCertStatus

from tests.lab import Lab, Refused
from tests.lab.handmade import HOUR, Authority

GOOD, REVOKED, THIRD = 0xB0, 0xA1, 0xC0
COMPROMISED = [(REVOKED, ReasonFlags.key_compromise)]
NOT_CHECKED = "constraint check failed: RULE_CRL_VALIDATION is {}, but requires at least GOOD"


class Scene:
    """A verifier with `revocation = strict` and a prover that can be several gateways."""

    def __init__(self, lab: Lab, *, root_crl: bool = True) -> None:
        self.site = lab.site()
        self.root = Authority("Lab Root")
        url = self.site.put("/root.crl", self.root.crl(1)) if root_crl else ""
        self.ca = Authority("Lab Issuing", self.root, crl_url=url, serial=2)
        self.full = self.site.url + "/ca.crl"
        self.shards = [self.site.url + f"/ca/{number}.crl" for number in range(2)]
        self.verifier, self.prover = lab.gateway("verifier"), lab.gateway("prover")
        self.certificates: dict[str, Certificate] = {}
        self._mark = 0
        own = self.ca.leaf("verifier.lab.test", serial=0x10)
        self.verifier.install(own.key_pem, own.pem, self.ca.chain)
        self.verifier.add_connection("any", self._connection("any", "%any"))

    def _connection(self, name: str, remote_id: str) -> dict[str, object]:
        here, there = self.verifier, self.prover
        identity = here.identity
        if name != "any":
            here, there = there, here
            identity = here.credentials(name).identity
        anchors = self.verifier.credentials().anchors
        return {
            "version": 2,
            "local_addrs": here.outside,
            "remote_addrs": there.outside,
            "send_cert": "always",
            "local": {"auth": "pubkey", "id": identity},
            "remote": {
                "auth": "pubkey",
                "id": remote_id,
                "cacerts": ", ".join(anchors),
                # Only the verifier's judgement is looked at.
                "revocation": "strict" if name == "any" else "relaxed",
            },
            "children": {
                name: {"local_ts": here.inside.network, "remote_ts": there.inside.network}
            },
        }

    def peer(
        self, name: str, serial: int, crl_urls: Sequence[str] = (), ocsp_url: str = ""
    ) -> None:
        """Let the prover be one more gateway."""
        leaf = self.ca.leaf(f"{name}.lab.test", serial=serial, crl_urls=crl_urls, ocsp_url=ocsp_url)
        self.prover.install(leaf.key_pem, leaf.pem, self.ca.chain, name=name)
        self.prover.add_connection(name, self._connection(name, self.verifier.identity))
        self.certificates[name] = leaf.certificate

    def admits(self, name: str) -> bool:
        """Whether the verifier lets this one in now; its words are in `said` afterwards."""
        self._mark = self.verifier.log.mark()
        try:
            self.prover.initiate(name)
        except Refused:
            return False
        self.prover.terminate(name)
        return True

    def said(self, pattern: str) -> list[str]:
        """The verifier's words at the last try."""
        return self.verifier.log.words(pattern, self._mark)

    def forget(self, kind: str = "any") -> None:
        self.verifier.flush_certs(kind)


@pytest.fixture
def scene(lab: Lab) -> Scene:
    return Scene(lab)


# scope


def test_a_full_crl_refuses_whom_it_lists(scene: Scene) -> None:
    scene.site.put("/ca.crl", scene.ca.crl(10, COMPROMISED))
    scene.peer("good", GOOD, [scene.full])
    scene.peer("bad", REVOKED, [scene.full])
    assert not scene.admits("bad")
    assert scene.said("certificate was revoked on .* reason: key compromise")
    assert scene.admits("good")
    assert scene.said("using cached crl"), "one fetch serves the whole authority"
    assert not scene.admits("bad")


def test_the_scope_of_a_shard_is_ignored(scene: Scene) -> None:
    scene.site.put("/ca/0.crl", scene.ca.crl(10, scope=scene.shards[0]))
    scene.site.put("/ca/1.crl", scene.ca.crl(11, COMPROMISED, scope=scene.shards[1]))
    scene.peer("good", GOOD, [scene.shards[0]])
    scene.peer("bad", REVOKED, [scene.shards[1]])
    assert not scene.admits("bad"), "with an empty cache the right shard is fetched"
    scene.forget()
    assert scene.admits("good")

    assert scene.admits("bad"), "charon has learnt to respect issuingDistributionPoint"

    assert scene.said("using cached crl")
    assert scene.said("certificate status is good")


def test_a_shard_in_the_cache_hides_the_full_crl(scene: Scene) -> None:
    scene.site.put("/ca.crl", scene.ca.crl(10, COMPROMISED))
    scene.site.put("/ca/0.crl", scene.ca.crl(11, scope=scene.shards[0]))
    scene.peer("sharded", THIRD, [scene.shards[0]])
    scene.peer("bad", REVOKED, [scene.full])
    assert scene.admits("sharded")
    assert scene.admits("bad"), "charon no longer judges by a shard of others"


def test_a_shard_passes_for_the_full_crl(scene: Scene) -> None:
    """Whoever sits on the path of plain HTTP can do this, so shards must not even be signed."""
    scene.site.put("/ca.crl", scene.ca.crl(11, scope=scene.shards[0]))
    scene.peer("bad", REVOKED, [scene.full])
    assert scene.admits("bad"), "charon now compares the IDP with the CDP"


def test_strict_wants_the_status_of_the_issuing_ca_too(lab: Lab) -> None:
    scene = Scene(lab, root_crl=False)
    scene.site.put("/ca.crl", scene.ca.crl(10))
    scene.peer("good", GOOD, [scene.full])
    assert not scene.admits("good")
    assert scene.said("certificate status is good")
    assert scene.said(NOT_CHECKED.format("SKIPPED"))


def test_strict_refuses_while_the_root_crl_cannot_be_had(scene: Scene) -> None:
    scene.site.put("/ca.crl", scene.ca.crl(10))
    scene.site.remove("/root.crl")
    scene.peer("good", GOOD, [scene.full])
    assert not scene.admits("good")
    assert scene.said(NOT_CHECKED.format("FAILED"))


def test_strict_refuses_on_a_stale_crl(scene: Scene) -> None:
    scene.site.put("/ca.crl", scene.ca.crl(10, expires=-HOUR))
    scene.peer("good", GOOD, [scene.full])
    assert not scene.admits("good")
    assert scene.said(NOT_CHECKED.format("STALE"))


# caches


def test_a_newer_crl_is_not_fetched_before_the_cached_one_expires(scene: Scene) -> None:
    scene.site.put("/ca.crl", scene.ca.crl(10))
    scene.peer("bad", REVOKED, [scene.full])
    assert scene.admits("bad")
    scene.site.put("/ca.crl", scene.ca.crl(11, COMPROMISED))
    assert scene.admits("bad")
    scene.forget("x509_crl")
    assert not scene.admits("bad")


def test_a_pushed_crl_counts_only_after_a_flush(scene: Scene) -> None:
    scene.site.put("/ca.crl", scene.ca.crl(10))
    scene.peer("bad", REVOKED, [scene.full])
    assert scene.admits("bad")
    scene.verifier.install_crl(scene.ca.crl(11, COMPROMISED))
    assert scene.admits("bad"), "a push now takes effect by itself"
    scene.forget("x509_crl")
    assert not scene.admits("bad")
    assert scene.said("using cached crl"), "the pushed one was used, nothing was fetched"


def test_a_released_hold_is_felt_at_once_by_crl(scene: Scene) -> None:
    scene.site.put("/ca.crl", scene.ca.crl(10, [(REVOKED, ReasonFlags.certificate_hold)]))
    scene.peer("held", REVOKED, [scene.full])
    assert not scene.admits("held")
    scene.site.put("/ca.crl", scene.ca.crl(11))
    assert scene.admits("held")


# deltas


def test_a_delta_counts_only_with_the_very_base_it_names(scene: Scene) -> None:
    delta = scene.site.url + "/delta.crl"
    scene.site.put("/ca.crl", scene.ca.crl(10, freshest=delta))
    scene.site.put("/delta.crl", scene.ca.crl(11, COMPROMISED, base=10))
    scene.peer("bad", REVOKED, [scene.full])
    assert not scene.admits("bad")
    scene.forget()
    scene.site.put("/delta.crl", scene.ca.crl(21, COMPROMISED, base=20))
    assert scene.admits("bad"), "a delta to another base is no longer ignored"
    scene.forget()
    scene.site.remove("/delta.crl")
    assert scene.admits("bad"), "strict now insists on the delta"


def test_remove_from_crl_in_a_delta_is_read_as_revoked(scene: Scene) -> None:
    delta = scene.site.url + "/delta.crl"
    scene.site.put("/ca.crl", scene.ca.crl(10, freshest=delta))
    released = [(REVOKED, ReasonFlags.remove_from_crl)]
    scene.site.put("/delta.crl", scene.ca.crl(11, released, base=10))
    scene.peer("released", REVOKED, [scene.full])
    assert not scene.admits("released"), "charon has learnt removeFromCRL"
    assert scene.said("certificate was revoked on .* reason: remove from crl")


# OCSP


def test_ocsp_is_asked_first_and_its_answer_is_final(scene: Scene) -> None:
    signer = scene.ca.ocsp_signer()
    scene.site.put("/ca.crl", scene.ca.crl(10, COMPROMISED))
    scene.peer("bad", REVOKED, [scene.full], scene.site.url + "/ocsp")
    certificate = scene.certificates["bad"]

    def answer(status: OCSPCertStatus, reason: ReasonFlags | None = None) -> None:
        scene.forget()
        scene.site.put("/ocsp", scene.ca.ocsp_answer(signer, certificate, status, reason))

    answer(OCSPCertStatus.GOOD)
    assert scene.admits("bad"), "a good answer, pre-signed and without the nonce asked for, counts"
    assert not scene.said("fetching crl from .*/ca.crl")
    answer(OCSPCertStatus.REVOKED, ReasonFlags.key_compromise)
    assert not scene.admits("bad")
    assert scene.said("certificate was revoked on .* reason: key compromise")
    assert not scene.said("fetching crl")
    answer(OCSPCertStatus.UNKNOWN)
    assert not scene.admits("bad")
    assert scene.said("ocsp check failed, fallback to crl")
    scene.forget()
    scene.site.remove("/ocsp")
    assert not scene.admits("bad")
    assert scene.said("fetching crl from .*/ca.crl")


def test_a_hold_learnt_by_ocsp_stays_until_a_flush(scene: Scene) -> None:
    signer = scene.ca.ocsp_signer()
    scene.peer("held", REVOKED, ocsp_url=scene.site.url + "/ocsp")
    certificate = scene.certificates["held"]
    held, hold = OCSPCertStatus.REVOKED, ReasonFlags.certificate_hold
    scene.site.put("/ocsp", scene.ca.ocsp_answer(signer, certificate, held, hold))
    assert not scene.admits("held")
    released = scene.ca.ocsp_answer(signer, certificate, OCSPCertStatus.GOOD)
    scene.site.put("/ocsp", released)
    assert not scene.admits("held")
    scene.forget("ocsp_response")
    assert scene.admits("held")
