"""Alerts as mail: plain text, one mail for all that is due for an address."""

import contextlib
import hashlib
import json
import smtplib
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Final

from core.deadline import SILENT, deadline, trusting
from core.errors import Unavailable
from core.escaping import escaped
from core.receivers import Mail
from fleet.monitoring.values import SEVERITIES

# More than one reads: the rest is told in a line each.
_WHOLE: Final = 50
_LONGEST: Final = 2_000
_LONGEST_SUBJECT: Final = 150
_WORDS: Final = {"alert.opened": "began", "alert.ended": "ended"}


class MailFailed(Unavailable):
    """The mail server did not take a mail."""

    code = "mail_failed"
    next_step = "Look at the mail server and at [notices] mail_*; the mail is sent again later."


class ServerAway(MailFailed):
    """The mail server cannot be talked to at all."""


def mail(
    receiver: Mail, to: str, told: Sequence[Mapping[str, Any]], service: str, now: datetime
) -> EmailMessage:
    """One mail about these changes of alerts. The same changes make the same Message-ID, so that one can tell a mail
    that came twice.
    """
    made = EmailMessage(policy=SMTP)
    made["From"] = receiver.sender
    made["To"] = to
    made["Subject"] = _subject(told)
    made["Date"] = format_datetime(now)
    made["Message-ID"] = f"<{_identity(told, to)}@{receiver.sender.rpartition('@')[2]}>"
    # RFC 3834 §5: nobody's absence is to answer it.
    made["Auto-Submitted"] = "auto-generated"
    whole = [_whole(each, service) for each in told[:_WHOLE]]
    rest = [_line(each) for each in told[_WHOLE:]]
    made.set_content("\n\n".join([*whole, *(["\n".join(rest)] if rest else [])]) + "\n")
    return made


def send(receiver: Mail, message: EmailMessage) -> None:
    """Give a mail to the server. Raises MailFailed."""
    session: smtplib.SMTP | None = None
    try:
        with deadline(lambda: session.sock if session is not None else None):
            session = _session(receiver)
            greeting, words = session.connect(receiver.host, receiver.port)
            if greeting != 220:
                raise smtplib.SMTPConnectError(greeting, words)
            if receiver.security == "starttls":
                session.starttls(context=trusting(receiver.ca_file))
            if receiver.login is not None:
                user, _, password = receiver.login.reveal().decode().partition(":")
                session.login(user, password)
            session.send_message(message)
            with contextlib.suppress(OSError, smtplib.SMTPException):
                session.quit()  # it has the mail already
    except smtplib.SMTPRecipientsRefused as error:
        codes = sorted({code for code, _ in error.recipients.values()})
        raise MailFailed(f"The mail server refuses the address: {codes}.") from None
    except smtplib.SMTPResponseException as error:
        # Its words are not told: they may be anything.
        raise MailFailed(f"The mail server answered {error.smtp_code}.") from None
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise ServerAway(f"The mail server failed: {type(error).__name__}.") from None
    finally:
        if session is not None:
            session.close()


def _session(receiver: Mail) -> smtplib.SMTP:
    # With the name of this machine as it is: to look it up may take long.
    own = socket.gethostname() or "localhost"
    if receiver.security == "tls":
        session: smtplib.SMTP = smtplib.SMTP_SSL(
            local_hostname=own, timeout=SILENT, context=trusting(receiver.ca_file)
        )
    else:
        session = smtplib.SMTP(local_hostname=own, timeout=SILENT)
    # Where it connects later: TLS compares the name with this.
    session._host = receiver.host  # type: ignore[attr-defined]
    return session


def _subject(told: Sequence[Mapping[str, Any]]) -> str:
    began = sum(each["event"] == "alert.opened" for each in told)
    one = min(told, key=lambda each: SEVERITIES.index(each["severity"]))
    said = f"[ikewarden] {one['severity']}: {one['kind']}"
    if len(told) == 1:
        said += f" {_WORDS[one['event']]} on {one['gateway']}"
    else:
        others = len({each["alert"] for each in told}) - 1
        more = f" and {others} more" if others else ""
        # The counts stand before what may be long.
        said += f"{more}: {began} began, {len(told) - began} ended, on {one['gateway']}"
    return escaped(said)[:_LONGEST_SUBJECT]


def _identity(told: Sequence[Mapping[str, Any]], to: str) -> str:
    said = [[each["alert"], each["event"], each["changed_at"]] for each in told]
    digest = hashlib.sha256(json.dumps([to, said]).encode()).hexdigest()[:32]
    one = told[0]
    number = f"{one['alert']}.{_WORDS[one['event']]}" if len(told) == 1 else f"{len(told)}"
    return f"alert.{number}.{digest}"


def _line(one: Mapping[str, Any]) -> str:
    where = ", ".join(
        escaped(str(one[name])) for name in ("gateway", "connection", "peer") if one[name]
    )
    return f"{one['severity']}: {one['kind']} {_WORDS[one['event']]}: {where}"[:_LONGEST]


def _whole(one: Mapping[str, Any], service: str) -> str:
    lines = [
        _line(one),
        f"  Peer's identity: {one['identity']}" if one["identity"] else "",
        f"  Began: {one['began'] or 'unknown'}",
        f"  Ended: {one['ended']}" if one["ended"] else "",
        f"  Likely cause: {one['cause']}",
        f"  Next step: {one['next_step']}",
        f"  Evidence: {json.dumps(one['evidence'], sort_keys=True)}",
        f"  What it means: {one['page']}" if one.get("page") else "",
        f"  {service}/v1/alerts/{one['alert']}",
    ]
    return "\n".join(escaped(line)[:_LONGEST] for line in lines if line)
