"""Alerts told to each receiver by itself: who is away holds up nobody else, and hears of all when it is back."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from fleet.monitoring import alerts as monitoring
from fleet.monitoring import standing
from fleet.monitoring.values import page_url
from pki.desk import Desk
from scheduler import alertmanager, syslog
from scheduler import mail as mails
from scheduler.jobs import SCHEDULER
from store import outbox
from store.outbox import Message

_LOG = logging.getLogger("ikewarden.scheduler")
WEBHOOK: Final = "alert.webhook"
ALERTMANAGER: Final = "alert.alertmanager"
MAIL: Final = "alert.mail"
SYSLOG: Final = "alert.syslog"
# What comes in this time goes into one mail.
_GATHERING: Final = timedelta(seconds=15)
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Telling:
    """The handlers of messages about alerts. `post` sends one to the webhook."""

    def __init__(self, desk: Desk, post: Callable[[Message, datetime], None]) -> None:
        self._desk = desk
        self._post = post
        # Of the last mail that failed, and when: the others of a run need not wait for the same.
        self._failed: tuple[datetime, mails.MailFailed] | None = None
        self.handlers: dict[str, Callable[[Sequence[Message], datetime], None]] = {
            monitoring.TOPIC: self._share,
            WEBHOOK: self._tell_webhook,
            ALERTMANAGER: self._tell_alertmanager,
            MAIL: self._tell_mail,
            SYSLOG: self._tell_syslog,
        }

    def _share(self, messages: Sequence[Message], now: datetime) -> None:
        """A message for each receiver, so that each is told, and told again, by itself."""
        rules = self._desk.rules
        for message in messages:
            told = {name: message.payload[name] for name in ("event", "gateway", "alert", "kind")}
            _LOG.warning("alert changed", extra=told)
        # Messages of one key are told together; the webhook gets each by itself, in the order of the keys.
        to: list[tuple[str, str | None]] = []
        to += [(WEBHOOK, None)] if rules.webhook else []
        to += [(ALERTMANAGER, "all")] if rules.alertmanager else []
        to += [(MAIL, each) for each in rules.mail.to] if rules.mail else []
        to += [(SYSLOG, "all")] if rules.syslog else []
        with self._desk.store.write() as connection:
            for message in messages:
                page = page_url(rules.service_url, str(message.payload["kind"]))
                for topic, key in to:
                    outbox.put(
                        connection,
                        topic=topic,
                        key=message.key if key is None else key,
                        payload={**message.payload, "page": page},
                        now=now,
                        delay=_until_next_mail(now) if topic == MAIL else timedelta(0),
                    )

    def _tell_webhook(self, messages: Sequence[Message], now: datetime) -> None:
        for message in messages:
            self._post(message, now)

    def _tell_alertmanager(self, messages: Sequence[Message], now: datetime) -> None:
        receiver = self._desk.rules.alertmanager
        if receiver is None:
            return  # it was taken out of the settings
        # How it is now, and not how it was: the messages may be old, and out of order.
        numbers = [message.payload["alert"] for message in messages]
        found = standing.latest(self._desk, SCHEDULER, numbers, now=now)
        told = alertmanager.told(found, self._desk.rules.service_url, now)
        for some in (told[at : at + standing.PAGE] for at in range(0, len(told), standing.PAGE)):
            alertmanager.send(receiver, some)

    def _tell_mail(self, messages: Sequence[Message], now: datetime) -> None:
        receiver, to = self._desk.rules.mail, messages[0].key
        if receiver is None or to not in receiver.to:
            return
        if self._failed is not None and self._failed[0] == now:
            raise self._failed[1]
        service = self._desk.rules.service_url
        message = mails.mail(receiver, to, _payloads(messages), service, now)
        try:
            mails.send(receiver, message)
        except mails.ServerAway as error:
            self._failed = now, error
            raise

    def _tell_syslog(self, messages: Sequence[Message], now: datetime) -> None:
        receiver = self._desk.rules.syslog
        if receiver is not None:
            syslog.send(
                receiver, [syslog.message(each.payload, each.created_at) for each in messages]
            )


def tell_standing(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Tell an Alertmanager of all that is open, before it takes it for ended, and of what ended lately."""
    receiver = desk.rules.alertmanager
    told, after = 0, 0
    while receiver is not None:
        found = standing.standing(desk, SCHEDULER, after, now=now)
        if found:
            after = found[-1].id
            alerts = alertmanager.told(found, desk.rules.service_url, now)
            alertmanager.send(receiver, alerts)
            told += len(alerts)
        if len(found) < standing.PAGE:
            break
    return {"told": told}


def _payloads(messages: Sequence[Message]) -> list[Mapping[str, Any]]:
    """In the order in which it happened."""
    told = sorted(messages, key=lambda message: (message.created_at, message.id))
    return [message.payload for message in told]


def _until_next_mail(now: datetime) -> timedelta:
    return _GATHERING - (now - _EPOCH) % _GATHERING
