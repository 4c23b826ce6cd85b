"""The agent audits its host: by the clock, after changes, and what it found gets to the service."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ike.agent import auditing
from ike.agent.auditing import Figures, Looked, first_wait, glance, next_wait, watched
from ike.agent.auditor import Auditor, Pace
from ike.agent.clock import Clock
from ike.agent.home import Home, stamp
from ike.agent.settings import AgentSettings, AuditSettings, parse, render, with_changes
from ike.audit.values import Area, Finding, Policy, Rule, Severity
from ike.secrets.values import Place, Problem
from tests.fixtures.desk import NOW
from tests.fixtures.served import Served
from tests.ike.agent.conftest import Place as Gateway
from tests.ike.agent.test_served import Gateway as ServedGateway
from tests.ike.agent.test_served import until
from tests.ike.audit.corpus import making

RULE = Rule(
    "psk-weak",
    Area.SECRETS,
    Severity.HIGH,
    "A key can be guessed",
    "Why.\nBecause.",
    "Mend it.",
    ("RFC 7296",),
)


def finding(number: int = 0, **fields: Any) -> Finding:
    made = Finding(RULE, Place("/etc/ipsec.secrets", 3), "About 20 bits.", f"peer {number}")
    return replace(made, **fields)


def document(*found: Finding, problems: tuple[Problem, ...] = ()) -> dict[str, Any]:
    figures = Figures(NOW, 0.25, 812, 31)
    return auditing.document("gw1.example.com", Policy(), found, problems, figures)


# The document


def test_a_finding_is_told_as_the_contract_says() -> None:
    made = document(
        finding(severity=Severity.LOW, fix="Or so."), problems=(Problem(Place("/a", 0), "No."),)
    )
    [told] = made["findings"]
    assert told["id"] == finding().id
    assert (told["severity"], told["fix"], told["why"]) == ("low", "Or so.", "Why. Because.")
    assert (told["line"], told["path"], told["references"]) == (
        3,
        "/etc/ipsec.secrets",
        ["RFC 7296"],
    )
    assert made["errors"] == [{"path": "/a", "line": None, "error": "No."}]
    assert (made["version"], made["complete"], made["summary"]["low"]) == (1, True, 1)


def test_what_does_not_fit_is_left_out_and_the_report_says_so() -> None:
    many = [finding(number, evidence="x" * 400) for number in range(3000)]
    made = document(*many)
    assert len(made["findings"]) <= auditing.MAX_FINDINGS
    assert not made["complete"]
    assert made["findings"][0]["subject"] == "peer 0"
    long = [finding(n, evidence="\u20ac" * 2000, fix="\u20ac" * 4000) for n in range(1000)]
    problems = tuple(Problem(Place(f"/{n}" + "y" * 3000, 0), "No.") for n in range(2000))
    made = document(*long, problems=problems)
    assert len(json.dumps(made)) < 4 << 20
    assert not made["complete"]
    assert not document(problems=problems)["complete"]


def test_nothing_in_it_acts_on_a_screen_or_is_refused() -> None:
    odd = "/etc/\x1b[2J\udcff\x00\n"
    made = document(finding(place=Place(odd, 0)), problems=(Problem(Place(odd, 0), odd),))
    assert json.dumps(made, ensure_ascii=False).isprintable()
    assert made["findings"][0]["line"] is None


def test_a_file_that_could_not_be_read_at_all_is_told_before_a_line_of_it() -> None:
    line, whole = Problem(Place("/a", 3), "No word."), Problem(Place("/a", 0), "No file.")
    for problems in ((line, whole), (whole, line)):
        told = document(problems=problems)["errors"]
        assert told == [{"path": "/a", "line": None, "error": "No file."}]


def test_lists_of_published_keys_are_used_and_those_that_are_none_are_told(tmp_path: Path) -> None:
    root, none = tmp_path / "root", tmp_path / "none"
    path = root / "etc/swanctl/private/gw.pem"
    path.parent.mkdir(parents=True)
    path.write_bytes(making.key_pem())
    none.write_bytes(b"no list")
    [known] = making.published(making.OWN)
    lists = tuple(map(str, (known.path, none, tmp_path / "nowhere")))
    settings = AgentSettings("https://a", "gw", audit=AuditSettings(published_keys=lists))
    told = auditing.look(settings, Clock(lambda: NOW), root=root).document
    assert "key-is-published" in {each["rule"] for each in told["findings"]}
    errors = {each["path"]: each["error"] for each in told["errors"]}
    assert errors[str(none)] == "it is no list of published keys"
    assert errors[lists[2]] == "No such file or directory"


def test_a_policy_for_the_fleet_is_judged_by_and_one_that_is_none_is_told(tmp_path: Path) -> None:
    root, policy = tmp_path / "root", tmp_path / "audit-policy.toml"
    secrets = root / "etc/ipsec.secrets"
    secrets.parent.mkdir(parents=True)
    secrets.write_text('%any : PSK "x7Gq0pWm2Zr8Lk5Tn3Vb9Yc6"\n')
    secrets.chmod(0o600)
    wanted = AuditSettings(policy=str(policy))
    settings = AgentSettings("https://a", "gw", audit=wanted)

    def look(by: AgentSettings = settings) -> dict[str, Any]:
        return auditing.look(by, Clock(lambda: NOW), root=root).document

    policy.write_text('baseline = "nist"\npsk_bits = 500\ngroups = ["vpn", "\\u001b[2J"]\n')
    told = look()
    assert told["policy"]["baseline"] == "nist"
    assert told["policy"]["psk_bits"] == 500
    assert told["policy"]["groups"] == ["?[2J", "vpn"]
    assert told["complete"]
    strict = {each["rule"] for each in told["findings"]}
    policy.write_text("psk_bits = 1\n")
    assert strict - {each["rule"] for each in look()["findings"]}
    # What agent.toml names goes before.
    bsi = replace(settings, audit=replace(wanted, baseline="bsi"))
    assert look(bsi)["policy"]["baseline"] == "bsi"
    for content in (b"psk_bits = 0\n", b"no = 1\n", b"\xff", b"[["):
        policy.write_bytes(content)
        told = look()
        [error] = [each for each in told["errors"] if each["path"] == str(policy)]
        assert error["error"]
        # By the defaults something may not be found that is there.
        assert (told["policy"]["psk_bits"], told["complete"]) == (112, False)
    policy.unlink()
    assert str(policy) in {each["path"] for each in look()["errors"]}
    assert str(policy) in auditing.look(settings, Clock(lambda: NOW), root=root).watched
    os.mkfifo(policy)
    assert str(policy) in {each["path"] for each in look()["errors"]}
    nul = replace(settings, audit=replace(wanted, policy="/x\0y"))
    assert "it is no path" in {each["error"] for each in look(nul)["errors"]}


# When


def test_a_fleet_that_is_started_anew_does_not_report_in_one_moment() -> None:
    daily = AuditSettings()
    soon = [first_wait(chance / 10) for chance in range(11)]
    assert min(soon) == 30
    assert len(set(soon)) == 11
    assert max(soon) == 300
    assert {next_wait(daily, chance) for chance in (0.0, 1.0)} == {24 * 3600, 24 * 3600 * 0.9}


def test_settings_of_the_audit_are_kept_and_checked(tmp_path: Path) -> None:
    settings = AgentSettings(
        "https://a",
        "gw",
        audit=AuditSettings(6, "nist", ("/srv/keys",), ("/srv/list",), "/srv/policy"),
    )
    assert parse(render(settings), tmp_path) == settings
    assert with_changes(settings, ["audit.hours=0"]).audit.hours == 0
    without = b'url = "https://a"\ngateway = "gw"\n'
    assert parse(without, tmp_path).audit == AuditSettings()
    for wrong in (b"[audit]\nhours = 999\n", b'[audit]\nbaseline = "x"\n', b"[audit]\nmore = 1\n"):
        with pytest.raises(Exception, match="audit"):
            parse(without + wrong, tmp_path)


# Changes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "swanctl" / "conf.d"
    folder.mkdir(parents=True)
    path = folder / "a.conf"
    path.write_text("x")
    return path


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda path: path.write_text("y"),
    "mode": lambda path: path.chmod(0o666),
    "owner": lambda path: os.chown(path, 1, 1),
    "replaced": lambda path: (
        path.with_suffix(".new").write_text("x"),
        path.with_suffix(".new").replace(path),
    ),
    "removed": lambda path: path.unlink(),
    "another beside it": lambda path: path.with_suffix(".conf~").write_text("x"),
    "mode of the folder": lambda path: path.parent.chmod(0o777),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_shows_in_a_glance(
    file: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    paths = watched([[str(file)]])
    before = glance(paths, but=tmp_path / "home")
    file.read_text()
    assert glance(paths, but=tmp_path / "home") == before
    time.sleep(0.02)  # file systems count in ticks
    change(file)
    assert glance(paths, but=tmp_path / "home") != before


def test_a_glance_sees_neither_its_own_notes_nor_what_comes_and_goes_below_the_root(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    found = glance(["/etc", str(home), str(home / "state.json"), "/nothing\0here"], but=home)
    assert set(found) == {"/etc", "/nothing\0here"}
    assert len(found["/etc"]) == 4
    assert found["/nothing\0here"] == ()


# The thread


@dataclass
class Host:
    """What an audit says, and how often it was made."""

    watched: tuple[str, ...] = ()
    made: int = 0
    found: list[Finding] = field(default_factory=lambda: [finding()])
    failing: bool = False

    def look(self) -> Looked:
        self.made += 1
        if self.failing:
            raise ZeroDivisionError("secret words")
        return Looked(document(*self.found), self.watched)


@contextmanager
def at_work(gateway: Gateway, host: Host, **pace: float) -> Iterator[Auditor]:
    """The thread, hasty."""
    stop = threading.Event()
    agent = gateway.agent()
    made = Auditor(
        gateway.home,
        agent.settings,
        replace(gateway.watch.clock, chance=lambda: 0.0),
        look=host.look,
        connect=agent.connect,
        stop=stop,
        pace=Pace(**{"glance": 0.05, "settle": 0.0, "gap": 0.0, **pace}),
    )
    # Half a minute is too long for a test.
    made._first_wait = lambda: 0.0  # type: ignore[method-assign]
    made.start()
    try:
        yield made
    finally:
        stop.set()
        made.join(10)
        assert not made.is_alive()


def test_it_audits_reports_and_remembers(place: Gateway) -> None:
    place.enroll()
    host = Host()
    with at_work(place, host):
        until(lambda: place.home.audit_notes().get("told_at"))
    assert host.made == 1
    [told] = place.service.findings
    assert told["findings"][0]["rule"] == RULE.id
    notes = place.home.audit_notes()
    assert (notes["summary"]["high"], notes["error"]) == (1, "")
    assert Home(place.path).audit_notes() == notes


def test_what_changed_while_there_was_no_agent_is_found_and_what_changes_after_too(
    place: Gateway, file: Path
) -> None:
    place.enroll()
    host = Host(watched([[str(file)]]))
    with at_work(place, host):
        until(lambda: place.home.audit_notes().get("told_at"))
    file.chmod(0o666)
    agent, stop = place.agent(), threading.Event()
    clock, connect = place.watch.clock, agent.connect
    following = Auditor(
        place.home, agent.settings, clock, look=host.look, connect=connect, stop=stop
    )
    assert following._first_wait() <= 300  # it was audited a moment ago, by another process
    with at_work(place, host):
        # Told, so that it is over: what changes within one has a test of its own.
        until(lambda: len(place.service.findings) >= 2)
        made = host.made
        file.chmod(0o600)
        until(lambda: host.made > made)


def test_it_audits_again_soon_after_a_change_and_not_without_one(
    place: Gateway, file: Path
) -> None:
    place.enroll()
    host = Host(watched([[str(file)]]))
    with at_work(place, host):
        until(lambda: place.service.findings)
        time.sleep(0.3)
        assert host.made == 1
        file.chmod(0o640)
        until(lambda: len(place.service.findings) == 2)
        # At one stroke: an audit between its making and its writing would be one more.
        (place.path / "new").write_text("x")
        (place.path / "new").replace(file.with_suffix(".bak"))
        until(lambda: len(place.service.findings) == 3)
        time.sleep(0.3)
        assert host.made == 3


def test_a_file_that_changes_all_the_time_costs_little(place: Gateway, file: Path) -> None:
    place.enroll()
    host = Host(watched([[str(file)]]))
    with at_work(place, host, gap=1.0):
        until(lambda: host.made)
        began = time.monotonic()
        while time.monotonic() < began + 1.6:
            file.write_text(str(time.monotonic()))
            time.sleep(0.02)
        assert host.made <= 2 + (time.monotonic() - began)


def test_what_changes_during_an_audit_is_audited_again(place: Gateway, file: Path) -> None:
    place.enroll()
    host = Host(watched([[str(file)]]))
    plain = host.look

    def look() -> Looked:
        looked = plain()
        if host.made == 2:
            time.sleep(0.02)
            file.chmod(0o666)
        return looked

    host.look = look  # type: ignore[method-assign]  # a change in the middle
    with at_work(place, host):
        until(lambda: host.made == 1)
        time.sleep(0.1)
        file.write_text("y")
        until(lambda: host.made >= 3)


def test_a_service_that_is_away_is_told_when_it_is_back(place: Gateway) -> None:
    place.enroll()
    host = Host()
    place.service.down()
    with at_work(place, host):
        until(lambda: place.home.audit_notes().get("error"))
        assert "server_unreachable" in place.home.audit_notes()["error"]
        place.service.up()
        until(lambda: place.service.findings)
        until(lambda: not place.home.audit_notes()["error"])
    assert host.made == 1


@pytest.mark.parametrize(
    ("status", "code", "again"),
    [
        (422, "body_invalid", False),
        (404, "route_not_found", False),
        (503, "overloaded", True),
        (403, "outside_scope", True),
    ],
)
def test_what_is_refused_is_sent_again_only_where_that_helps(
    place: Gateway, status: int, code: str, again: bool
) -> None:
    place.enroll()
    place.service.answer_with(auditing_path(), status, {"code": code, "detail": "No."}, times=1)
    with at_work(place, Host()) as thread:
        until(lambda: auditing_path() in [path for _, path, _ in place.service.requests])
        if again:
            until(lambda: place.service.findings)
        else:
            until(lambda: place.home.audit_notes().get("error"))
            time.sleep(0.3)
            assert place.service.findings == []
        assert thread.is_alive()


def auditing_path() -> str:
    return "/v1/gateways/self/findings"


def test_a_mistake_in_a_rule_ends_nothing_and_tells_no_secret(
    place: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    place.enroll()
    host = Host(failing=True)
    with at_work(place, host) as thread:
        until(lambda: place.home.audit_notes().get("error"))
        assert thread.is_alive()
    assert place.home.audit_notes()["error"] == "internal_error: ZeroDivisionError"
    assert place.service.findings == []
    [told] = {each.where for each in caplog.records if each.message == "an audit broke off"}  # type: ignore[attr-defined]  # an extra
    assert Path(told.rpartition(":")[0]) == Path(__file__)
    assert "secret words" not in caplog.text


def test_an_agent_that_is_not_to_audit_does_not(place: Gateway) -> None:
    place.settings = AgentSettings("", "", audit=AuditSettings(hours=0))
    place.enroll()
    with place.running():
        time.sleep(0.3)
        assert "audit" not in {each.name for each in threading.enumerate()}
    place.home.write_settings(replace(place.home.settings(), audit=AuditSettings(hours=1)))
    with place.running():
        until(lambda: "audit" in {each.name for each in threading.enumerate()})
    until(lambda: "audit" not in {each.name for each in threading.enumerate()})


def test_once_audits_when_it_is_asked_to(place: Gateway) -> None:
    place.enroll()
    host = Host()
    with place.home.locked():
        agent = place.agent()
        agent.look_at_host = host.look
        assert agent.once().errors == []
        assert host.made == 0
        assert agent.once(audit=True).errors == []
        assert len(place.service.findings) == 1
        place.service.answer_with(auditing_path(), 503, {"code": "overloaded", "detail": "No."})
        assert [each["code"] for each in agent.once(audit=True).errors] == ["server_refused"]
        assert "overloaded" in place.home.audit_notes()["error"]
        host.failing = True
        assert [each["code"] for each in agent.once(audit=True).errors] == ["audit_broken"]


def test_the_service_takes_what_the_agent_says(
    served: Served, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = f"a{abs(hash(request.node.name)) % 10**8}.example.com"
    gateway = ServedGateway(served, name, tmp_path / "home")
    gateway.enroll()
    odd = finding(2, place=Place("/srv/\x1b\udcff \u00e4", 0), evidence="z" * 5000, fix="y" * 9000)
    many = [finding(number, severity=Severity.INFO) for number in range(3, 1500)]
    problems = tuple(Problem(Place(f"/unread/{n}", 0), "Permission denied") for n in range(300))
    host = Host(found=[finding(), odd, *many])
    home = Home(gateway.path)
    with home.locked():
        from ike.agent.enrollment import settled
        from ike.agent.loop import Agent

        agent = Agent(home, gateway.daemon, settled(home), gateway.watch.clock)
        agent.look_at_host = lambda: Looked(
            {**document(*host.found, problems=problems), "started": stamp(gateway.watch.wall())}, ()
        )
        assert agent.once(audit=True).errors == []
    found = served.client.get("/v1/findings", {"gateway": name, "severity": "high"})["items"]
    assert {each["finding"] for each in found} == {finding().id, odd.id}
