"""OPNsense's own connections in config.xml, for where the swanctl.conf that it writes is not there. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ike.audit.configuration import effective_swanctl
from ike.audit.configuration.values import Tunnel, Writer
from ike.secrets.appliances.firewall import Record, records
from ike.secrets.settings_syntax import Section, Value
from ike.secrets.values import Place, Problem, Source

_MODEL: Final = ("OPNsense", "Swanctl")
_CONNECTION: Final = (*_MODEL, "Connections", "Connection")
_LOCAL: Final = (*_MODEL, "locals", "local")
_REMOTE: Final = (*_MODEL, "remotes", "remote")
_CHILD: Final = (*_MODEL, "children", "child")
# What OPNsense writes into swanctl.conf under the same name.
_SETTINGS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    _CONNECTION: (
        "proposals", "version", "aggressive", "local_addrs", "remote_addrs", "rekey_time", "reauth_time", "over_time",
    ),
    _LOCAL: ("round", "auth", "id", "certs", "pubkeys"),
    _REMOTE: ("round", "auth", "id", "certs", "cacerts", "pubkeys", "groups"),
    _CHILD: ("esp_proposals", "sha256_96", "mode", "local_ts", "remote_ts", "rekey_time"),
}  # fmt: skip


def effective(source: Source) -> tuple[list[Tunnel], list[Problem]]:
    """The connections of the page VPN: IPsec: Connections that are enabled, as charon gets them."""
    found = [each for each in records(source, _SETTINGS) if each.text("enabled") != "0"]
    whole = Section("connections", Place(source.path, 0))
    for number, record in enumerate(each for each in found if each.path == _CONNECTION):
        section = _connection(record, found, source.path)
        whole.sections[f"{number}"] = section
    top = Section("", whole.place, sections={"connections": whole})
    tunnels, problems = effective_swanctl.effective(top)
    return [_ours(each) for each in tunnels], problems


def _connection(record: Record, found: Iterable[Record], path: str) -> Section:
    section = _section(record, path)
    children = Section("children", section.place)
    for number, each in enumerate(found):
        if each.text("connection") != record.uuid or each.path == _CONNECTION:
            continue
        if each.path == _CHILD:
            children.sections[f"{number}"] = _section(each, path)
        else:
            section.sections[f"{each.path[-1]}-{number}"] = _section(each, path)
    section.sections["children"] = children
    return section


def _section(record: Record, path: str) -> Section:
    texts = ((name, *record.texts[name]) for name in _SETTINGS[record.path] if name in record.texts)
    values = {name: Value(text, Place(path, line)) for name, text, line in texts if text}
    name = record.text("description") or record.uuid[:8]
    return Section(name, Place(path, record.line), values)


def _ours(tunnel: Tunnel) -> Tunnel:
    places = dict(tunnel.places)
    if "version" in places:
        places["keyexchange"] = places["version"]
    return replace(tunnel, writer=Writer.OPNSENSE, places=places)
