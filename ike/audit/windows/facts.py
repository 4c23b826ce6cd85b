"""What a Windows machine is judged by: the document that the collector wrote there."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

from ike.audit.values import Finding, Policy
from ike.audit.windows import certificates, policies
from ike.audit.windows.reading import content_of, read
from ike.audit.windows.values import Collected
from ike.secrets.values import Place, Problem

_SCRIPT: Final = "collect.ps1"


@dataclass(frozen=True)
class WindowsFacts:
    """A machine as it was when the collector ran there."""

    collected: Collected

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What could not be seen of it."""
        if self.collected.elevated:
            return self.collected.problems
        narrow = "collected without administrator's rights: keys, ACLs and IPsec sets are missing"
        return (Problem(Place(self.collected.host, 0), narrow), *self.collected.problems)

    @property
    def items(self) -> int:
        """How many things that matter were collected."""
        seen = self.collected
        files_ = len(seen.certificates) + len(seen.key_files) + len(seen.pfx_files)
        sets = len(seen.crypto_sets) + len(seen.auth_sets)
        return files_ + sets + len(seen.rules) + len(seen.vpn)

    def judge(self, policy: Policy, now: datetime) -> Iterator[Finding]:
        """The findings. Pure."""
        yield from certificates.judge(self.collected, policy, now)
        yield from policies.judge(self.collected, policy)


def look(document: Path | bytes) -> WindowsFacts:
    """What the collector wrote, from its file or as octets.

    Raises CollectedNotFound, CollectedInvalid, CollectedVersion, CollectedTooLarge.
    """
    content = document if isinstance(document, bytes) else content_of(document)
    return WindowsFacts(read(content))


def script() -> bytes:
    """The collector, as Windows PowerShell 5.1 takes it: with its mark of UTF-8, and lines that end with CR LF."""
    content = files(__package__).joinpath(_SCRIPT).read_bytes()
    return b"\xef\xbb\xbf" + content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
