"""What the doctor takes from a log: the last try that failed, the most telling line of it, and hosts that fight."""

from ike.doctor.log import read, together
from ike.doctor.network import request
from ike.events.event import SaEvent
from tests.ike.doctor.test_matching import tunnel


def event(kind: str, line: int, **more: object) -> SaEvent:
    """An event of the connection `site`, unless another is named."""
    return SaEvent(kind, line, **{"name": "site", **more})  # type: ignore[arg-type]


def test_the_cause_comes_before_the_refusal() -> None:
    log = read(
        [
            event("ike_respond", 1),
            event("crl_fetch_failed", 2),
            event("cert_invalid", 3, reason="revocation"),
            event("unknown_peer", 4),
        ],
        None,
    )
    assert [each.line for each in log.failures] == [3, 2, 4]


def test_a_success_ends_what_failed_before() -> None:
    tried = [event("ike_initiate", 1), event("auth_failed", 2)]
    assert read(tried, None).failures
    up = [*tried, event("ike_initiate", 3), event("child_established", 4)]
    assert not read(up, None).failures
    assert read(up, None).came_up


def test_only_the_last_try_counts() -> None:
    log = read(
        [
            event("ike_initiate", 1),
            event("auth_failed", 2),
            event("ike_initiate", 3),
            event("ike_established", 4),
            event("ts_unacceptable", 5),
            event("ike_initiate", 6),
        ],
        None,
    )
    assert [each.kind for each in log.failures] == ["ts_unacceptable"]
    assert log.ike_came_up


def test_two_hosts_take_turns_and_one_that_moves_does_not() -> None:
    def came(*sources: str) -> list[SaEvent]:
        found = []
        for line, source in enumerate(sources):
            found += [
                event("duplicate_replaced", line, identity="gw1", source=source),
                event("ike_established", line, identity="gw1", source=source),
            ]
        return found

    assert not read(came("192.0.2.1", "192.0.2.3"), None).duplicates
    turns = read(came("192.0.2.1", "192.0.2.3", "192.0.2.1"), None).duplicates
    assert turns == {"gw1": frozenset({"192.0.2.1", "192.0.2.3"})}


def test_a_probe_says_how_long_it_is() -> None:
    for size in (0, 1900):
        message = request(size)
        assert int.from_bytes(message[24:28], "big") == len(message)
        assert not size or len(message) == size


def test_a_hubs_log_is_read_for_this_end_whatever_the_connection_is_called_there() -> None:
    def met(line: int, name: str, source: str, number: int, **more: str) -> list[SaEvent]:
        about = {"source": source, "ike_id": number}
        return [
            event("ike_respond", line, **about, name=None),
            event("auth_failed", line + 1, **about, name=name, **more),
        ]

    refused = event("auth_failed", 2, name="branch", reason="refused", source="192.0.2.1")
    ours = read([refused], tunnel("branch", local_id="branch-7", local_addrs="192.0.2.3"))
    hub = [
        *met(1, "branches", "192.0.2.3", 1, identity="branch-7", reason="psk"),
        *met(3, "branches", "192.0.2.4", 2, identity="branch-8", reason="eap"),
        event("child_established", 5, source="192.0.2.2", ike_id=3, name="other"),
        # Another host behind the same address, and another tunnel of this one.
        *met(6, "branches", "192.0.2.3", 4, identity="branch-9", reason="eap"),
    ]
    for addresses in ("192.0.2.3", "%any"):
        caller = tunnel("branch", local_id="branch-7", local_addrs=addresses)
        theirs = read(hub, None, caller=caller)
        assert [(each.line, each.reason) for each in theirs.failures] == [(2, "psk")]
        both = together([ours, theirs])
        assert both.failures[0] in both.theirs
    assert len(read(hub[:1], None, caller=tunnel("branch")).failures) == 0
    assert (
        read(hub, None, caller=tunnel("branch")).failures[0].line == 7
    )  # nothing tells them apart


def test_what_nothing_shows_to_be_the_peers_counts_where_it_comes_from_there_or_alone() -> None:
    site = tunnel("site", remote_addrs="%any", remote_id="branch-7")
    refused = event("auth_failed", 1, source="192.0.2.3", ike_id=1, reason="psk")
    stranger = event("proposal_mismatch", 2, name=None, source="203.0.113.9", ike_id=2)
    again = event("proposal_mismatch", 3, name=None, source="192.0.2.3", ike_id=3)
    of_other = event("proposal_mismatch", 4, name="other", source="192.0.2.3", ike_id=4)
    before_its_name = event("unknown_peer", 5, name=None, source="192.0.2.3", ike_id=4)
    log = read([refused, stranger, again, of_other, before_its_name], site)
    assert [each.line for each in log.failures] == [3, 1]
    assert not log.doubtful
    alone = read([stranger], site)
    assert [each.line for each in alone.failures] == [2]
    assert alone.doubtful
