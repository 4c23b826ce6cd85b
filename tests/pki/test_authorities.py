"""Authorities: founded once, with what was asked for and nothing that no verifier accepts."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import update

from core.errors import IkewardenError, Unavailable
from hsm.errors import SignerUnavailable
from hsm.ports import KeyAlgorithm, PrivateKey
from hsm.signonly import SignOnlyEcKey
from pki import authorities, ca_keys, founding, reconcile
from pki.actors import Actor, OutsideScope, Role, Scope
from pki.authorities import AuthorityNotFound, KeyDoesNotFit, NoDefaultAuthority
from pki.desk import Desk
from pki.founding import AuthorityExists, AuthorityRequest, BadAuthority
from store import outbox
from store.tables import authorities as authorities_table
from store.tables import certificates
from tests import judges
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, OPERATOR, Custody, drain, reopened
from tests.pki.acts import certificate_of, count, crl, issue, trail
from tests.pki.requests import DER, private_key


def create(desk: Desk, now: datetime = NOW, **wanted: Any) -> authorities.Authority:
    """Make an authority; an issuing one below `root` unless something else is wished."""
    fields: dict[str, Any] = {
        "name": "new",
        "kind": "issuing",
        "parent": "root",
        "subject": "CN=New,O=Example",
    }
    return founding.create(desk, ADMIN, AuthorityRequest(**{**fields, **wanted}), now=now)


def test_an_authority_works_from_its_first_second(desk: Desk) -> None:
    create(desk)
    drain(desk, NOW)
    made = issue(desk, authority="new")
    assert len(crl(desk, "new")) == 0
    judges.openssl_verify(
        made.der,
        "-crl_check_all",
        "-x509_strict",
        root=certificate_of(desk, "root"),
        between=[certificate_of(desk, "new")],
        crls=[crl(desk, name).public_bytes(DER) for name in ("root", "new")],
    )


def test_what_is_on_record_is_what_was_made(desk: Desk, keys: Custody) -> None:
    made = create(desk, shards=3, path_length=0)
    assert (made.name, made.kind, made.parent, made.status) == ("new", "issuing", "root", "active")
    assert made.shards == 3
    assert [each.subject.rfc4514_string() for each in made.chain] == [
        "CN=New,O=Example",
        "CN=Root,O=Example",
    ]
    assert keys.open(made.key_uri).public_key() == made.public_key
    assert reopened(desk).holdings.authorities == {}
    assert authorities.load(reopened(desk), "new") == made
    assert ("authority.create", "ok") in trail(desk, "authority:new")
    with desk.store.read() as connection:
        assert outbox.depth(connection, NOW).waiting == 1


@pytest.mark.parametrize("algorithm", ["ec-p256", "ec-p384", "ec-p521", "rsa-2048", "ed25519"])
def test_authorities_of_all_kinds_pass_the_judges(
    shared_desk: Desk, algorithm: KeyAlgorithm
) -> None:
    below = create(
        shared_desk,
        name=f"below-{algorithm}",
        subject=f"CN=Below {algorithm}",
        algorithm=algorithm,
        permitted=("dns:corp.example", "ip:192.0.2.0/24"),
        excluded=("dns:lab.corp.example",),
    )
    top = create(
        shared_desk,
        name=f"top-{algorithm}",
        kind="root",
        parent=None,
        subject=f"CN=Top {algorithm}",
        algorithm=algorithm,
        path_length=None,
    )
    root = certificate_of(shared_desk, "root")
    mine = below.certificate.public_bytes(DER)
    judges.openssl_verify(mine, "-x509_strict", root=root)
    assert judges.grave(judges.pkilint_certificate(mine)) == []
    assert judges.grave(judges.pkilint_chain(root, mine)) == []
    alone = top.certificate.public_bytes(DER)
    judges.openssl_verify(alone, "-x509_strict", "-check_ss_sig", root=alone)
    assert judges.grave(judges.pkilint_certificate(alone)) == []


def test_an_authority_that_could_not_be_signed_leaves_no_key(desk: Desk, keys: Custody) -> None:
    before = keys.names()

    def die(name: str) -> None:
        if name.startswith("ca-root-"):
            raise SignerUnavailable("The root's signer is away.")

    keys.before = die
    with pytest.raises(SignerUnavailable):
        create(desk)
    assert keys.names() == before
    keys.before = None
    assert create(desk).name == "new"


class _Killed(BaseException):
    """The process ends here."""


def _die_founding(desk: Desk, keys: Custody) -> str:
    """Found an authority and die when its parent signs; give the name of the key that is left."""
    before = set(keys.names())

    def die(name: str) -> None:
        raise _Killed

    keys.before = die
    with pytest.raises(_Killed):
        create(desk)
    keys.before = None
    (left,) = set(keys.names()) - before
    return left


def test_the_key_of_a_founding_that_died_is_destroyed_a_day_later(
    desk: Desk, keys: Custody
) -> None:
    before = set(keys.names())
    keys.generate("ca-new-of-another-instance", "ec-p256")
    _die_founding(desk, keys)
    create(desk, name="newer", subject="CN=Newer")
    drain(desk, NOW)
    day = timedelta(days=1)
    assert reconcile.settle(desk, CLOCKWORK, now=NOW + day) == 1
    assert ca_keys.remove_dropped(desk, CLOCKWORK, now=NOW + day) == 0
    assert ca_keys.remove_dropped(desk, CLOCKWORK, now=NOW + 2 * day) == 1
    assert ca_keys.remove_dropped(desk, CLOCKWORK, now=NOW + 2 * day) == 0
    left = {name for name in keys.names() if name.startswith("ca-")}
    newer = authorities.load(desk, "newer").key_uri.removeprefix("fake:")
    mine = {name for name in before if name.startswith("ca-")}
    assert left == {*mine, newer, "ca-new-of-another-instance"}
    assert issue(desk, authority="newer")
    assert create(desk).name == "new"


def test_a_key_that_a_certificate_on_record_names_is_left(desk: Desk, keys: Custody) -> None:
    left = _die_founding(desk, keys)
    later = NOW + timedelta(days=2)
    # Nobody has given the intent up yet.
    assert ca_keys.remove_dropped(desk, CLOCKWORK, now=later) == 0
    pending = certificates.c.status == "pending"
    with desk.store.write() as connection:
        connection.execute(update(certificates).where(pending).values(status="revoked"))
    assert ca_keys.remove_dropped(desk, CLOCKWORK, now=later) == 0
    assert left in keys.names()


def test_a_key_that_cannot_be_destroyed_stops_nothing(desk: Desk, keys: Custody) -> None:
    class Stubborn(Custody):
        def destroy(self, uri: str) -> None:
            raise SignerUnavailable("It does not destroy such keys.")

    _die_founding(desk, keys)
    later = NOW + timedelta(days=2)
    reconcile.settle(desk, CLOCKWORK, now=later)
    again = reopened(desk, keys=Stubborn(keys.raw))
    assert ca_keys.remove_dropped(again, CLOCKWORK, now=later) == 0
    assert ca_keys.remove_dropped(desk, CLOCKWORK, now=later) == 1


def test_constraints_are_in_the_certificate_and_obeyed(desk: Desk) -> None:
    made = create(desk, permitted=("dns:corp.example",), excluded=("dns:lab.corp.example",))
    value = made.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert value.critical
    assert value.value.permitted_subtrees == [x509.DNSName("corp.example")]
    assert value.value.excluded_subtrees == [x509.DNSName("lab.corp.example")]
    drain(desk, NOW)
    good = issue(desk, ["dns:a.corp.example"], authority="new")
    judges.openssl_verify(
        good.der, root=certificate_of(desk, "root"), between=[certificate_of(desk, "new")]
    )


def test_no_authority_outlives_its_parent(desk: Desk) -> None:
    made = create(desk, lifetime=timedelta(days=7300))
    assert (
        made.certificate.not_valid_after_utc
        == authorities.load(desk, "root").certificate.not_valid_after_utc
    )


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": ""},
        {"name": "New"},
        {"name": "a_b"},
        {"name": "-a"},
        {"name": "a" * 41},
        {"name": "a\n"},
        {"name": "../a"},
        {"kind": "cross"},
        {"parent": None},
        {"kind": "root"},
        {"subject": ""},
        {"subject": "nonsense"},
        {"subject": "CN="},
        {"subject": "C=DEU,CN=New"},
        {"subject": "CN=" + "x" * 65},
        {"subject": "O=" + "x" * 65},
        {"subject": "CN=a\x00b"},
        {"subject": "CN=Root,O=Example"},
        {"algorithm": "rsa-1024"},
        {"algorithm": "dsa"},
        {"lifetime": timedelta(hours=23)},
        {"lifetime": timedelta(days=366 * 41)},
        {"lifetime": timedelta(days=-1)},
        {"path_length": -1},
        {"path_length": 9},
        {"path_length": 1},
        {"path_length": None},
        {"parent": "issuing"},
        {"shards": -1},
        {"shards": 4097},
    ],
    ids=str,
)
def test_authorities_that_cannot_be(shared_desk: Desk, wanted: dict[str, Any]) -> None:
    keys = shared_desk.keys.names()
    with pytest.raises(BadAuthority) as caught:
        create(shared_desk, **wanted)
    assert caught.value.code == "authority_malformed"
    assert "new" not in authorities.all_names(shared_desk)
    assert shared_desk.keys.names() == keys


@pytest.mark.parametrize("side", ["permitted", "excluded"])
@pytest.mark.parametrize("text", ["dns:*.example", "nonsense", "ip:192.0.2.1/24", "dn:"])
def test_constraints_that_cannot_be(shared_desk: Desk, side: str, text: str) -> None:
    with pytest.raises(IkewardenError) as caught:
        create(shared_desk, **{side: (text,)})
    assert caught.value.code == "name_constraint_malformed"


def test_a_name_is_taken_for_ever(desk: Desk) -> None:
    for kind in ("root", "issuing"):
        with pytest.raises(AuthorityExists) as caught:
            create(desk, name="issuing", kind=kind, parent="root" if kind == "issuing" else None)
        assert caught.value.code == "authority_exists"


def test_a_parent_that_is_not_there(desk: Desk) -> None:
    for parent in ("nope", "root\x00", "x" * 1000):
        with pytest.raises(AuthorityNotFound):
            create(desk, parent=parent)


def test_a_retired_parent_founds_no_more(desk: Desk) -> None:
    with desk.store.write() as connection:
        connection.execute(
            update(authorities_table)
            .where(authorities_table.c.name == "root")
            .values(status="retired")
        )
    with pytest.raises(IkewardenError) as caught:
        create(reopened(desk))
    assert caught.value.code == "authority_retired"


def test_a_parent_whose_time_is_over_founds_no_more(desk: Desk) -> None:
    end = authorities.load(desk, "root").certificate.not_valid_after_utc
    for late in (end, end + timedelta(days=1)):
        with pytest.raises(IkewardenError) as caught:
            create(desk, now=late)
        assert caught.value.code == "authority_expired"


def test_a_subject_outside_the_parents_constraints(desk: Desk) -> None:
    # RFC 5280 §4.2.1.10: constraints apply to the subjects of all certificates below.
    create(desk, name="top", kind="root", parent=None, path_length=1, permitted=("dn:O=Example",))
    with pytest.raises(IkewardenError) as caught:
        create(desk, name="below", parent="top", subject="CN=Below,O=Other")
    assert caught.value.code == "name_outside_constraints"
    below = create(desk, name="below", parent="top", subject="CN=Below,O=Example")
    judges.openssl_verify(below.certificate.public_bytes(DER), root=certificate_of(desk, "top"))


def test_path_lengths_go_down(desk: Desk) -> None:
    create(desk, name="top", kind="root", parent=None, path_length=2, subject="CN=Top")
    create(desk, name="middle", parent="top", path_length=1, subject="CN=Middle")
    last = create(desk, name="last", parent="middle", path_length=0, subject="CN=Last")
    with pytest.raises(BadAuthority):
        create(desk, name="too-deep", parent="last", subject="CN=Too deep")
    judges.openssl_verify(
        last.certificate.public_bytes(DER),
        "-x509_strict",
        root=certificate_of(desk, "top"),
        between=[certificate_of(desk, "middle")],
    )


def test_a_dead_signer_founds_nothing(desk: Desk, keys: Custody) -> None:
    keys.fail()
    with pytest.raises(Unavailable):
        create(desk)
    assert "new" not in authorities.all_names(desk)
    assert count(desk, certificates, certificates.c.status == "pending") == 1
    keys.heal()
    create(desk)


def test_a_signer_that_signs_wrongly_founds_nothing(desk: Desk, keys: Custody) -> None:
    root = authorities.load(desk, "root").key_uri
    raw = keys.raw[root.removeprefix("fake:")]
    other = private_key("ec-p256")

    class Faulty(Custody):
        def open(self, uri: str) -> PrivateKey:
            if uri != root:
                return super().open(uri)
            return SignOnlyEcKey(raw.public_key(), other.sign)  # type: ignore[arg-type]  # both EC

    with pytest.raises(KeyDoesNotFit) as caught:
        create(reopened(desk, keys=Faulty(keys.raw)))
    assert caught.value.code == "authority_key_mismatch"
    assert "new" not in authorities.all_names(desk)


def test_the_scope_of_the_credential_holds(desk: Desk) -> None:
    narrow = Actor("a", Role.ADMIN, scope=Scope(authorities=("issuing", "new")))
    wanted = AuthorityRequest(name="new", kind="issuing", parent="root", subject="CN=New")
    with pytest.raises(OutsideScope):
        founding.create(desk, narrow, wanted, now=NOW)  # the parent is not in the scope
    for scope in (Scope(names=("dns:*.a.example",)), Scope(profiles=("gateway",))):
        with pytest.raises(OutsideScope):
            founding.create(desk, Actor("a", Role.ADMIN, scope=scope), wanted, now=NOW)
    with pytest.raises(OutsideScope):
        authorities.get(desk, narrow, "root")
    assert [each.name for each in authorities.list_(desk, narrow)] == ["issuing"]
    assert authorities.get(desk, narrow, "issuing").name == "issuing"


def test_choosing_an_authority(desk: Desk) -> None:
    assert authorities.choose(desk, OPERATOR, None, now=NOW).name == "issuing"
    assert authorities.choose(desk, OPERATOR, "sharded", now=NOW).name == "sharded"

    def limited(*names: str) -> Actor:
        return Actor("o", Role.OPERATOR, scope=Scope(authorities=names))

    # Agents name none: that of their enrollment is meant.
    assert authorities.choose(desk, limited("sharded"), None, now=NOW).name == "sharded"
    assert authorities.choose(desk, limited("sharded", "new"), None, now=NOW).name == "sharded"
    for several_or_none in (("sharded", "root"), ("new",), ()):
        with pytest.raises(OutsideScope):
            authorities.choose(desk, limited(*several_or_none), None, now=NOW)
    several = reopened(desk, default_authority=None)
    with pytest.raises(NoDefaultAuthority):
        authorities.choose(several, OPERATOR, None, now=NOW)
    with desk.store.write() as connection:
        connection.execute(
            update(authorities_table)
            .where(authorities_table.c.name == "sharded")
            .values(status="retired")
        )
    assert authorities.choose(several, OPERATOR, None, now=NOW).name == "issuing"


def test_urls_are_below_the_validation_url(desk: Desk) -> None:
    base = desk.rules.validation_url
    found = issue(desk)
    extensions = x509.load_der_x509_certificate(found.der).extensions
    points = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert [each.value for each in points[0].full_name or []] == [f"{base}/crl/issuing.crl"]
    assert authorities.delta_crl_url(desk, "issuing") == f"{base}/crl/issuing/delta.crl"
    assert authorities.shard_crl_url(desk, "sharded", 3) == f"{base}/crl/sharded/3.crl"
    assert partial(authorities.ocsp_url, desk)("issuing") == f"{base}/ocsp/issuing"
    assert authorities.certificate_url(desk, "root") == f"{base}/ca/root.crt"
