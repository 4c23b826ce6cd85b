"""The machine of generations: killed at any step, resumed, never without a working one, nothing left over."""

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ike.agent.enrollment import enroll, read_line
from ike.agent.errors import HomeDamaged, HomeInUse, HomeNotPrivate
from ike.agent.folder import Folder
from ike.agent.generations import Generations, Stage
from ike.agent.home import Home
from ike.agent.keys import make_key, make_request
from ike.daemons.port import CredentialMismatch
from tests.ike.agent import fate as fates
from tests.ike.agent.conftest import Place
from tests.ike.agent.fate import Fate, Killed
from tests.ike.agent.miniservice import MiniService, mini_service


def working(place: Place) -> None:
    """The daemon has a certificate to use, and its key is on disk."""
    used = place.daemon.in_use()
    assert used is not None
    known = {
        each.credential.fingerprint for each in place.home.generations.all() if each.certificate
    }
    assert used in known


def steps_of(place: Place) -> int:
    """How many steps a renewal has; does one."""
    fate = Fate()
    assert fates.once(place, fate, renew=True)
    place.in_order()
    return len(fate.steps)


def test_a_renewal_killed_at_any_step_is_resumed(place: Place) -> None:
    place.enroll()
    place.once()
    count = steps_of(place)
    assert count > 30
    for at in range(1, count + 1):
        assert not fates.once(place, Fate(at), renew=True)
        working(place)
        place.once()
        place.in_order()


def test_an_enrollment_killed_at_any_step_is_resumed_by_the_same_line(
    service: MiniService, tmp_path: Path
) -> None:
    at = 0
    while True:
        at += 1
        place = Place(service, tmp_path / f"home{at}")
        service.token, service.uses = f"iw_token-number-{at}", 1
        line = service.line()
        home = Home(place.path, Fate(at).step)
        try:
            with home.locked(make=True):
                enroll(home, read_line(line), place.settings, clock=place.watch.wall)
        except Killed:
            if not place.home.generations.identity():
                place.enroll(line)
            place.once()
            place.in_order()
            assert place.home.settings().url == service.url
            assert service.uses == 0
            continue
        break
    assert at > 10


def test_enrolling_again_killed_at_any_step_keeps_the_old_key_working(
    service: MiniService, tmp_path: Path
) -> None:
    at = 0
    place = Place(service, tmp_path / "home")
    place.enroll()
    place.once()
    while True:
        at += 1
        service.token, service.uses = f"iw_token-number-{at}", 1
        line = service.line()
        home = Home(place.path, Fate(at).step)
        try:
            with home.locked():
                enroll(home, read_line(line), place.settings, clock=place.watch.wall, force=True)
        except Killed:
            working(place)
            place.enroll(line, force=True)
            place.once()
            place.in_order()
            continue
        break
    assert at > 10


_ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("killed"), st.integers(1, 60)),
        st.tuples(st.just("refuse_key"), st.just(0)),
        st.tuples(st.just("refuse_check"), st.just(0)),
        st.tuples(st.just("refuse_proof"), st.just(0)),
        st.tuples(st.just("unreachable"), st.just(0)),
        st.tuples(st.just("disk_full"), st.just(0)),
        st.tuples(
            st.sampled_from(["fail", "break"]), st.sampled_from(["stage", "apply", "retire"])
        ),
        st.tuples(st.just("restart"), st.booleans()),
        st.tuples(st.just("wipe"), st.just(0)),
        st.tuples(st.just("server"), st.just(0)),
    ),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(acts=_ACTS)
def test_whatever_happens_in_whatever_order(
    acts: list[tuple[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("story")
    with mini_service(directory) as service:
        place = Place(service, directory / "home")
        place.enroll()
        place.once()
        place.daemon.establish("tunnel", "gw2.example.com")
        hurt = False  # by itself, and not mended yet: perhaps nobody could reach it since
        for act, detail in acts:
            happen(place, act, detail)
            hurt = act in ("restart", "wipe") or (hurt and place.daemon.in_use() is None)
            if not hurt:
                working(place)
        place.watch.offset += timedelta(days=1)  # beyond every back-off
        place.once()
        place.once()
        place.in_order()


def happen(place: Place, act: str, detail: object) -> None:
    """One misfortune in a renewal, and the end of the misfortune, but not of what it left."""
    daemon = place.daemon
    match act, detail:
        case "killed", int():
            fates.once(place, Fate(detail), renew=True)
        case (("fail" | "break"), str()):
            (daemon.fail_next if act == "fail" else daemon.break_off)(detail)
            place.once(renew=True)
            daemon._next.clear()
        case "restart", bool():
            daemon.restart(reads_files=detail)
        case "wipe", _:
            daemon.wipe()
        case "server", _:
            place.service.down()
            place.once(renew=True)
            place.service.up()
        case _:
            setattr(daemon, act, True)
            place.once(renew=True)
            setattr(daemon, act, False)


# --- the folder and the lock -------------------------------------------------------------------------------------


def made(tmp_path: Path) -> Generations:
    folder = Folder(tmp_path / "home")
    folder.make()
    return Generations(folder.sub("generations"))


def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        generations = made(tmp_path)
        key = make_key("ec-p256")
        generations.make(key, make_request(key, []), {})
    finally:
        os.umask(before)
    for path in (tmp_path / "home").rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("name", [".", "agent.toml", "generations/1/key.pem", "generations/1"])
def test_a_weak_mode_is_refused_with_what_to_do(place: Place, name: str) -> None:
    place.enroll()
    (place.path / name).chmod(0o755 if (place.path / name).is_dir() else 0o640)
    with pytest.raises(HomeNotPrivate, match="open to others") as caught:
        place.once()
    assert "chmod" in caught.value.next_step


def test_links_are_refused(place: Place, tmp_path: Path) -> None:
    place.enroll()
    key = place.path / "generations/1/key.pem"
    key.rename(tmp_path / "elsewhere")
    key.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HomeNotPrivate, match="not a plain file"):
        place.once()
    key.unlink()
    os.link(tmp_path / "elsewhere", key)
    with pytest.raises(HomeNotPrivate, match="2 hard links"):
        place.once()


def test_a_second_agent_is_told_who_the_first_is(place: Place) -> None:
    place.enroll()
    with place.home.locked():
        with pytest.raises(HomeInUse, match=f"process {os.getpid()}"):
            place.once()
    place.once()


@pytest.mark.parametrize("name", ["key.pem", "state", "certificate.pem", "request"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"{"])
def test_a_damaged_file_is_named(place: Place, name: str, content: bytes) -> None:
    place.enroll()
    (place.path / "generations/1" / name).write_bytes(content)
    if name == "key.pem" and content:
        with pytest.raises(CredentialMismatch, match="private key"):
            place.once()
        return
    with pytest.raises(HomeDamaged, match="generation 1"):
        place.once()


@pytest.mark.parametrize("name", ["state.json", "desired.json"])
def test_what_is_only_remembered_may_be_lost(place: Place, name: str) -> None:
    place.enroll()
    place.once()
    for content in (b"", b"[]", b'{"version": []}', b"\xff"):
        (place.path / name).write_bytes(content)
        place.once()
        place.in_order()


def test_steps_are_not_left_out(tmp_path: Path) -> None:
    generations = made(tmp_path)
    key = make_key("ec-p256")
    only = generations.make(key, make_request(key, []), {})
    with pytest.raises(ValueError, match="cannot go"):
        generations.move(only, Stage.APPLIED)
