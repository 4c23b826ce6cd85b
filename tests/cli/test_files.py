"""Where the command line's output goes: a file is replaced, and nothing else is."""

import os
import stat
import threading
from pathlib import Path

import pytest

from ikewarden.cli.files import PUBLIC, SECRET, write_over


def test_a_file_is_replaced_and_gets_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("old")
    write_over(path, [b"new", b"er"], SECRET)
    assert path.read_bytes() == b"newer"
    assert stat.S_IMODE(path.stat().st_mode) == SECRET
    assert [each.name for each in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("name", ["pipe", "link"])
def test_a_pipe_stays_one(tmp_path: Path, name: str) -> None:
    """As does a device, and a link to one: /dev/null and /dev/stdout are everybody's."""
    path, got = tmp_path / "pipe", []
    os.mkfifo(path, 0o600)
    (tmp_path / "link").symlink_to(path)
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    write_over(tmp_path / name, b"through it", PUBLIC)
    reader.join(60)
    assert got == [b"through it"]
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (tmp_path / "link").is_symlink()
