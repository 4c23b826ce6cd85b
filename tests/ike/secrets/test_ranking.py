"""Which secret answers for a connection, by the rules of each daemon."""

import pytest

from core.secret import Secret
from ike.secrets import identities, ranking
from ike.secrets.looking import look
from ike.secrets.ranking import Answer, Keyring, answers_for_others
from ike.secrets.reading import Found
from ike.secrets.values import Connection, Dialect, End, Entry, Form, Kind, Place

STRONGSWAN, LIBRESWAN = Dialect.STRONGSWAN, Dialect.LIBRESWAN
Owned = tuple[str, str]


def entries(dialect: Dialect, *given: Owned) -> list[Entry]:
    """Secrets by owners and value."""
    read = identities.strongswan if dialect is STRONGSWAN else identities.libreswan
    return [
        Entry(
            Kind.PSK,
            tuple(read(owner) for owner in owners.split()),
            Secret(value),
            Form.QUOTED,
            Place("/etc/ipsec.secrets", number),
            dialect,
        )
        for number, (owners, value) in enumerate(given, 1)
    ]


def connection(
    dialect: Dialect, local: str = "@me", remote: str = "@you", versions: tuple[int, ...] = (2,)
) -> Connection:
    read = identities.strongswan if dialect is STRONGSWAN else identities.libreswan
    return Connection(
        "tunnel",
        Place("/etc/ipsec.conf", 1),
        dialect,
        versions,
        End(read(local), ("192.0.2.1",), psk=True),
        End(read(remote), ("192.0.2.2",), psk=True),
    )


def answer(connection: Connection, given: list[Entry]) -> Answer:
    return Keyring(given).answer(connection)


def values(dialect: Dialect, *given: Owned) -> tuple[str, bool, int]:
    found = answer(connection(dialect), entries(dialect, *given))
    fitting = "".join(entry.value.reveal().decode() for entry in found.entries)
    return fitting, found.tied, found.accepted


@pytest.mark.parametrize(
    ("given", "expected", "tied", "accepted"),
    [
        ([("you", "a")], "a", False, 0),
        ([("you", "a"), ("you", "b")], "ba", True, 0),
        ([("you", "a"), ("you", "a")], "aa", False, 0),
        ([("me you", "a"), ("you", "b")], "a", False, 1),
        ([("", "a"), ("you", "b")], "b", False, 1),
        ([("%any", "a"), ("me", "b")], "a", False, 1),
        ([("me", "a"), ("*.else you", "b")], "b", False, 1),
        ([("other", "a")], "", False, 0),
        ([("YOU", "a")], "a", False, 0),
        ([("%any you", "a"), ("you", "b")], "a", False, 1),
        ([("me other", "a"), ("me you", "a"), ("me third", "c")], "a", False, 1),
    ],
)
def test_charon(given: list[Owned], expected: str, tied: bool, accepted: int) -> None:
    assert values(STRONGSWAN, *given) == (expected, tied, accepted)


@pytest.mark.parametrize(
    ("given", "expected", "tied"),
    [
        ([("@you", "a")], "", False),
        ([("@me", "a")], "a", False),
        ([("@me @you", "a"), ("@you @me", "b")], "ab", True),
        ([("@me @you", "a"), ("@you @me", "a")], "aa", False),
        ([("", "a"), ("@me @you", "b")], "b", False),
        ([("%any @me", "a"), ("@me", "b")], "a", False),
        ([("", "a"), ("%any @you", "b")], "b", False),
        ([("@me @other", "a")], "", False),
        ([("@me @you @other", "a"), ("%any", "b")], "a", False),
        ([("@ME @you.", "a")], "a", False),
    ],
)
def test_pluto(given: list[Owned], expected: str, tied: bool) -> None:
    assert values(LIBRESWAN, *given) == (expected, tied, 0)


def test_patterns_and_addresses() -> None:
    wide = entries(STRONGSWAN, ("*.example.com", "a"), ("192.0.2.0/24", "b"), ("%any", "c"))
    named = answer(connection(STRONGSWAN, remote="gw.example.com"), wide)
    assert ([entry.value.reveal() for entry in named.entries], named.accepted) == ([b"a"], 1)
    numbered = answer(connection(STRONGSWAN, remote="192.0.2.9"), wide)
    assert ([entry.value.reveal() for entry in numbered.entries], numbered.accepted) == ([b"b"], 1)


def test_ikev1_may_go_by_the_addresses() -> None:
    for dialect in Dialect:
        given = entries(dialect, ("192.0.2.1 192.0.2.2", "a"))
        assert answer(connection(dialect), given).first is None
        assert answer(connection(dialect, versions=(1,)), given).first is given[0]


def test_other_kinds_and_other_daemons_are_left_aside() -> None:
    [mine], [theirs] = entries(STRONGSWAN, ("you", "a")), entries(LIBRESWAN, ("@me @you", "b"))
    assert answer(connection(STRONGSWAN), [theirs, mine]).entries == (mine,)


@pytest.mark.parametrize(
    ("dialect", "owners", "told"),
    [
        (STRONGSWAN, "you", ""),
        (STRONGSWAN, "you me", "own identity is among"),
        (STRONGSWAN, "me", "own identity is its only"),
        (STRONGSWAN, "", "no owners"),
        (STRONGSWAN, "you %any", "%any"),
        (LIBRESWAN, "@me @you", ""),
        (LIBRESWAN, "@me", "own identity is its only"),
        (LIBRESWAN, "@me %any", "%any"),
        (LIBRESWAN, "", "no owners"),
    ],
)
def test_a_key_that_answers_for_other_peers(dialect: Dialect, owners: str, told: str) -> None:
    [entry] = entries(dialect, (owners, "a"))
    said = answers_for_others(entry, [identities.strongswan("me")])
    assert told in said
    assert bool(told) == bool(said)


def test_equal_values_are_seen_and_fingerprints_are_of_one_run() -> None:
    given = entries(STRONGSWAN, ("you", "same"), ("other", "same"), ("third", "else"))
    found = Found(tuple(given), (connection(STRONGSWAN),), (), {})
    one, again = (look(found, Secret(bytes([n]) * 32)) for n in (1, 2))
    prints = [seen.fingerprint for seen in one.secrets]
    assert prints[0] == prints[1] != prints[2]
    assert prints[0] != again.secrets[0].fingerprint
    assert [len(seen.elsewhere) for seen in one.secrets] == [1, 1, 0]
    assert one.tunnels[0].secrets[0].connections == ("tunnel",)
    assert any("the same value" in remark for remark in one.secrets[0].remarks)


@pytest.mark.parametrize(
    ("text", "recorded"),
    [
        ("gw1.example.com", "dns:gw1.example.com"),
        ("@GW1.example.com", "dns:gw1.example.com"),
        ("192.0.2.1", "ip:192.0.2.1"),
        ("2001:DB8:0::1", "ip:2001:db8::1"),
        ("carol@example.com", "email:carol@example.com"),
        ("C=CH, O=Example, CN=gw", "dn:CN=gw,O=Example,C=CH"),
        ("/C=CH/O=Example/CN=gw", "dn:CN=gw,O=Example,C=CH"),
        ("%any", None),
        ("*.example.com", None),
        ("192.0.2.0/24", None),
        ("@#6162", None),
        ("a b", None),
        ("CN=\ud800", None),
    ],
)
def test_identities_as_the_service_writes_them(text: str, recorded: str | None) -> None:
    assert identities.on_record(identities.strongswan(text)) == recorded


def hub(dialect: Dialect, owners: str, count: int) -> Found:
    """As many connections as keys; `owners` of one key, with the number of its peer."""
    given = entries(dialect, *((owners.format(n), f"{n}") for n in range(count)))
    peers = tuple(connection(dialect, remote=f"@gw{n}.example.com") for n in range(count))
    return Found(tuple(given), peers, (), {})


@pytest.mark.parametrize("owners", ["@gw{}.example.com %any", "@me @gw{}.example.com"])
@pytest.mark.parametrize("dialect", list(Dialect))
def test_an_ordinary_hub_is_looked_through_in_a_few_steps_each(
    dialect: Dialect, owners: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 300
    monkeypatch.setattr(ranking, "_MAX_STEPS", 4 * count)
    overview = look(hub(dialect, owners, count), Secret(bytes(32)))
    assert not overview.problems
    assert [len(each.secrets) for each in overview.tunnels] == [1] * count
    others = count - 1 if dialect is STRONGSWAN else 0
    assert {each.answer.accepted for each in overview.tunnels} == {others}


@pytest.mark.parametrize("owners", ["*.gw{}.example.com", "192.0.2.0/24", "%any"])
def test_keys_of_patterns_are_compared_only_so_often_and_the_rest_is_told(
    owners: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 100
    monkeypatch.setattr(ranking, "_MAX_STEPS", 5000)
    overview = look(hub(STRONGSWAN, owners, count), Secret(bytes(32)))
    assert 0 < len(overview.tunnels) <= 50
    assert len(overview.secrets) == count
    [problem] = overview.problems
    assert f"{count - len(overview.tunnels)} connections" in problem.message


def test_many_identities_of_a_gateway_are_asked_for_at_once() -> None:
    own = frozenset(identities.strongswan(f"gw{n}") for n in range(1000))
    [entry] = entries(STRONGSWAN, ("GW7 you", "a"))
    assert "own identity is among" in answers_for_others(entry, own)


def test_a_name_with_a_star_covers_either_spelling() -> None:
    wide = entries(STRONGSWAN, ("C=CH,CN=*", "a"))
    named = connection(STRONGSWAN, remote="c=CH,cn=Gw")
    assert answer(named, wide).first is wide[0]
