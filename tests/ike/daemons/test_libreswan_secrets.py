"""Shared secrets on a live pluto, what is Libreswan's own: one file of ours among the operator's, one secret a pair."""

import contextlib
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.secret import Secret
from ike.daemons.libreswan import Libreswan, secretsfile
from ike.daemons.libreswan.secretsfile import Entry
from ike.daemons.port import (
    Child,
    Connection,
    DaemonFilesUnwritable,
    DaemonRefused,
    DaemonUnreachable,
    EventKind,
    SharedKey,
    SharedSlot,
)
from tests.ike.daemons.contract import OWN, PEER, watching
from tests.ike.daemons.pluto_rig import adapter, now, places
from tests.ike.daemons.pluto_shared_rig import SharedPlutoRig, include_folder
from tests.ike.daemons.sharedcontract import PSK, SHARED, by_secret, key, ppk_slot, slot, versions
from tests.lab import Lab, Pluto, Refused

pytestmark = pytest.mark.usefixtures("needs_pluto")


@pytest.fixture
def rig(lab: Lab) -> SharedPlutoRig:
    return SharedPlutoRig(lab)


def our_file(rig: SharedPlutoRig) -> Path:
    return rig.gateway.connections / "ikewarden.secrets"


def foreign(rig: SharedPlutoRig, wanted: SharedSlot) -> list[tuple[str, int | None, bool]]:
    found = rig.daemon.shared([wanted]).foreign
    return [(each.where, each.same_as, each.shadows) for each in found]


# our file


def test_the_file_is_for_root_alone_and_is_not_written_again(rig: SharedPlutoRig) -> None:
    wanted = slot(key(1))
    rig.daemon.share([wanted])
    path = our_file(rig)
    before = path.stat()
    assert stat.S_IMODE(before.st_mode) == 0o600
    mark = rig.gateway.log.mark()
    for restart in (False, True):
        if restart:
            rig.restart()
            mark = rig.gateway.log.mark()
        rig.daemon.share([wanted])
        adapter(rig.gateway).share([wanted])  # another agent's life
        assert path.stat().st_mtime_ns == before.st_mtime_ns
        assert "forgetting secrets" not in rig.gateway.log.text(mark)


def test_with_no_slots_there_is_no_file(rig: SharedPlutoRig) -> None:
    rig.gateway.write_secrets()  # no include either
    rig.daemon.share([])
    rig.daemon.share([slot()])
    assert not our_file(rig).exists()


def test_the_include_that_lacks_is_named(rig: SharedPlutoRig) -> None:
    rig.gateway.write_secrets("# include of nothing")
    wanted = slot(key(1))
    with pytest.raises(DaemonRefused, match=f"include {our_file(rig)}$"):
        rig.daemon.share([wanted])
    assert versions(rig.daemon, wanted) == {}
    rig.gateway.write_secrets(f"include {our_file(rig)}")
    rig.daemon.share([wanted])
    assert versions(rig.daemon, wanted) == {PSK: (1,)}
    # It is taken out again, and nobody told pluto yet.
    rig.gateway.write_secrets()
    with pytest.raises(DaemonRefused, match="include"):
        rig.daemon.share([wanted])
    assert versions(rig.daemon, wanted) == {}


def test_an_include_in_an_included_file_will_do(rig: SharedPlutoRig) -> None:
    more = rig.gateway.directory / "more"
    more.write_text("include ipsec.d/ike*.secrets\n")
    rig.gateway.write_secrets("include more")
    rig.daemon.share([slot(key(1))])
    assert versions(rig.daemon) == {PSK: (1,)}


def test_a_pluto_that_does_not_have_it_is_told_again(rig: SharedPlutoRig) -> None:
    wanted = slot(key(1))
    rig.daemon.share([wanted])
    content = our_file(rig).read_bytes()
    our_file(rig).write_bytes(b"")
    rig.gateway.whack("--rereadsecrets")
    our_file(rig).write_bytes(content)
    assert versions(rig.daemon, wanted) == {}
    rig.daemon.share([wanted])
    assert versions(rig.daemon, wanted) == {PSK: (1,)}


@pytest.mark.parametrize(
    "changes",
    [
        {"local_id": "dns:a=b"},
        {"local_id": "dns:[text]"},
        {"local_id": "ip:0.0.0.0"},
        {"remote_id": 'dns:x" : PSK "y'},
        {"remote_id": "dns:x\n: PSK"},
        {"remote_id": "dn:no name"},
        {"remote_id": "dn:CN=gw,O=Lab\\, Inc"},
        {"remote_id": "dn:CN=gw,O=A/S"},
        {"name": "a b"},
        {"kind": "eap"},
        {"keys": (SharedKey(1, Secret(b"x" * 1000)),)},
        {"keys": (SharedKey(1, Secret(b"value"), "ppk-id"),)},
    ],
)
def test_what_cannot_be_written_is_refused(rig: SharedPlutoRig, changes: dict[str, object]) -> None:
    good = slot(key(1), name="good.psk", remote_id="dns:good.example")
    bad = replace(slot(key(2)), **changes)  # type: ignore[arg-type]
    with pytest.raises(DaemonRefused, match="Slot"):
        rig.daemon.share([bad, good])
    assert versions(rig.daemon, bad) == {"good.psk": (1,)}
    assert "malformed" not in rig.everything_said()


@pytest.mark.parametrize(
    ("local_id", "remote_id"),
    [
        ("ip:192.0.2.1", "ip:2001:db8::2"),
        ("email:0t@gw.example", "dns:peer.example"),
        ("dn:CN=gw a,O=Lab,C=DE", "dns:*.example"),
        ("dn:CN=gw a,O=Lab,C=DE", "dn:CN=gw b,O=Lab,C=DE"),
    ],
)
def test_identities_of_every_kind_are_listed(
    rig: SharedPlutoRig, local_id: str, remote_id: str
) -> None:
    wanted = slot(key(1), local_id=local_id, remote_id=remote_id)
    rig.daemon.share([wanted])
    assert versions(rig.daemon, wanted) == {PSK: (1,)}


def test_two_slots_of_one_pair_are_told_apart_by_nobody(rig: SharedPlutoRig) -> None:
    one, other = slot(key(1)), slot(key(2), name="again.psk")
    with pytest.raises(DaemonRefused, match=r"again\.psk.*same pair.*gw-a-gw-b\.psk"):
        rig.daemon.share([one, other])
    assert versions(rig.daemon) == {PSK: (1,)}


# the operator's lines


def test_a_line_of_the_operators_before_ours_shadows_it(rig: SharedPlutoRig) -> None:
    theirs, ours = key(7), key(1)
    line = f"@{OWN} @{PEER} : PSK 0x{theirs.value.reveal().hex()}"
    include_folder(rig.gateway, "# first", line)
    wanted = slot(ours)
    where = f"{rig.gateway.directory}/ipsec.secrets:2"
    with pytest.raises(DaemonRefused, match=f"{PSK}: {where} .*shadows") as told:
        rig.daemon.share([wanted])
    assert theirs.value.reveal().hex() not in str(told.value)
    assert versions(rig.daemon, wanted) == {}
    assert foreign(rig, wanted) == [(where, None, True)]
    rig.share_with_peer(theirs)
    assert rig.bring_up_shared(), "pluto does not take the first"

    # It has the value of a version of ours that is not the first.
    older = slot(ours, replace(theirs, version=3))
    with pytest.raises(DaemonRefused, match="shadows"):
        rig.daemon.share([older])
    assert foreign(rig, older) == [(where, 3, True)]
    assert versions(rig.daemon, older) == {PSK: (3,)}

    # The same value does no harm.
    same = slot(replace(theirs, version=2), ours)
    rig.daemon.share([same])
    assert foreign(rig, same) == [(where, 2, True)]
    assert versions(rig.daemon, same) == {PSK: (2,)}

    # Taken out, and nobody told pluto.
    with pytest.raises(DaemonRefused, match="shadows"):
        rig.daemon.share([wanted])
    include_folder(rig.gateway)
    assert versions(rig.daemon, wanted) == {}, "pluto still has the other"
    rig.daemon.share([wanted])
    assert versions(rig.daemon, wanted) == {PSK: (1,)}
    assert foreign(rig, wanted) == []
    rig.share_with_peer(ours)
    assert rig.bring_up_shared()


def test_lines_that_fit_less_well_do_not_shadow(rig: SharedPlutoRig) -> None:
    lines = [
        ': PSK "for everybody"',
        f'@{OWN} : PSK "for every peer of ours"',
        f'%any @{PEER} : PSK "for this peer of anybody"',
        f'@{PEER} : PSK "for nobody"',
        '@other.example @third.example : PSK "others"',
    ]
    include_folder(rig.gateway, *lines)
    ours = key(1)
    wanted = slot(ours)
    rig.daemon.share([wanted])
    found = foreign(rig, wanted)
    assert [(Path(where).name, shadows) for where, _, shadows in found] == [
        (f"ipsec.secrets:{number}", False) for number in (1, 2, 3)
    ]
    rig.share_with_peer(ours)
    assert rig.bring_up_shared()


def test_a_host_that_pluto_looks_up_is_read_once(rig: SharedPlutoRig) -> None:
    """It is not known here which address that is; pluto is not told to read its files in every round for that."""
    after = rig.gateway.connections / "z.secrets"
    after.write_text('localhost @peer.example : PSK "looked up"\n')
    wanted = slot(key(1), local_id="ip:127.0.0.1", remote_id="dns:peer.example")
    rig.daemon.share([wanted])
    mark = rig.gateway.log.mark()
    rig.daemon.share([wanted])
    assert "loading secrets" not in rig.gateway.log.text(mark)
    assert versions(rig.daemon, wanted) == {PSK: (1,)}


def test_an_earlier_file_of_the_folder_goes_before_ours(rig: SharedPlutoRig) -> None:
    early = rig.gateway.connections / "a.secrets"
    early.write_text(f'@{PEER}\n  @{OWN}\n  : PSK "early"\n')
    with pytest.raises(DaemonRefused, match=r"a\.secrets:1"):
        rig.daemon.share([slot(key(1))])
    early.rename(rig.gateway.connections / "z.secrets")
    rig.gateway.whack("--rereadsecrets")
    wanted = slot(key(1))
    rig.daemon.share([wanted])
    ((where, _, shadows),) = foreign(rig, wanted)
    assert (Path(where).name, shadows) == ("z.secrets:1", False)


RECORDS = [
    # several files of the operator's, and what pluto takes for the pair
    ['@{own} @{peer} : PSK "first"', '@{own} @{peer} : PSK "second"'],
    [': PSK "all"', '%any @{peer} : PSK "peer"', '@{own} : PSK "own"', '@{own} %any : PSK "any"'],
    ['@{own} @x @{peer} : PSK "three"', '@{own} : PSK "own"'],
    ['@{own} @x : PSK "not the peer"', '@{own} @{peer} %any : PSK "too much"', ': PSK "all"'],
    ["@{OWN}. @{PEER} : PSK 'it\"s' # comment"],
    ["@{own}\t@{peer}:\n\n  # comment\n  PSK\n\t0s/wA="],
    ["@{own} @{peer} : PSK 0t a # b", '@{own} @{peer} : PSK "x"'],
    ["@{own} @{peer} : PSK oops", "@{own} @{peer} : PSK 0xAb_cD"],
    ['@{own} @{peer} : PSK "a" "b"', '"@{own}" \'@{peer}\' : psk "in quotes"'],
    [' @{own} @{peer} : PSK "indented"', '@{own} @{peer} : PSK "not"'],
]


@pytest.mark.parametrize("lines", RECORDS)
def test_the_reader_takes_what_pluto_takes(rig: SharedPlutoRig, lines: list[str]) -> None:
    names = {"own": OWN, "peer": PEER, "OWN": OWN.upper(), "PEER": PEER.upper()}
    text = [line.format(**names) for line in lines]
    rig.gateway.write_secrets(*text)
    rig.gateway.whack("--rereadsecrets")
    read = [
        each
        for each in secretsfile.parse("\n".join(text), "f")
        if isinstance(each, Entry) and secretsfile.rank(each.ids, f"@{OWN}", f"@{PEER}")
    ]
    best = max(read, key=lambda each: secretsfile.rank(each.ids, f"@{OWN}", f"@{PEER}"))
    rig.share_with_peer(SharedKey(1, best.value))
    assert rig.bring_up_shared(), rig.gateway.log.text()[-2000:]


# an agent that dies, a pluto that does not answer, a disk that is full


def test_an_agent_killed_between_writing_and_reading(rig: SharedPlutoRig, tmp_path: Path) -> None:
    old, new = key(1), key(2)
    rig.share_with_peer(new)
    rig.daemon.share([slot(old)])
    deadly = tmp_path / "whack"
    deadly.write_text(
        '#!/bin/sh\ncase "$*" in *rereadsecrets*) kill -9 $PPID; exit 1;; esac\n'
        f'exec {rig.gateway.programs / "whack"} "$@"\n'
    )
    deadly.chmod(0o700)
    value = tmp_path / "value"
    value.write_bytes(new.value.reveal())
    there = places(rig.gateway)
    script = f"""
from datetime import UTC, datetime
from pathlib import Path
from core.secret import Secret
from ike.daemons.libreswan import Libreswan, Places
from ike.daemons.port import SharedKey, SharedSlot
places = Places(whack={str(deadly)!r}, control=Path({str(there.control)!r}),
    connections=Path({str(there.connections)!r}), state=Path({str(there.state)!r}))
key = SharedKey(2, Secret(Path({str(value)!r}).read_bytes()))
Libreswan(now=lambda: datetime.now(UTC), places=places).share(
    [SharedSlot({PSK!r}, "psk", {SHARED!r}, "dns:{OWN}", "dns:{PEER}", (key,))])
"""
    died = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert died.returncode == -9, died.stderr.decode()
    wanted = slot(new)
    assert versions(rig.daemon, wanted) == {}, "pluto has the old one"
    assert not rig.bring_up_shared()
    rig.daemon.share([wanted])
    assert versions(rig.daemon, wanted) == {PSK: (2,)}
    assert rig.bring_up_shared()


def test_a_pluto_restarted_in_between_has_read_it(rig: SharedPlutoRig, tmp_path: Path) -> None:
    rig.daemon.share([slot(key(1))])
    hung = tmp_path / "whack"
    hung.write_text(
        '#!/bin/sh\ncase "$*" in *rereadsecrets*) exit 33;; esac\n'
        f'exec {rig.gateway.programs / "whack"} "$@"\n'
    )
    hung.chmod(0o700)
    wanted = slot(key(2))
    broken = Libreswan(now=now, places=replace(places(rig.gateway), whack=str(hung)))
    with pytest.raises(DaemonUnreachable):
        broken.share([wanted])
    assert versions(rig.daemon, wanted) == {}
    rig.restart()
    assert versions(rig.daemon, wanted) == {PSK: (2,)}


def test_nothing_is_touched_while_pluto_is_down(rig: SharedPlutoRig) -> None:
    rig.daemon.share([slot(key(1))])
    before = our_file(rig).read_bytes()
    rig.gateway.stop()
    with pytest.raises(DaemonUnreachable):
        rig.daemon.share([slot(key(2))])
    assert our_file(rig).read_bytes() == before


def test_a_folder_that_cannot_be_written_leaves_the_old_one(rig: SharedPlutoRig) -> None:
    rig.daemon.share([slot(key(1))])
    blocked = our_file(rig).with_name(".ikewarden.secrets.new")
    blocked.mkdir()
    with pytest.raises(DaemonFilesUnwritable, match="ikewarden"):
        rig.daemon.share([slot(key(2))])
    assert versions(rig.daemon) == {PSK: (1,)}
    blocked.rmdir()
    rig.daemon.share([slot(key(2))])
    assert versions(rig.daemon) == {PSK: (2,)}


# PPKs


def test_every_ppk_of_a_slot_is_answered_by_its_name(rig: SharedPlutoRig) -> None:
    psk, one, two = key(1), key(1, ppk=True), key(2, ppk=True)
    rig.share_with_peer(psk)
    rig.share_with_peer(one, two, kind="ppk")
    for first, second in ((one, two), (two, one)):
        rig.daemon.share([slot(psk), ppk_slot(first, second)])
        rig.daemon.connect([by_secret(rig, ppk="required")])
        assert rig.bring_up_shared("managed")
    assert "PPK AUTH calculated as initiator" in rig.gateway.log.text()


# pluto and pluto


@pytest.fixture
def pair(lab: Lab) -> tuple[Pluto, Pluto]:
    """Two plutos with the operator's connection; neither has a secret."""
    one, two = lab.pluto("gw-a"), lab.pluto("gw-b")
    for here, there in ((one, two), (two, one)):
        include_folder(here)
        here.add_connection(
            SHARED,
            {
                **{"left": here.outside, "right": there.outside},
                **{"leftid": f"@{here.name}.example", "rightid": f"@{there.name}.example"},
                **{"leftsubnet": here.inside.network, "rightsubnet": there.inside.network},
                **{"authby": "secret", "ikev2": "insist", "auto": "add"},
            },
        )
        if lab.kernel_esp:
            here.whack("--impair", "revival")
        else:
            here.childless()
    return one, two


def of(gateway: Pluto, *keys: SharedKey) -> list[SharedSlot]:
    there = "gw-b" if gateway.name == "gw-a" else "gw-a"
    ids = {"local_id": f"dns:{gateway.name}.example", "remote_id": f"dns:{there}.example"}
    return [slot(*keys, **ids)]


def rekey(gateway: Pluto) -> None:
    before = gateway.established(SHARED)
    said = gateway.whack("--rekey-ike", "--name", SHARED).text
    assert "rekeyed IKE SA" in said
    assert gateway.established(SHARED) != before


@contextlib.contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(Refused) as told:
        yield
    assert any("AUTHENTICATION_FAILED" in line for line in told.value.words)


def test_two_plutos_go_over_to_a_new_secret(pair: tuple[Pluto, Pluto]) -> None:
    one, two = pair
    daemons = {each.name: adapter(each) for each in pair}
    old, new = key(1), key(2)
    for each in pair:
        daemons[each.name].share(of(each, old))
    one.initiate(SHARED)
    (before,) = daemons["gw-a"].sas()

    daemons["gw-a"].share(of(one, new, old))
    assert daemons["gw-a"].sas() == (before,), "an SA was disturbed"
    rekey(one)
    daemons["gw-b"].share(of(two, new, old))
    rekey(two)
    rekey(one)
    assert two.established(SHARED)

    with watching(daemons["gw-b"]) as seen:
        one.terminate(SHARED)
        seen.wait_for(EventKind.DOWN)
        one.initiate(SHARED)
        up = seen.wait_for(EventKind.UP).sa
    assert up is not None
    assert (up.connection, up.remote_id) == (SHARED, OWN)

    # The old one is worth nothing, whichever end still has it.
    for late in pair:
        daemons[late.name].share(of(late, old))
        one.terminate(SHARED)
        time.sleep(0.1)
        with refused():
            one.initiate(SHARED)
        daemons[late.name].share(of(late, new))
    one.initiate(SHARED)


def test_a_peer_that_does_not_answer_is_not_waited_for(pair: tuple[Pluto, Pluto]) -> None:
    one, two = pair
    daemon = adapter(one)
    daemon.share(of(one, key(1)))
    two.kill()
    assert daemon.initiate(SHARED) is True
    assert daemon.initiate(SHARED) is False, "it is being tried already"
    assert daemon.initiate("nosuch") is False


def version_1(ends: dict[str, tuple[str, ...]], ids: dict[str, str]) -> Connection:
    """A managed connection of IKEv1, by a shared secret."""
    return Connection(
        name="managed",
        **ends,
        **ids,
        remote_authority=None,
        children=(Child("net", ("10.1.0.0/24",), ("10.2.0.0/24",)),),
        authentication="psk",
        ike_version=1,
    )


def test_version_1_takes_the_secret_by_the_same_line(lab: Lab) -> None:
    pair = [lab.pluto(name, setup={"ikev1-policy": "accept"}) for name in ("gw-a", "gw-b")]
    one, two = pair
    secret = key(1)
    for here, there in ((one, two), (two, one)):
        include_folder(here)
        ends = {"local_addresses": (str(here.outside),), "remote_addresses": (str(there.outside),)}
        ids = {"local_id": f"dns:{here.name}.example", "remote_id": f"dns:{there.name}.example"}
        adapter(here).share([slot(secret, ike_version=1, **ids)])
        adapter(here).connect([version_1(ends, ids)])
    said = one.whack("--initiate", "--name", "managed", timeout=3).text
    assert "IKE SA established {auth=PRESHARED_KEY" in said
    (sa,) = [each for each in adapter(one).sas() if each.established]
    assert (sa.connection, sa.version) == ("managed", 1)


def test_a_pluto_that_takes_no_version_1_says_so(lab: Lab) -> None:
    plain = lab.pluto("plain")
    ends = {"local_addresses": (str(plain.outside),), "remote_addresses": ("192.0.2.2",)}
    ids = {"local_id": f"dns:{OWN}", "remote_id": f"dns:{PEER}"}
    with pytest.raises(DaemonRefused) as told:
        adapter(plain).connect([version_1(ends, ids)])
    assert "ikev1-policy=accept" in told.value.next_step
