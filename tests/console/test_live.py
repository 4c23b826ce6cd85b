"""Pages that are watched: events that follow what is on record, and end with the session."""

import asyncio
import contextlib
import http.client
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import psycopg

from api.bridge import Answer, Live
from api.live import Watchers
from pki import tokens
from pki.actors import Role
from pki.tokens import TokenRequest
from store import jobs
from tests.api.serving import Serving
from tests.api.site import CONSOLE
from tests.console.browser import Browser

Make = Callable[..., Browser]
PAGE = "/jobs"


class Stream:
    """The events of a page, as EventSource reads them (WHATWG HTML §9.2.6)."""

    def __init__(self, connection: http.client.HTTPSConnection, browser: Browser) -> None:
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        headers = {
            "Accept": "text/event-stream",
            "Cookie": cookies,
            "Sec-Fetch-Site": "same-origin",
        }
        connection.request("GET", PAGE, headers=headers)
        self.answer = connection.getresponse()

    def next(self) -> tuple[str, str] | None:
        """The next event with its data; None at the end."""
        name, data = "message", []
        while line := self.answer.readline().decode():
            field, _, value = line.rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif line == "\n" and data:
                return name, "\n".join(data)
        return None


@contextmanager
def watching(serving: Serving, browser: Browser) -> Iterator[Stream]:
    """Watch the page with the cookies of a browser."""
    connection = http.client.HTTPSConnection(
        "localhost", serving.port, context=serving.site.trust(), timeout=60
    )
    try:
        yield Stream(connection, browser)
    finally:
        connection.close()


def run_a_job(serving: Serving, name: str) -> None:
    """Have something new on record that the page shows."""
    store, now = serving.site.desk.store, serving.site.clock()
    number = jobs.started(store, name, "a test", now)
    jobs.finished(store, number, "ok", None, {}, now)


def test_a_change_is_sent_without_being_asked_for(browser: Make, serving: Serving) -> None:
    visitor = browser(Role.AUDITOR)
    with watching(serving, visitor) as stream:
        assert stream.answer.status == 200
        assert stream.answer.getheader("Content-Type") == "text/event-stream"
        assert stream.answer.getheader("Cache-Control") == "no-store"
        first = stream.next()
        assert first is not None
        assert "<html" not in first[1]  # the part of the page alone
        assert "never-heard-of" not in first[1]
        run_a_job(serving, "never-heard-of")
        second = stream.next()
        assert second is not None
        assert second[0] == "message"
        assert "never-heard-of" in second[1]


def test_it_ends_with_the_session(browser: Make, serving: Serving) -> None:
    visitor = browser(Role.AUDITOR)
    with watching(serving, visitor) as stream:
        assert stream.next() is not None
        visitor.submit(visitor.get("/"), "/sign-out")
        assert stream.next() == ("over", "")
        assert stream.next() is None


def test_it_ends_with_the_token(browser: Make, serving: Serving) -> None:
    desk, now = serving.site.desk, serving.site.clock()
    made = tokens.create(desk, CONSOLE, TokenRequest("watcher", Role.AUDITOR), now=now)
    visitor = browser(made.secret.reveal().decode())
    with watching(serving, visitor) as stream:
        assert stream.next() is not None
        tokens.revoke(desk, CONSOLE, made.view.id, now=now)
        assert stream.next() == ("over", "")


def test_to_watch_is_not_to_do_something(browser: Make, serving: Serving) -> None:
    visitor = browser(Role.AUDITOR)
    before = serving.site.clock.ahead
    try:
        serving.site.clock.ahead += timedelta(minutes=20)
        with watching(serving, visitor) as stream:
            assert stream.next() is not None
            serving.site.clock.ahead += timedelta(minutes=11)
            found = stream.next()
            while found is not None and found[0] == "message":
                found = stream.next()  # times on the page went on
            assert found == ("over", "")
    finally:
        serving.site.clock.ahead = before


def test_nobody_takes_the_places_of_all(browser: Make, serving: Serving) -> None:
    greedy, modest = browser(Role.AUDITOR), browser(Role.OPERATOR)
    with ExitStack() as stack:
        for _ in range(12):
            stream = stack.enter_context(watching(serving, greedy))
            assert stream.next() is not None
        refused = stack.enter_context(watching(serving, greedy))
        assert refused.answer.status == 503
        assert b"too_many_watchers" in refused.answer.read()
        other = stack.enter_context(watching(serving, modest))
        assert other.next() is not None


def test_whoever_is_not_signed_in_is_told_nothing(browser: Make, serving: Serving) -> None:
    with watching(serving, browser()) as stream:
        assert stream.answer.status == 401
        assert stream.answer.read() == b""


def test_many_who_watch_leave_threads_for_those_who_do_something() -> None:
    now, most = 0, 0

    async def ask() -> Answer:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        asked.append(now)
        if len(asked) >= 60:
            watchers.stop()
        return Answer(200, [], b"the same")

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(_: Any) -> None:
        pass

    async def watch() -> None:
        first, live = Answer(200, [], b"the same"), Live(seconds=0.01)
        await asyncio.gather(
            *(watchers.stream(first, ask, live, f"{n}", receive, send) for n in range(20))
        )

    asked: list[int] = []
    watchers = Watchers()
    asyncio.run(watch())
    assert len(asked) >= 60
    assert most == 4
    assert watchers.count == 0


def test_where_nothing_can_be_written_somebody_can_still_look(
    browser: Make, serving: Serving
) -> None:
    visitor = browser(Role.AUDITOR)
    serving.site.clock.ahead += timedelta(minutes=5)
    url = serving.site.url
    connection: Any
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        lock = "BEGIN IMMEDIATE"
    else:
        connection = psycopg.connect(url.replace("+psycopg", ""))
        lock = "LOCK TABLE sessions IN SHARE MODE"  # it may be read
    with contextlib.closing(connection):
        connection.execute(lock)
        assert visitor.send("GET", "/certificates").status == 200
