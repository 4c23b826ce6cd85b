"""The way to the service: what it must survive, and how often it asks."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from core.secret import Secret
from ike.agent import schedule
from ike.agent.channel import (
    AnswerBroken,
    ServerRefused,
    ServerUnreachable,
    ServerUntrusted,
    Service,
    ServiceUrlUnusable,
)
from ike.agent.clock import Clock
from ike.agent.polling import Heard, Poller, Silent
from tests.ike.agent.conftest import Place
from tests.ike.agent.miniservice import MiniService
from tests.ike.agent.test_served import until
from tests.lab.handmade import Authority


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def client(place: Place, service: MiniService) -> Service:
    place.enroll()
    return place.agent().connect()


def test_another_root_is_not_believed(service: MiniService) -> None:
    stranger = Service(service.url, Authority("Stranger").certificate, clock=now)
    with pytest.raises(ServerUntrusted, match="pinned root"):
        stranger.get("/v1/whoami")
    assert service.requests == []


def test_nothing_secret_goes_over_an_unverified_connection(service: MiniService) -> None:
    with pytest.raises(ValueError, match="unverified"):
        Service(service.url, None, clock=now, token=Secret("x"))


def test_something_without_tls(tmp_path: object) -> None:
    import socket

    with socket.socket() as plain:
        plain.bind(("127.0.0.1", 0))
        plain.listen()
        port = plain.getsockname()[1]

        def answer() -> None:
            peer, _ = plain.accept()
            peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            peer.close()

        threading.Thread(target=answer, daemon=True).start()
        service = Service(f"https://localhost:{port}", Authority("R").certificate, clock=now)
        with pytest.raises((ServerUntrusted, ServerUnreachable)):
            service.get("/")


@pytest.mark.parametrize(
    "url", ["http://a.example", "a.example", "https://u:p@a", "https://a/?x=1", ""]
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ServiceUrlUnusable):
        Service(url, None, clock=now)


def test_an_answer_over_the_limit_is_not_read_to_its_end(
    client: Service, service: MiniService
) -> None:
    service.answer_with("/big", 200, {"x": "y" * 100_000})
    with pytest.raises(AnswerBroken, match="larger than 1000"):
        client.ask("GET", "/big", limit=1000)


def test_redirects_are_not_followed(client: Service, service: MiniService) -> None:
    service.answer_with("/away", 302, {}, headers={"Location": "https://evil.example/"})
    with pytest.raises(ServerRefused, match="302"):
        client.get("/away")


def test_an_answer_that_drips_is_not_waited_for(client: Service, service: MiniService) -> None:
    service.answer_with("/slow", 200, {"x": "y" * 1000})
    service.drip = 0.05
    began = time.monotonic()
    with pytest.raises(ServerUnreachable):
        client.ask("GET", "/slow", seconds=1)
    assert time.monotonic() - began < 40, "it was waited for to its end"


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -1200",
        "yesterday",
    ],
)
def test_a_clock_that_cannot_be_is_no_clock(
    client: Service, service: MiniService, date: str
) -> None:
    service.date = date
    service.answer_with("/busy", 503, {"code": "x"}, headers={"Retry-After": date})
    with pytest.raises(ServerRefused):
        client.get("/busy")
    assert client.skew is None


def test_what_is_no_json(client: Service, service: MiniService) -> None:
    service.answer_with("/list", 200, [])  # type: ignore[arg-type]
    with pytest.raises(AnswerBroken):
        client.get("/list")


@pytest.mark.parametrize(
    ("value", "least", "most"), [("7", 7, 7), ("99999", 3600, 3600), ("x", 0, 0), ("", 0, 0)]
)
def test_retry_after(
    client: Service, service: MiniService, value: str, least: float, most: float
) -> None:
    service.answer_with("/busy", 503, {"code": "overloaded"}, headers={"Retry-After": value})
    with pytest.raises(ServerRefused) as caught:
        client.get("/busy")
    assert caught.value.later
    assert least <= (caught.value.retry_after or 0) <= most
    moment = (now() + timedelta(seconds=3000)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    service.answer_with("/busy", 503, {"code": "overloaded"}, headers={"Retry-After": moment})
    with pytest.raises(ServerRefused) as caught:
        client.get("/busy")
    assert 2900 < (caught.value.retry_after or 0) <= 3000


def test_waiting_grows_is_spread_and_obeys_the_service() -> None:
    longest = [schedule.contact_seconds(n, lambda: 1.0) for n in range(12)]
    assert longest[:4] == [1, 2, 4, 8]
    assert max(longest) == schedule.CONTACT_CAP
    assert schedule.contact_seconds(5, lambda: 0.0) == 0
    assert schedule.contact_seconds(1, lambda: 0.0, 30.0) == 30
    retries = [schedule.retry_seconds(n, lambda: 1.0) for n in range(20)]
    assert retries == sorted(retries)
    assert retries[0] >= 10
    assert retries[-1] == 6 * 3600


def poll(place: Place, stop: threading.Event, wait: int = 5) -> tuple[Poller, list[Heard | Silent]]:
    heard: list[Heard | Silent] = []
    clock = Clock(now, chance=lambda: 0.1)
    made = Poller(place.agent().connect, heard.append, etag=None, wait=wait, clock=clock, stop=stop)
    made.start()
    return made, heard


def asked(service: MiniService) -> int:
    return len([each for each in service.requests if each[1].endswith("/state")])


def test_a_long_poll_waits_hears_at_once_and_is_asked_again(
    place: Place, service: MiniService
) -> None:
    place.enroll()
    stop = threading.Event()
    _, heard = poll(place, stop, wait=300)
    until(lambda: asked(service) == 2)
    time.sleep(0.2)
    assert (len(heard), asked(service)) == (1, 2)
    service.change()
    until(lambda: len(heard) == 2)
    stop.set()
    service.change()


@pytest.mark.parametrize("dates_arrival", [False, True])
def test_a_held_request_does_not_look_like_a_wrong_clock(
    client: Service, service: MiniService, dates_arrival: bool
) -> None:
    service.dates_arrival = dates_arrival
    found = client.state(None, 0)
    assert found is not None
    assert client.state(found[1], 2) is None
    assert client.skew == 0
    for hours in (-1, 1):
        service.date_offset = timedelta(hours=hours)
        assert client.state(found[1], 2) is None
        assert client.skew == pytest.approx(hours * 3600, abs=60)


def test_a_service_that_does_not_hold_the_request_is_not_asked_in_a_tight_loop(
    place: Place, service: MiniService
) -> None:
    place.enroll()
    service.hold_back = False
    stop = threading.Event()
    poll(place, stop)
    time.sleep(2.5)
    stop.set()
    assert asked(service) <= 20


def test_a_service_that_says_later_is_left_alone_that_long(
    place: Place, service: MiniService
) -> None:
    place.enroll()
    path = "/v1/gateways/self/state"
    service.answer_with(path, 503, {"code": "x"}, headers={"Retry-After": "2"})
    stop = threading.Event()
    _, heard = poll(place, stop)
    until(lambda: asked(service) == 1)
    service.as_usual()
    until(lambda: len(heard) >= 2)
    stop.set()
    first, second = [at for at, each in service.moments if each == path][:2]
    assert second - first >= 2
    assert [type(each).__name__ for each in heard][:2] == ["Silent", "Heard"]


def test_a_gateway_that_is_refused_asks_seldom(place: Place, service: MiniService) -> None:
    place.enroll()
    path = "/v1/gateways/self/state"
    service.answer_with(path, 401, {"code": "client_certificate_expired"})
    stop = threading.Event()
    _, heard = poll(place, stop)
    time.sleep(2)
    stop.set()
    assert asked(service) == 1
    assert isinstance(heard[0], Silent)
