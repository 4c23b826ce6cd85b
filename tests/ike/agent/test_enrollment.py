"""Enrollment: one line, one pinned root, nothing secret to strangers, and no gateway left without a key."""

import base64
import json
from datetime import timedelta

import pytest

from ike.agent.channel import AnswerBroken, ServerRefused, ServerUnreachable, ServerUntrusted
from ike.agent.enrollment import (
    AlreadyEnrolled,
    ClockWrong,
    EnrollmentForOther,
    EnrollmentMalformed,
    EnrollmentSpent,
    PinMismatch,
    read_line,
)
from ike.agent.errors import NotEnrolled
from ike.agent.keys import CertificateUnusable, kind_of
from tests.ike.agent.conftest import Place
from tests.ike.agent.miniservice import GATEWAY, NAMES, MiniService


def test_one_line_gives_a_certificate_for_a_key_made_here(
    place: Place, service: MiniService
) -> None:
    place.enroll()
    (made,) = place.home.generations.all()
    assert made.stage == "issued"
    assert made.certified == service.issued[-1]
    assert made.chain == (service.issuing.certificate,)
    assert place.home.settings().gateway == GATEWAY
    assert place.home.settings().url == service.url
    assert place.home.root() == service.root.certificate
    (_, _, body) = next(each for each in service.requests if each[1] == "/v1/certificates")
    assert (body["profile"], body["gateway"]) == ("gateway", GATEWAY)
    assert "PRIVATE" not in json.dumps(service.requests)
    place.once()
    place.in_order()


@pytest.mark.parametrize("kind", ["ec-p384", "rsa-3072", "ed25519"])
def test_other_kinds_of_keys(place: Place, kind: str) -> None:
    from dataclasses import replace

    place.settings = replace(place.settings, key_type=kind)
    place.enroll()
    place.once()
    place.in_order()
    assert kind_of(place.home.generations.all()[0].key) == kind


def test_the_first_connection_carries_nothing_secret(place: Place, service: MiniService) -> None:
    place.enroll()
    first = service.requests[0]
    assert first[:2] == ("GET", "/v1/trust")
    assert first[2] == {"_token": None}


def test_a_wrong_pin_sends_no_token(place: Place, service: MiniService) -> None:
    with pytest.raises(PinMismatch, match="pinned root"):
        place.enroll(service.line(p="0" * 64))
    assert [each[1] for each in service.requests] == ["/v1/trust"]
    assert place.home.generations.all() == ()


def test_a_service_under_another_name_is_not_believed(place: Place, service: MiniService) -> None:
    with pytest.raises(ServerUntrusted, match="another name"):
        place.enroll(service.line(u=f"https://127.0.0.1:{service.port}"))
    assert not [each for each in service.requests if each[2]["_token"]]


def test_a_replayed_token_is_told_as_what_it_is(place: Place, service: MiniService) -> None:
    service.uses = 0
    with pytest.raises(EnrollmentSpent) as caught:
        place.enroll()
    assert "gateway enrollment" in caught.value.next_step
    assert service.token not in caught.value.message


def test_another_gateways_name(place: Place, service: MiniService) -> None:
    with pytest.raises(EnrollmentForOther, match=GATEWAY):
        place.enroll(service.line(n="gw2.example.com"))
    service.answer_with(
        "/v1/certificates", 403, {"code": "outside_scope", "detail": "Not for gw1.example.com."}
    )
    with pytest.raises(EnrollmentForOther, match=r"Not for gw1\.example\.com"):
        place.enroll()


@pytest.mark.parametrize(("hours", "word"), [(3, "behind"), (-3, "ahead of")])
def test_clocks_too_far_apart_are_said_and_cost_no_token(
    place: Place, service: MiniService, hours: int, word: str
) -> None:
    service.date_offset = timedelta(hours=hours)
    with pytest.raises(ClockWrong, match=rf"{word} the service's") as caught:
        place.enroll()
    assert "2:59:" in caught.value.message or "3:00:" in caught.value.message
    service.date_offset = timedelta()
    place.enroll()


def test_no_service(place: Place, service: MiniService) -> None:
    service.down()
    with pytest.raises(ServerUnreachable, match="connection refused"):
        place.enroll()


def test_an_answer_that_is_cut_off_changes_nothing_and_the_same_line_goes_on(
    place: Place, service: MiniService
) -> None:
    service.cut_off = True
    with pytest.raises(ServerUnreachable, match="lost before the whole answer"):
        place.enroll()
    service.cut_off = False
    service.answer_with("/v1/certificates", 201, {"serial": "1"}, times=1)
    with pytest.raises(CertificateUnusable):
        place.enroll()
    place.enroll()
    assert len(place.home.generations.all()) == 1


def test_a_lost_answer_is_asked_for_again_with_the_same_key(
    place: Place, service: MiniService
) -> None:
    service.answer_with("/v1/certificates", *BUSY, headers={"Retry-After": "0"})
    with pytest.raises(ServerRefused, match="Later"):
        place.enroll()
    service.as_usual()
    # The service carried it out, and only the answer was lost: the token is spent.
    (asked,) = place.home.generations.all()
    service.by_key[asked.request["key"]] = service.issue(asked.csr)
    service.uses = 0
    place.enroll()
    (made,) = place.home.generations.all()
    assert made.key.reveal() == asked.key.reveal()
    assert len(service.issued) == 1


def test_a_certificate_for_another_key_or_without_a_name_is_refused(
    place: Place, service: MiniService
) -> None:
    other = Place(service, place.path.with_name("other"))
    other.enroll()
    service.uses = 1
    answer = service.by_key[next(iter(service.by_key))]
    service.answer_with("/v1/certificates", 201, answer, times=1)
    with pytest.raises(CertificateUnusable, match="another key"):
        place.enroll()
    (asked,) = place.home.generations.all()
    short = service.issue(asked.csr, names=NAMES[:1])
    service.answer_with("/v1/certificates", 201, short, times=1)
    with pytest.raises(CertificateUnusable, match="ip:192"):
        place.enroll()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "iwe1_",
        "iwe1_%%%",
        "hello",
        "iwe1_" + base64.urlsafe_b64encode(b'{"u":1}').decode(),
        "iwe1_" + base64.urlsafe_b64encode(b"[1]").decode(),
        "iwe1_" + "A" * 9000,
    ],
)
def test_what_is_no_enrollment(line: str) -> None:
    with pytest.raises(EnrollmentMalformed):
        read_line(line)


def test_a_part_of_a_line_is_no_line(service: MiniService) -> None:
    line = service.line()
    for length in range(5, len(line) - 1, 7):
        with pytest.raises(EnrollmentMalformed):
            read_line(line[:length])
    broken = line[:40] + "\n  " + line[40:] + "\n"
    assert read_line(broken).token.reveal().decode() == service.token


def test_the_token_is_in_no_file_of_the_home(place: Place, service: MiniService) -> None:
    place.enroll()
    place.once()
    for path in place.path.rglob("*"):
        if path.is_file():
            assert service.token.encode() not in path.read_bytes()


BUSY = (503, {"code": "store_busy", "detail": "Later."})


@pytest.mark.parametrize("path", ["/v1/trust", "/v1/whoami", "/v1/certificates"])
def test_a_service_that_is_busy_for_a_moment_is_waited_for(
    place: Place, service: MiniService, path: str
) -> None:
    service.answer_with(path, *BUSY, times=2, headers={"Retry-After": "1"})
    place.enroll()
    came = [at for at, each in service.moments if each == path]
    assert len(came) == 3
    assert came[2] - came[0] >= 2
    assert len(service.issued) == 1


def test_a_service_that_is_busy_for_long_is_told_as_such(
    place: Place, service: MiniService
) -> None:
    service.answer_with("/v1/trust", *BUSY, headers={"Retry-After": "0"})
    with pytest.raises(ServerRefused, match="Later"):
        place.enroll()


def test_something_else_at_the_url(place: Place, service: MiniService) -> None:
    service.answer_with("/v1/trust", 404, {"code": "route_not_found"})
    with pytest.raises(AnswerBroken, match="404"):
        place.enroll()


def test_enrolling_again_needs_force_and_keeps_the_old_one_in_use(
    place: Place, service: MiniService
) -> None:
    place.enroll()
    place.once()
    old = place.daemon.in_use()
    service.token, service.uses = "iw_second-token-of-the-test", 1
    with pytest.raises(AlreadyEnrolled, match="enrolled already"):
        place.enroll()
    place.enroll(force=True)
    assert place.daemon.in_use() == old
    assert [each.stage for each in place.home.generations.all()] == ["current", "issued"]
    place.daemon.refuse_key = True
    place.once()
    assert place.daemon.in_use() == old
    assert "daemon_refused" in place.codes()
    place.daemon.refuse_key = False
    place.watch.offset += timedelta(hours=1)
    place.once()
    assert place.daemon.in_use() != old
    place.in_order()


def test_nothing_works_in_a_home_without_an_enrollment(place: Place) -> None:
    with pytest.raises(NotEnrolled, match="no agent's home"):
        with place.home.locked():
            pass
