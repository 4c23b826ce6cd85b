"""Starting the sides of a benchmark, so that they end with it."""

from collections.abc import Mapping

from bench.openbao import OpenBao
from bench.ours import Ours
from bench.rounds import Bench


def start_ours(
    bench: Bench, *, serving: bool = True, environment: Mapping[str, str] | None = None
) -> Ours:
    """An instance of ours, served unless it is to be filled first; `environment` goes before its settings."""
    bench.say("starting ikewarden")
    directory = bench.directory / "ours"
    directory.mkdir()
    service = Ours(directory, database_url=bench.database_url, environment=environment)
    bench.stack.callback(service.stop)
    if serving:
        service.start()
    return service


def start_openbao(bench: Bench) -> OpenBao:
    """The peer, initialized and unsealed."""
    bench.say("starting OpenBao")
    directory = bench.directory / "openbao"
    directory.mkdir()
    peer = OpenBao(directory)
    bench.stack.callback(peer.stop)
    peer.start()
    return peer
