"""A tree gone through: what is in the way, how large it may be, and what is kept of it."""

import os
import time
import tracemalloc

import pytest

from ike.audit import places
from ike.audit.ground import Ground
from ike.audit.sweep import Sweep
from tests.fixtures.needs import needs_root
from tests.ike.audit.conftest import KEY, Files


def swept(files: Files, *paths: str) -> tuple[list[str], Sweep]:
    sweep = Sweep(Ground(files.root))
    return sorted(stray.item.path for stray in sweep.strays(paths, frozenset())), sweep


def test_what_is_in_the_way(files: Files) -> None:
    files.put("/srv/a/gw.key", KEY)
    os.mkfifo(files.root / "srv/a/fifo.key")
    files.folder("/srv/folder.key")
    files.link("/srv/round", "/srv")
    files.link("/srv/link.key", "a/gw.key")
    here = files.put("/srv/huge.pem", KEY)
    os.truncate(here, 10 * 2**30)
    files.put("/proc/1/x.key", KEY)
    files.put("/srv/" + "é" * 100 + ".key", KEY)
    (files.root / "srv" / "a").joinpath(os.fsdecode(b"\xff\n.key")).write_text(KEY)
    paths, sweep = swept(files)
    assert paths == sorted(
        ["/srv/a/gw.key", "/srv/huge.pem", "/srv/" + "é" * 100 + ".key", "/srv/a/\udcff\n.key"]
    )
    assert not sweep.problems


def test_folders_without_end(files: Files) -> None:
    here = os.open(files.folder("/srv"), os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    files.put("/var/gw.key", KEY)
    paths, sweep = swept(files)
    assert paths == ["/var/gw.key"]
    assert [problem.message[:31] for problem in sweep.problems] == [
        "folders are nested too deeply: "
    ]


def test_names_that_make_a_search_slow(files: Files) -> None:
    for name in (
        "a.key" + "1" * 240 + "!",
        "x" + ".secrets" * 30 + "!",
        ".key" * 60 + "!",
        "-etc" * 60,
    ):
        files.put("/srv/" + name, KEY)
    before = time.monotonic()
    assert swept(files)[0] == []
    assert time.monotonic() - before < 60


@needs_root
def test_folders_that_may_not_be_entered(files: Files) -> None:
    paths, sweep = swept(files, "/nowhere")
    assert (paths, sweep.problems) == ([], [])


def test_memory_does_not_grow_with_the_tree(files: Files) -> None:
    for number in range(40):
        folder = files.folder(f"/srv/{number}")
        for name in range(100):
            (folder / f"{name}.txt").touch()
    ground = Ground(files.root)
    list(Sweep(ground).strays((), frozenset()))
    tracemalloc.start()
    try:
        sweep = Sweep(ground)
        list(sweep.strays((), frozenset()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sweep.files > 4000
    assert peak < 200_000


def test_a_host_in_use_is_gone_through_where_keys_lie(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = Ground(files.root)
    ground.is_live = True
    files.put("/home/alice/vpn/gw.key", KEY)
    files.put("/home/alice/.cache/x/gw.key", KEY)
    files.put("/home/a/b/c/d/e/f/g/h/gw.key", KEY)
    files.put("/srv/gw.key", KEY)
    files.put("/tmp/gw.key", KEY)
    files.put("/tmp/a/gw.key", KEY)

    def look(*paths: str) -> list[str]:
        return sorted(each.item.path for each in Sweep(ground).strays(paths, frozenset()))

    assert look() == ["/home/alice/vpn/gw.key", "/tmp/gw.key"]
    assert "/srv/gw.key" in look("/srv")
    assert places.SWEPT["/home"] > places.SWEPT["/tmp"]


def test_a_place_that_is_too_large(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ike.audit.sweep._MAX_ENTRIES", 50)
    for number in range(100):
        files.put(f"/home/alice/{number}")
    ground = Ground(files.root)
    ground.is_live = True
    sweep = Sweep(ground)
    assert list(sweep.strays((), frozenset())) == []
    assert [(str(each.place), each.message[:15]) for each in sweep.problems] == [
        ("/home", "it is too large")
    ]
