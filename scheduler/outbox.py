"""Work after commit: messages that operations left in the outbox, claimed, coalesced, carried out."""

import hashlib
import hmac
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from core import spans
from core.errors import IkewardenError, Unavailable
from core.secret import Secret
from fleet import reach, successions
from fleet.findings import changes as findings
from fleet.monitoring import alerts as monitoring
from fleet.monitoring import undoing
from fleet.reporting import schedules
from fleet.rotation import imports, ledger, retire
from pki import approvals, decisions, expiry, ocsp_signers, publication, revocation
from pki.authorities import load
from pki.desk import Desk
from scheduler import posting, telling
from scheduler.jobs import SCHEDULER
from scheduler.telling import Telling
from store import outbox
from store.outbox import EVERYTHING, Message, Topics

_LOG = logging.getLogger("ikewarden.scheduler")
_BATCH = 2_000
_LEASE = timedelta(minutes=2)
FULL = "crl.full"
# A full list of a million entries takes seconds: then at most this part of the time goes into building it.
_DUTY = 0.2
_QUICK = timedelta(milliseconds=250)
_LONGEST_PAUSE = timedelta(minutes=10)
OPEN = "authority.made"
# A lane each, so that a revocation waits neither for the list of a million, nor for a new authority's shards, nor for
# who is told of things. The last takes whatever the others do not.
_LISTS = frozenset({FULL, OPEN})
_CHANGES = frozenset({revocation.PUBLISH, revocation.SIGNER, reach.TOPIC})
# What is told of alerts: who receives it may be away.
_ALERTS = {
    "outbox_alerts": monitoring.TOPIC,
    "outbox_webhook": telling.WEBHOOK,
    "outbox_alertmanager": telling.ALERTMANAGER,
    "outbox_mail": telling.MAIL,
    "outbox_syslog": telling.SYSLOG,
    # Made again for each mail, which takes a while.
    "outbox_reports": schedules.MAIL,
}
LANES: dict[str, Topics] = {
    "outbox_changes": Topics(_CHANGES, others=False),
    "outbox_lists": Topics(_LISTS, others=False),
    **{lane: Topics(frozenset({topic}), others=False) for lane, topic in _ALERTS.items()},
    "outbox_rest": Topics(_LISTS | _CHANGES | frozenset(_ALERTS.values())),
}


Handler = Callable[[Sequence[Message], datetime], None]
Handlers = Mapping[str, Handler]
SIGNATURE = "Ikewarden-Signature"


def signature(key: Secret, body: bytes, now: datetime) -> str:
    """What a receiver compares: `t=SECONDS,v1=HEX`, the HMAC-SHA-256 of `SECONDS.BODY`. By the time it tells old ones
    that somebody sends again.
    """
    seconds = str(int(now.timestamp()))
    made = hmac.new(key.reveal(), seconds.encode() + b"." + body, hashlib.sha256)
    return f"t={seconds},v1={made.hexdigest()}"


class WebhookFailed(Unavailable):
    """The receiver of notices did not take one."""

    code = "webhook_failed"
    next_step = "Look at the receiver; the notice is sent again later."


def _unknown_topic(messages: Sequence[Message], now: datetime) -> None:
    raise Unavailable(f"This version does not know the topic {messages[0].topic} at {now}.")


def _without_trace(message: Message) -> Message:
    if spans.TRACEPARENT not in message.payload:
        return message
    rest = {name: value for name, value in message.payload.items() if name != spans.TRACEPARENT}
    return replace(message, payload=rest)


def _told(message: Message) -> dict[str, str]:
    """What a log line says of a message: its topic, and which authority or other thing it is about."""
    return {"topic": message.topic, "key": message.key}


def _certificates(messages: Sequence[Message]) -> list[int]:
    """The certificates whose status changed, of all messages: those of one, or collected on the way."""
    found: list[int] = []
    for message in messages:
        one = message.payload.get("certificate")
        found += [one] if isinstance(one, int) else []
        found += message.payload.get("certificates", [])
    return found


class Pace:
    """How soon the complete list of an authority may be built again. Shared by the lanes of a process."""

    def __init__(self) -> None:
        self._next: dict[str, tuple[datetime, timedelta]] = {}

    def note(self, name: str, start: datetime, end: datetime) -> None:
        """Remember how long a build took."""
        took = end - start
        if took > _QUICK:
            pause = took * (1 / _DUTY - 1)
            self._next[name] = end + pause, pause
        else:
            self._next.pop(name, None)

    def is_quick(self, name: str) -> bool:
        """Whether the last build took so little that it may be done at once, each time."""
        return name not in self._next

    def wait(self, name: str, now: datetime) -> timedelta:
        """How long to wait for the next one."""
        at, pause = self._next.get(name, (now, timedelta(0)))
        # The clock may have been set back since, or forward while the list was built.
        return min(max(at - now, timedelta(0)), pause, _LONGEST_PAUSE)


class Drain:
    """Carries out messages of some topics, by default of all; several may run at once, here and elsewhere."""

    def __init__(
        self,
        desk: Desk,
        owner: str,
        clock: Callable[[], datetime],
        *,
        topics: Topics = EVERYTHING,
        pace: Pace | None = None,
        more: Handlers | None = None,
    ) -> None:
        self._desk = desk
        self._owner = owner
        self._clock = clock
        self._topics = topics
        self._pace = pace or Pace()
        # Each gets all messages of one key that are due.
        self._handlers: dict[str, Handler] = {
            revocation.PUBLISH: self._publish_change,
            FULL: self._publish_full,
            OPEN: self._open_authority,
            revocation.SIGNER: self._replace_signer,
            expiry.TOPIC: self._send_notice,
            reach.TOPIC: self._tell_own,
            successions.TOPIC: self._spread_trust,
            ledger.FAILED: self._send_alert,
            findings.OPENED: self._tell_findings,
            monitoring.UNDO: self._undo_rotation,
            retire.TOPIC: self._forget_secrets,
            imports.TOPIC: self._undo_imports,
            approvals.ASKED: self._tell_approvals,
            decisions.DECIDED: self._tell_approvals,
            **Telling(desk, self._send).handlers,
            **(more or {}),
        }

    def run(self, now: datetime) -> int:
        """Claim what is due and carry it out; tell how many messages were done.

        Messages with the same topic and key are one piece of work: a hundred revocations in one shard are one list.
        Raises the errors of the store when nothing can be claimed.
        """
        claimed = outbox.claim(
            self._desk.store,
            owner=self._owner,
            limit=_BATCH,
            lease=_LEASE,
            now=now,
            topics=self._topics,
        )
        groups: defaultdict[tuple[str, str], list[Message]] = defaultdict(list)
        for message in claimed:
            groups[message.topic, message.key].append(message)
        done = 0
        # Shards first: they ask for the full list, which then is made once for all of them.
        for key in sorted(groups, key=lambda group: (group[0] == FULL, group)):
            done += self._carry_out(groups[key], now)
        return done

    def _carry_out(self, messages: Sequence[Message], now: datetime) -> int:
        first = messages[0]
        # Those of one key are one piece of work: it belongs under what asked for the first of them.
        parent = first.payload.get(spans.TRACEPARENT)
        bare = [_without_trace(message) for message in messages]
        try:
            with spans.span(f"outbox {first.topic}", "consumer", parent) as span:
                span.note(messaging__batch__message_count=len(messages))
                self._handlers.get(first.topic, _unknown_topic)(bare, now)
        except IkewardenError as error:
            self._failed(messages, f"{error.code}: {error.message}", now)
            return 0
        except Exception as error:  # noqa: BLE001 - one message's fault must not stop the others
            _LOG.exception("outbox message failed", extra=_told(first))
            self._failed(messages, f"internal_error: {type(error).__name__}", now)
            return 0
        outbox.done(self._desk.store, [message.id for message in messages], owner=self._owner)
        return len(messages)

    def _failed(self, messages: Sequence[Message], error: str, now: datetime) -> None:
        _LOG.warning("outbox message failed", extra={**_told(messages[0]), "error": error})
        for message in messages:
            outbox.failed(
                self._desk.store,
                message,
                owner=self._owner,
                error=error,
                now=now,
                # They are one piece of work the next time, too.
                spread_by=messages[0].id,
            )

    def _publish_change(self, messages: Sequence[Message], now: datetime) -> None:
        payload = messages[0].payload
        name, shard = str(payload["authority"]), int(str(payload["shard"]))
        if load(self._desk, name).shards:
            publication.publish_shard(self._desk, SCHEDULER, name, shard, now=now)
        elif self._pace.is_quick(name):
            self._publish_full(messages, now)
            return
        with self._desk.store.write() as connection:
            outbox.put(
                connection,
                topic=FULL,
                key=name,
                payload={"authority": name, "certificates": _certificates(messages)},
                now=now,
                delay=self._pace.wait(name, now),
            )

    def _publish_full(self, messages: Sequence[Message], now: datetime) -> None:
        name = str(messages[0].payload["authority"])
        start = self._clock()
        made = publication.publish_full(self._desk, SCHEDULER, name, now=now)
        end = self._clock()
        self._pace.note(name, start, end)
        # Only now: whoever is cut shall find the list that keeps him out.
        ended = _certificates(messages)
        reach.tell(self._desk, SCHEDULER, name, ended, made.number, now=end)

    def _tell_own(self, messages: Sequence[Message], now: datetime) -> None:
        number = int(str(messages[0].payload["certificate"]))
        reach.tell_own(self._desk, SCHEDULER, number, now=now)

    def _open_authority(self, messages: Sequence[Message], now: datetime) -> None:
        name = str(messages[0].payload["authority"])
        owner = load(self._desk, name)
        ocsp_signers.ensure(self._desk, SCHEDULER, name, now=now)
        publication.publish_full(self._desk, SCHEDULER, name, now=now)
        for shard in range(owner.shards):
            publication.publish_shard(self._desk, SCHEDULER, name, shard, now=now)

    def _replace_signer(self, messages: Sequence[Message], now: datetime) -> None:
        ocsp_signers.ensure(self._desk, SCHEDULER, str(messages[0].payload["authority"]), now=now)

    def _send_notice(self, messages: Sequence[Message], now: datetime) -> None:
        _LOG.warning("certificate expiring", extra=dict(messages[0].payload))
        self._send(messages[0], now)

    def _spread_trust(self, messages: Sequence[Message], now: datetime) -> None:
        successions.spread(
            self._desk, SCHEDULER, int(str(messages[0].payload["rollover"])), now=now
        )

    def _send_alert(self, messages: Sequence[Message], now: datetime) -> None:
        # Several of one secret are one story: the last tells how it is now.
        # The slot's name, under a name that the log does not take for a secret value's.
        told = {
            "slot" if name == "secret" else name: value
            for name, value in messages[-1].payload.items()
        }
        _LOG.error("rotation failed", extra=told)
        self._send(messages[-1], now)

    def _tell_findings(self, messages: Sequence[Message], now: datetime) -> None:
        for message in messages:
            told = {name: message.payload[name] for name in ("gateway", "critical", "high")}
            _LOG.error("findings opened", extra=told)
            self._send(message, now)

    def _tell_approvals(self, messages: Sequence[Message], now: datetime) -> None:
        for message in messages:
            told = {name: message.payload[name] for name in ("approval", "act", "asked_by")}
            _LOG.warning(
                "approval asked for" if message.topic == approvals.ASKED else "approval changed",
                extra=told,
            )
            self._send(message, now)

    def _undo_rotation(self, messages: Sequence[Message], now: datetime) -> None:
        payload = messages[0].payload
        gateway, connection = str(payload["gateway"]), payload["connection"]
        # Earlier versions did not say when it failed.
        at = messages[0].created_at
        if "at" in payload:
            at = datetime.fromisoformat(str(payload["at"]))
        undoing.undo(self._desk, SCHEDULER, gateway, connection, at, now=now)

    def _forget_secrets(self, messages: Sequence[Message], now: datetime) -> None:
        retire.destroy(self._desk, SCHEDULER, [message.payload for message in messages])

    def _undo_imports(self, messages: Sequence[Message], now: datetime) -> None:
        imports.undo(
            self._desk, SCHEDULER, [message.payload["slot"] for message in messages], now=now
        )

    def _send(self, message: Message, now: datetime) -> None:
        url = self._desk.rules.webhook
        if url is None:
            return
        said = {"event": message.topic, "time": now.isoformat(), **message.payload}
        body = json.dumps(said).encode()
        headers = {}
        key = self._desk.rules.webhook_key
        if key is not None:
            headers[SIGNATURE] = signature(key, body, now)
        try:
            status = posting.post(url, body, headers)
        except posting.FAILURES as error:
            raise WebhookFailed(f"The webhook failed: {type(error).__name__}.") from None
        if status >= 300:
            raise WebhookFailed(f"The webhook answered {status}.")
