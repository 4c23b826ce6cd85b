"""Which sources of events a gateway has.

One that tells what the daemon does, and not several together: they state the same facts, and a fact that is told twice
looks like a loop. The log tells the most, and nothing of it is lost while the agent is away; VICI needs no setting.
Beside it stand sources that tell what no event of that one states.
"""

from pathlib import Path
from typing import Final, NamedTuple

from ike.agent.settings import AgentSettings
from ike.agent.watching.counters import Counters
from ike.agent.watching.kernel import Kernel
from ike.agent.watching.notices import Notices
from ike.agent.watching.sources import Journal, LogFile, Now, Source, Vici
from ike.daemons.strongswan.session import SOCKET

JOURNAL: Final = "journal"
KERNEL: Final = "kernel"
OFF: Final = "off"


class Feed(NamedTuple):
    """A source, and what it is called. The silence of one that is not `beside` says that nothing happened."""

    name: str
    source: Source
    beside: bool


def feeds_of(settings: AgentSettings, now: Now) -> list[Feed]:
    """What agent.toml says."""
    watch, charon = settings.watch, settings.daemon == "strongswan"
    socket = Path(settings.strongswan.socket or SOCKET)
    main = _main(settings, socket, now)
    feeds = [] if main is None else [Feed(watch.log or "VICI", main, beside=False)]
    if charon and watch.log != OFF and watch.counters_seconds:
        feeds.append(Feed("counters", Counters(socket, now, watch.counters_seconds), beside=True))
    if isinstance(main, Vici) and watch.error_notify:
        feeds.append(
            Feed("error-notify", Notices(Path(watch.error_notify), socket, now), beside=True)
        )
    if watch.kernel != OFF and watch.log != KERNEL:
        feeds.append(Feed("kernel", Kernel(now, manual=True), beside=True))
    return feeds


def _main(settings: AgentSettings, socket: Path, now: Now) -> Source | None:
    log = settings.watch.log
    if log == OFF:
        return None
    if log == JOURNAL:
        return Journal(now)
    if log == KERNEL:
        return Kernel(now)
    if log:
        return LogFile(Path(log), now)
    return Vici(socket, now) if settings.daemon == "strongswan" else None
