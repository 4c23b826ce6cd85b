"""Where the command line's output goes: a file is replaced, and nothing else is."""

import os
import stat
import threading
from pathlib import Path

from ikewarden.cli.files import PUBLIC, SECRET, write_over


def test_a_file_is_replaced_and_gets_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("old")
    write_over(path, [b"new", b"er"], SECRET)
    assert path.read_bytes() == b"newer"
    assert stat.S_IMODE(path.stat().st_mode) == SECRET
    assert [each.name for each in tmp_path.iterdir()] == ["report"]


def test_a_pipe_stays_one(tmp_path: Path) -> None:
    """As does a device: /dev/null is everybody's."""
    path, got = tmp_path / "pipe", []
    os.mkfifo(path, 0o600)
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    write_over(path, b"through it", PUBLIC)
    reader.join(60)
    assert got == [b"through it"]
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_stays_one(tmp_path: Path) -> None:
    """/dev/stdout is one."""
    path, target = tmp_path / "link", tmp_path / "target"
    target.write_text("something longer")
    path.symlink_to(target)
    write_over(path, b"short", PUBLIC)
    assert path.is_symlink()
    assert target.read_bytes() == b"short"
