"""Who watches the processes below this one, and the files that they make for a moment."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_PAUSE = 0.03
# Who is given a secret in the environment has it there; who is started by him must not.
PROGRAM = b"ikewarden.main"


def descendants(process: int) -> Iterator[int]:
    """The processes below one, those below these too."""
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError):
                for child in (task / "children").read_text().split():
                    yield int(child)
                    yield from descendants(int(child))


@dataclass
class Witness:
    """Watches until stopped. `arguments` and `environs` are of all processes seen, the latter without those of the
    program itself; `files` are those that `where` told of, by path, with each content that they had.
    """

    where: Callable[[], Iterator[Path]]
    arguments: set[bytes] = field(default_factory=set)
    environs: dict[bytes, bytes] = field(default_factory=dict)
    files: dict[tuple[Path, int, int, int], bytes] = field(default_factory=dict)
    broken: list[BaseException] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Witness":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(_PAUSE):
                self.look()
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.broken.append(error)

    def look(self) -> None:
        """Look once."""
        for process in descendants(os.getpid()):
            with contextlib.suppress(OSError):
                # Before its program begins, a process shows its parent's arguments and environment: of both it must
                # have been the same one.
                arguments = Path(f"/proc/{process}/cmdline").read_bytes()
                environ = Path(f"/proc/{process}/environ").read_bytes()
                then = Path(f"/proc/{process}/cmdline").read_bytes()
                self.arguments |= {arguments, then}
                if arguments == then and PROGRAM not in arguments:
                    self.environs[environ] = arguments
        for path in self.where():
            with contextlib.suppress(OSError):
                seen = path.stat()
                mark = (path, seen.st_ino, seen.st_size, seen.st_mtime_ns)
                if mark not in self.files:
                    self.files[mark] = path.read_bytes()
