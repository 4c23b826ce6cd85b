"""The settings of notices become what the scheduler tells alerts to."""

from pathlib import Path
from typing import Final

from core.errors import InvalidInput
from core.receivers import Alertmanager, Mail, Syslog
from core.secret import Secret
from hsm.passphrase import passphrase_from_file
from ikewarden.settings_notices import NoticesSettings

_PORTS: Final = {"tls": 6514, "tcp": 601, "udp": 514}


class LoginUnusable(InvalidInput):
    """A file with a login or a token for a receiver holds something else."""

    code = "login_unusable"
    next_step = (
        "Write one line of ASCII letters without spaces at its ends: a token, or USER:PASSWORD."
    )


def alertmanager(chosen: NoticesSettings) -> Alertmanager | None:
    """The Alertmanager, if there is one. Raises LoginUnusable, and what `passphrase_from_file` raises."""
    if chosen.alertmanager_url is None:
        return None
    return Alertmanager(
        chosen.alertmanager_url,
        chosen.alertmanager_ca_file,
        _token(chosen.alertmanager_token_file),
        _login(chosen.alertmanager_login_file),
    )


def mail(chosen: NoticesSettings) -> Mail | None:
    """The mail server, if there is one. Raises LoginUnusable, and what `passphrase_from_file` raises."""
    if chosen.mail_host is None or chosen.mail_from is None or chosen.mail_to is None:
        return None
    return Mail(
        host=chosen.mail_host,
        sender=chosen.mail_from,
        to=chosen.mail_to,
        port=chosen.mail_port,
        security=chosen.mail_security,
        ca_file=chosen.mail_ca_file,
        login=_login(chosen.mail_login_file),
    )


def syslog(chosen: NoticesSettings) -> Syslog | None:
    """The collector, if there is one."""
    if chosen.syslog_host is None:
        return None
    transport = chosen.syslog_transport
    port = chosen.syslog_port or _PORTS[transport]
    return Syslog(chosen.syslog_host, port, transport, chosen.syslog_ca_file)


def _token(path: Path | None) -> Secret | None:
    if path is None:
        return None
    held = passphrase_from_file(path)
    text = held.reveal()
    # It becomes a line of a request or of a session: whatever ends a line must not get there.
    if not text.isascii() or not text.decode().isprintable() or text.strip() != text:
        raise LoginUnusable(f"{path} does not hold one line of ASCII letters.")
    return held


def _login(path: Path | None) -> Secret | None:
    held = _token(path)
    if held is not None and not all(held.reveal().partition(b":")):
        raise LoginUnusable(f"{path} does not hold USER:PASSWORD.")
    return held
