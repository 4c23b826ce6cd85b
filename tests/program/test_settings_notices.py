"""Who is told of alerts, as settings say it: strict, secrets from closed files only, nothing open by mistake."""

from pathlib import Path
from typing import Any

import pytest

from core.receivers import Alertmanager, Mail, Syslog
from hsm.errors import WeakMode
from ikewarden import receivers
from ikewarden.receivers import LoginUnusable
from ikewarden.settings_notices import NoticesSettings
from tests.program.test_settings import load, the_problem

HTTPS = 'alertmanager_url = "https://alarms.example"\n'
MAIL = 'mail_host = "mail.example"\nmail_from = "i@example.com"\nmail_to = ["ops@example.com"]\n'


def notices(tmp_path: Path, text: str) -> NoticesSettings:
    return load(tmp_path, f"[notices]\n{text}").notices


def closed(path: Path, content: str) -> Path:
    path.touch(0o600)
    path.write_text(content)
    return path


def test_nobody_is_told_unless_it_is_wanted(tmp_path: Path) -> None:
    chosen = notices(tmp_path, "")
    assert receivers.alertmanager(chosen) is None
    assert receivers.mail(chosen) is None
    assert receivers.syslog(chosen) is None


def test_all_receivers(tmp_path: Path) -> None:
    closed(tmp_path / "token", "a-token\n")
    closed(tmp_path / "login", "user:pass:word\n")
    chosen = notices(
        tmp_path,
        'alertmanager_url = "https://alarms.example/prefix/"\nalertmanager_token_file = "token"\n'
        + MAIL
        + 'mail_login_file = "login"\nsyslog_host = "192.0.2.1"\nsyslog_transport = "tcp"\n',
    )
    manager = receivers.alertmanager(chosen)
    assert manager == Alertmanager("https://alarms.example/prefix")
    assert manager.token is not None
    assert manager.token.reveal() == b"a-token"
    post = receivers.mail(chosen)
    assert post == Mail("mail.example", "i@example.com", ("ops@example.com",))
    assert post.login is not None
    assert post.login.reveal() == b"user:pass:word"
    assert receivers.syslog(chosen) == Syslog("192.0.2.1", 601, "tcp")
    assert "pass:word" not in f"{manager!r} {post!r} {chosen!r}"


@pytest.mark.parametrize(
    "text",
    [
        'alertmanager_url = "ftp://alarms.example"',
        'alertmanager_url = "https://u:p@alarms.example"',
        'alertmanager_url = "https://alarms.example/api/v2"',
        'alertmanager_url = "https://alarms.example/?x=1"',
        'alertmanager_token_file = "token"',
        HTTPS + 'alertmanager_token_file = "a"\nalertmanager_login_file = "b"',
        'alertmanager_url = "http://alarms.example"\nalertmanager_token_file = "a"',
        'mail_host = "mail.example"',
        'mail_from = "i@example.com"',
        MAIL + 'mail_security = "none"',
        MAIL + 'mail_security = "off"',
        MAIL.replace("ops@example.com", "ops@example.com\\r\\nBcc: x@example.com"),
        MAIL.replace("i@example.com", "I <i@example.com>"),
        MAIL.replace('["ops@example.com"]', "[]"),
        MAIL.replace('["ops@example.com"]', '["a@example.com", "a@example.com"]'),
        MAIL + "mail_port = 0",
        "syslog_port = 514",
        'syslog_host = "a b"',
        'syslog_host = "192.0.2.1"\nsyslog_transport = "udp"\nsyslog_ca_file = "ca.pem"',
        'syslog_host = "192.0.2.1"\nsyslog_facility = 4',
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, text: str) -> None:
    problem = the_problem(tmp_path, f"[notices]\n{text}\n")
    assert "notices" in str(problem)
    assert "Bcc" not in str(problem)


@pytest.mark.parametrize("content", ["two\nlines", "user:naïve", "nothing", ":password", "user:"])
def test_a_login_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    closed(tmp_path / "login", content)
    chosen = notices(tmp_path, MAIL + 'mail_login_file = "login"\n')
    with pytest.raises(LoginUnusable) as refusal:
        receivers.mail(chosen)
    assert content not in str(refusal.value)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    closed(tmp_path / "token", "a-token").chmod(0o644)
    chosen: Any = notices(tmp_path, HTTPS + 'alertmanager_token_file = "token"\n')
    with pytest.raises(WeakMode):
        receivers.alertmanager(chosen)


def test_a_login_over_plain_http_is_for_this_machine_only(tmp_path: Path) -> None:
    closed(tmp_path / "token", "a-token")
    text = 'alertmanager_url = "http://127.0.0.1:9093"\nalertmanager_token_file = "token"\n'
    assert receivers.alertmanager(notices(tmp_path, text)) is not None
