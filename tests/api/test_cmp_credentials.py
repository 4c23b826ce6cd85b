"""CMP: one credential and one key in several transactions, and tokens that are good for nothing any more."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from pki import reconcile, tokens
from pki.tokens import CreatedToken
from tests.api import cmpcrafting as crafting
from tests.api.cmpcrafting import Template, confirmation, crafted, csr, poll
from tests.api.cmping import Told, token_of
from tests.api.cmpscene import Device, Scene, fresh, new_key, set_scene
from tests.api.site import CLOCKWORK, CONSOLE, Site
from tests.api.test_cmp_breaking import at_once, end_unconfirmed, on_record, refused


@pytest.fixture(scope="module")
def scene(site: Site) -> Scene:
    """One process with several endpoints."""
    return set_scene(site)


@pytest.fixture
def device(scene: Scene) -> Iterator[Device]:
    """A device with a token for several certificates."""
    made = Device(scene)
    made.__dict__["token"] = token_of(scene.site, made.name, uses=9)
    yield made
    scene.site.clock.ahead = timedelta(0)


def asked(device: Device, way: str, number: int) -> list[crafting.Crafted]:
    """Messages for the same key in as many transactions."""
    assert device.certificate
    body = Template(device.name, new_key()).body()
    return [device.says(way, crafting.IR, body, fresh()) for _ in range(number)]


WAYS = pytest.mark.parametrize("way", ["PBM", "signature"])


@WAYS
def test_several_transactions_at_once_make_one_certificate(
    scene: Scene, device: Device, way: str
) -> None:
    messages = asked(device, way, 4)
    before = scene.recorded()
    answers = at_once(scene, messages)
    assert scene.recorded() == before + 1
    made = {each.certificate for each in answers} - {None}
    assert len(made) == 1
    assert {each.status for each in answers} <= {0, 1, 3}
    assert {scene.send(each, "devices").certificate for each in messages} == made


@WAYS
def test_a_transaction_that_comes_while_another_is_signed_waits_and_polls(
    scene: Scene, device: Device, way: str
) -> None:
    first, second = asked(device, way, 2)
    scene.site.keys.fail()
    try:
        assert refused(scene.send(first, "devices"))
        told = scene.send(second, "devices")
    finally:
        scene.site.keys.heal()
    assert (told.status, told.certificate) == (3, None)
    polled = replace(
        second, tag=crafting.POLL_REQ, body=poll(0), answers=told.nonce, nonce=b"p" * 16
    )
    assert scene.send(polled, "devices").kind == "pollRep"
    # Nobody signs it: it is made anew, for whoever asks first.
    scene.site.clock.ahead = 2 * reconcile.PATIENCE
    reconcile.settle(scene.site.desk, CLOCKWORK, now=scene.site.clock())
    got = scene.send(polled, "devices")
    assert got.certificate is not None
    assert scene.send(first, "devices").certificate == got.certificate
    assert say(scene, second, got, accepted=True).kind == "pkiconf"
    end_unconfirmed(scene)
    assert on_record(scene, got.certificate).status == "valid"


def say(scene: Scene, of: crafting.Crafted, told: Told, *, accepted: bool) -> Told:
    """Take what was given, or do not."""
    number = -1 if of.tag == crafting.P10CR else 0
    body = confirmation(told.certificate or b"", number, accepted=accepted)
    return scene.send(
        replace(of, tag=crafting.CERT_CONF, body=body, answers=told.nonce, nonce=b"c" * 16),
        "devices",
    )


@WAYS
def test_after_a_death_the_first_transaction_gets_what_the_second_was_given(
    scene: Scene, device: Device, way: str
) -> None:
    first, second = asked(device, way, 2)
    scene.site.keys.fail()
    try:
        assert refused(scene.send(first, "devices"))
    finally:
        scene.site.keys.heal()
    scene.site.clock.ahead = 2 * reconcile.PATIENCE
    reconcile.settle(scene.site.desk, CLOCKWORK, now=scene.site.clock())
    made = scene.send(second, "devices").certificate
    again = scene.send(first, "devices")
    assert made is not None
    assert again.certificate == made
    assert say(scene, first, again, accepted=True).kind == "pkiconf"
    end_unconfirmed(scene)
    assert on_record(scene, made).status == "valid"


def enrolled(scene: Scene, device: Device) -> tuple[CreatedToken, crafting.Crafted, Told]:
    """A device that has used its token up: the token, what it sent (as anybody on the way sees), what it got."""
    spent = device.new_token()
    message = crafted(spent, crafting.P10CR, csr(device.name), fresh())
    told = scene.send(message, "devices")
    assert told.certificate is not None
    return spent, message, told


def test_a_token_that_was_revoked_begins_no_transaction(scene: Scene, device: Device) -> None:
    """Not even one of what it was given."""
    spent, message, told = enrolled(scene, device)
    tokens.revoke(scene.site.desk, CONSOLE, spent.view.id, now=scene.site.clock())
    replayed = crafted(spent, crafting.P10CR, message.body, fresh())
    assert refused(scene.send(replayed, "devices"))[1] == "token_refused"
    assert on_record(scene, told.certificate).status == "valid"


def test_a_copy_of_a_request_does_not_end_a_certificate_that_was_confirmed(
    scene: Scene, device: Device
) -> None:
    spent, message, told = enrolled(scene, device)
    assert say(scene, message, told, accepted=True).kind == "pkiconf"
    copy = crafted(spent, crafting.P10CR, message.body, fresh())
    again = scene.send(copy, "devices")
    assert again.certificate == told.certificate
    assert say(scene, copy, again, accepted=False).kind == "pkiconf"
    assert on_record(scene, told.certificate).status == "valid"


def test_who_lost_the_answer_may_still_reject_what_it_is_given_again(
    scene: Scene, device: Device
) -> None:
    spent, message, _ = enrolled(scene, device)
    copy = crafted(spent, crafting.P10CR, message.body, fresh())
    again = scene.send(copy, "devices")
    assert say(scene, copy, again, accepted=False).kind == "pkiconf"
    assert on_record(scene, again.certificate).status == "revoked"


def test_nobody_rejects_what_is_not_signed_yet(scene: Scene, device: Device) -> None:
    """It would be signed after that, and nobody would end it."""
    message = crafted(device.token, crafting.P10CR, csr(device.name), fresh())
    scene.site.keys.fail()
    try:
        assert refused(scene.send(message, "devices"))
        waits = scene.send(message, "devices")
    finally:
        scene.site.keys.heal()
    assert waits.status == 3
    nothing = replace(
        message, tag=crafting.CERT_CONF, body=b"\x30\x00", answers=waits.nonce, nonce=b"c" * 16
    )
    assert refused(scene.send(nothing, "devices"))[1] == "cmp_transaction_unknown"
