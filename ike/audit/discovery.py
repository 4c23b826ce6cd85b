"""What of a host's files matters to its keys: found from the daemons' own configuration, wherever that leads."""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ike.audit import leads, missing, named, places, rights, system
from ike.audit.gathering import Gathering
from ike.audit.ground import Ground
from ike.audit.leads import Lead
from ike.audit.named import Named
from ike.audit.shapes import Shape
from ike.audit.values import Item, Role, Sort
from ike.secrets import reading
from ike.secrets.appliances import vyos
from ike.secrets.reading import Found, Opened
from ike.secrets.stumbling import stumbling
from ike.secrets.values import Dialect, Place, Problem

_IPSEC_VPN: Final = re.compile(
    r"^service-type[ \t]*=[ \t]*\S*(?:strongswan|libreswan|openswan|l2tp|iked|ipsec)", re.MULTILINE
)
_NM_SECRET: Final = re.compile(
    r"^[ \t]*(?:password|psk|secret|xauthpassword|pskvalue|ipsec-psk|user-cert-pass|machine-cert-pass"
    r"|proxy-server-password)[ \t]*=[ \t]*\S",
    re.MULTILINE | re.IGNORECASE,
)
_VYOS_SECRET: Final = re.compile(
    r"(?:pre-shared-secret|pre-shared-key|\bsecret|\bkey|passphrase|password)\s+\S"
)
_VYOS_IPSEC: Final = re.compile(r"^[ \t]*ipsec[ \t]*\{", re.MULTILINE)
_MANY: Final = 2000
_MOST_LEADS: Final = 5000  # of one file
_KINDS: Final = {
    "strongswan.conf": "strongswan.conf",
    "racoon.conf": "racoon",
    "psk.txt": "racoon-psk",
    "config.boot": "vyos-config",
    "config.xml": "opnsense-xml",
}
_OURS: Final = {"swanctl": "swanctl", "ipsec": "ipsec.conf", "secrets": "ipsec.secrets"}


@dataclass(frozen=True)
class Start:
    """A configuration to be parsed, by its path on the host. `kind`: swanctl, ipsec.conf, ipsec.secrets,
    strongswan.conf, racoon, racoon-psk, networkmanager, opnsense-xml, vyos-config, or nss for the folder of a database.
    """

    path: str
    kind: str


@dataclass(frozen=True)
class Discovered:
    """All that matters, each file once. `found`: what stands in swanctl.conf, ipsec.conf and ipsec.secrets; `apart`:
    the same of each host whose files lie below a folder that was named; `problems` are all, those of both too.
    """

    items: tuple[Item, ...]
    starts: tuple[Start, ...]
    found: Found
    problems: tuple[Problem, ...] = ()
    apart: tuple[Found, ...] = ()


class _Discovery(Gathering):
    """One run."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self.starts: dict[tuple[str, str], Start] = {}

    def start(self, path: str, kind: str) -> None:
        """Tell of a configuration, once."""
        self.starts.setdefault((path, kind), Start(path, kind))


def discover(ground: Ground, paths: Sequence[str] = (), *, known: bool = True) -> Discovered:
    """What the configuration in the known places leads to, and these files and folders beside them.

    `paths` are absolute, as the host knows them; with `known` unset they are all that is looked at. What cannot be
    read is a problem, and never stops the rest.
    """
    run = _Discovery(ground)
    folders: list[str] = []
    given = list(_given(run, paths, folders))
    found, apart = Found((), (), (), {}), list[Found]()
    with stumbling(Place("/", 0), run.problems, "the known places"):
        if known:
            given += [place for place in reading.PLACES if run.there(place)]
            _known(run)
    with stumbling(Place("/", 0), run.problems, "the configuration"):
        # Folders are told apart from files by `reading`, and nothing given is nothing looked for.
        found = reading.read(ground, given) if given else found
        _of_found(run, found, known=known)
        _unread(run, given, found)
    for folder in folders:
        with stumbling(Place(folder, 0), run.problems):
            apart += _below(run, folder, found.opened)
    with stumbling(Place("/", 0), run.problems, "the programs"):
        for pattern in places.PROGRAMS if known else ():
            _add_files(run, pattern, Role.PROGRAM, Sort.FILE)
    unread = [problem for each in (found, *apart) for problem in each.problems]
    problems = tuple(dict.fromkeys((*unread, *run.problems)))
    items, starts = tuple(run.items.values()), tuple(run.starts.values())
    return Discovered(items, starts, found, problems, tuple(apart))


# What somebody names


def _given(run: _Discovery, paths: Sequence[str], folders: list[str]) -> Iterator[str]:
    """Sort out what is named; gives what is to be read as swanctl.conf, ipsec.conf or ipsec.secrets, and `folders`."""
    for path in paths:
        try:
            sort = run.ground.status(path).sort
        except OSError as error:
            run.failed(path, error)
            continue
        kind = _kind(path)
        if sort is Sort.FOLDER:
            folders.append(path)
        elif kind:
            _start(run, kind, path)
        elif sort is Sort.FILE:
            kind = run.system(path)
            if kind:
                _start(run, kind, path)
                continue
            shape = run.shape(path)
            if shape is not None and shape.is_key:
                run.add(path, Role.KEY)
            elif shape is Shape.CERTIFICATE:
                run.add(path, Role.CERTIFICATE)
            else:
                yield path
        else:
            run.add(path, Role.SOCKET if sort is Sort.SOCKET else Role.CONFIGURATION)


def _kind(path: str) -> str:
    name = posixpath.basename(path)
    return "networkmanager" if name.endswith(".nmconnection") else _KINDS.get(name, "")


def _below(run: _Discovery, folder: str, opened: Iterable[Opened]) -> Iterator[Found]:
    """Take in what is below a folder that was named, but for what was reached already."""
    waiting, done = [folder], list[str]()
    while waiting and len(done) < _MANY:
        real = run.real(waiting.pop(0))
        if not real or any(real == each or rights.is_above(each, real) for each in done):
            continue
        done.append(real)
        there = named.look(run.ground, real)
        run.problems += there.problems
        read = {run.real(each.path) for each in opened}
        for path, kind in there.configurations.items():
            if run.real(path) not in run.items:
                _start(run, kind, path)
        for group in there.grouped():
            fresh = [path for path in group if run.real(path) not in read]
            if fresh:
                found = reading.read(run.ground, fresh)
                _of_found(run, found, known=False)
                _unread(run, fresh, found)
                read |= {run.real(each.path) for each in found.opened}
                yield found
        _rest(run, there)
        waiting += there.links


def _rest(run: _Discovery, there: Named) -> None:
    for path in there.databases:
        _database(run, Lead(path, Role.FOLDER, Place(path, 0)))
    for paths, role in (
        (there.secrets, Role.SECRETS),
        (there.keys, Role.KEY),
        (there.certificates, Role.CERTIFICATE),
    ):
        for path in paths:
            run.add(path, role)
    for path in there.folders:
        if not system.is_folder_of(path, run.ground.accounts):
            run.add(path, Role.FOLDER)


# The known places


def _known(run: _Discovery) -> None:
    for kind, paths in (
        ("strongswan.conf", places.STRONGSWAN),
        ("racoon", places.RACOON),
        ("racoon-psk", places.RACOON_PSKS),
        ("networkmanager", places.NETWORKMANAGER),
        ("vyos-config", places.VYOS),
        ("opnsense-xml", places.OPNSENSE),
    ):
        for pattern in paths:
            there = run.ground.matching(pattern) if "*" in pattern else [pattern]
            for path in filter(run.there, run.most(there, _MANY, pattern)):
                _start(run, kind, path)
    for pattern in (*places.OPNSENSE_COPIES, *places.VYOS_COPIES):
        for path in run.most(run.ground.matching(pattern), _MANY, pattern):
            run.add(path, Role.SECRETS)
    for folder in places.VYOS_KEYS:
        run.add_keys_below(folder)
    for pattern in places.SOCKETS:
        _add_files(run, pattern, Role.SOCKET, Sort.SOCKET)
    for folder in places.OWN:
        if run.ground.is_folder(folder):
            run.add_own(folder)


def _strongswan(run: _Discovery, path: str) -> None:
    settings = reading.read_settings(run.ground, path)
    run.problems += settings.problems
    run.start(path, "strongswan.conf")
    secret = {place.path for place in leads.secret_settings(settings.top)}
    for each in settings.opened:
        holds = each.path in secret or run.holds_secrets(each.path)
        role = Role.SECRETS if holds else Role.CONFIGURATION
        run.add(each.path, role, _by(each.included_by))
    _follow(run, run.most(leads.of_strongswan(settings.top), _MOST_LEADS, path))


def _racoon(run: _Discovery, path: str) -> None:
    waiting, seen = [Lead(path, Role.CONFIGURATION, Place(path, 0))], {path}
    while waiting:
        lead = waiting.pop(0)
        source = run.read(lead.path)
        if source is None:
            continue
        named_by = lead.place if lead.name else None
        run.add(lead.path, Role.CONFIGURATION, named_by)
        run.start(lead.path, "racoon")
        for each in run.most(leads.of_racoon(source), _MOST_LEADS, lead.path):
            if each.name == "include":
                for found in run.ground.matching(each.path):
                    if found not in seen and len(seen) < _MANY:
                        seen.add(found)
                        waiting.append(Lead(found, each.role, each.place, each.name))
            elif each.name == "path pre_shared_key":
                _racoon_psk(run, each.path, each.place)
            elif each.role is Role.FOLDER:
                run.add_keys_below(each.path)
            else:
                _follow(run, [each])


def _racoon_psk(run: _Discovery, path: str, named_by: Place | None = None) -> None:
    if run.add(path, Role.SECRETS, named_by) is not None:
        run.start(path, "racoon-psk")


def _networkmanager(run: _Discovery, path: str) -> None:
    source = run.read(path)
    if source is not None and _IPSEC_VPN.search(source.text):
        run.add(path, Role.SECRETS if _NM_SECRET.search(source.text) else Role.CONFIGURATION)
        run.start(path, "networkmanager")


def _vyos(run: _Discovery, path: str) -> None:
    source = run.read(path)
    if source is not None and _VYOS_IPSEC.search(source.text):
        run.add(path, Role.SECRETS if _VYOS_SECRET.search(source.text) else Role.CONFIGURATION)
        run.start(path, "vyos-config")
    elif source is not None:
        # That it has no tunnels is known only where all of it is understood.
        broken: list[Problem] = []
        vyos.read(source, broken)
        run.problems += broken[:1]


def _opnsense(run: _Discovery, path: str) -> None:
    # All keys and passwords of the firewall stand in it, whether it has tunnels or not.
    if run.add(path, Role.SECRETS) is not None:
        run.start(path, "opnsense-xml")


_BY_KIND: Final[dict[str, Callable[[_Discovery, str], None]]] = {
    "strongswan.conf": _strongswan,
    "racoon": _racoon,
    "racoon-psk": _racoon_psk,
    "networkmanager": _networkmanager,
    "vyos-config": _vyos,
    "opnsense-xml": _opnsense,
}


def _start(run: _Discovery, kind: str, path: str) -> None:
    """Take in a configuration with what it leads to."""
    with stumbling(Place(path, 0), run.problems):
        _BY_KIND[kind](run, path)


# What was read as swanctl.conf, ipsec.conf and ipsec.secrets


def _of_found(run: _Discovery, found: Found, *, known: bool) -> None:
    with_entries = {entry.place.path for entry in found.entries}
    swanctl = list(places.SWANCTL) if known else []
    ipsec = list(places.IPSEC) if known else []
    databases = [Lead(path, Role.FOLDER, Place(path, 0)) for path in places.NSS] if known else []
    for each in found.opened:
        if not each.included_by:
            run.start(each.path, _OURS[each.kind])
            base = posixpath.dirname(each.path)
            (swanctl if each.kind == "swanctl" else ipsec).append(
                base if each.kind == "swanctl" else posixpath.join(base, "ipsec.d")
            )
        with stumbling(Place(each.path, 0), run.problems):
            databases += _of_opened(run, each, ipsec, holds=each.path in with_entries)
    _missing(run, found, swanctl, ipsec)
    for base in dict.fromkeys(swanctl):
        run.add_folders(base, places.SWANCTL_FOLDERS)
    for base in dict.fromkeys(ipsec):
        run.add_folders(base, places.IPSEC_FOLDERS)
        run.add(posixpath.join(base, places.PASSWORDS), Role.SECRETS)
    for lead in databases:
        _database(run, lead)


def _of_opened(
    run: _Discovery, each: Opened, ipsec: Sequence[str], *, holds: bool
) -> Iterator[Lead]:
    """Take in a file and what it names; gives the folders of databases among that."""
    source = run.read(each.path)
    if source is None:
        return
    # What another file overrides, or takes over from here, makes no entry of this one.
    secret = each.kind == "secrets" or holds or run.holds_secrets(each.path)
    run.add(each.path, Role.SECRETS if secret else Role.CONFIGURATION, _by(each.included_by))
    if each.kind == "secrets":
        named_keys = run.most(leads.of_secrets(source), _MOST_LEADS, each.path)
        _follow(run, _beside(named_keys, ipsec))
    else:
        _follow(run, run.most(leads.of_connections(source), _MOST_LEADS, each.path))
    if each.kind == "ipsec":
        yield from run.most(leads.folders(source), _MANY, each.path)


def _missing(run: _Discovery, found: Found, swanctl: Sequence[str], ipsec: Sequence[str]) -> None:
    """Tell of what is named and not there; what Libreswan calls a certificate is in its database."""
    for each in found.opened:
        is_swanctl = each.kind == "swanctl"
        if is_swanctl or (each.kind == "ipsec" and found.dialect is Dialect.STRONGSWAN):
            source, bases = run.read(each.path), swanctl if is_swanctl else ipsec
            if source is not None:
                run.problems += missing.look(run.ground, source, _own(each, bases), each)


def _own(opened: Opened, bases: Sequence[str]) -> list[str]:
    """The folders that a file's relative names are of, those beside it first."""
    above = (posixpath.dirname(opened.included_by or opened.path), posixpath.dirname(opened.path))
    near = [base for base in bases if base.startswith(above)]
    return list(dict.fromkeys([*near, *bases]))


def _unread(run: _Discovery, given: Iterable[str], found: Found) -> None:
    """What could not be read matters no less; what it is is known by its name, or by its looks."""
    opened = {each.path for each in found.opened}
    told = {problem.place.path for problem in found.problems if not problem.place.line}
    for path in dict.fromkeys([*given, *sorted(told)]):
        if path not in opened and not run.ground.is_folder(path):
            secret = ".secrets" in path or (run.is_file(path) and run.holds_secrets(path))
            run.add(path, Role.SECRETS if secret else Role.CONFIGURATION)


def _beside(found: Iterable[Lead], bases: Sequence[str]) -> Iterator[Lead]:
    """Relative names are of the folder of keys; whether they are there, or nicknames in a database, is seen."""
    for lead in found:
        for base in bases if not lead.path.startswith("/") else ("/",):
            yield Lead(posixpath.join(base, "private", lead.path), lead.role, lead.place, lead.name)


def _database(run: _Discovery, lead: Lead) -> None:
    there = [
        (posixpath.join(lead.path, name), role)
        for name, role in places.NSS_FILES.items()
        if run.ground.exists(posixpath.join(lead.path, name))
    ]
    if not there:
        return
    named_by = lead.place if lead.name else None
    run.add(lead.path, Role.FOLDER, named_by)
    for path, role in there:
        run.add(path, role, named_by)
    if any(path.endswith(".db") for path, _ in there):
        run.start(lead.path, "nss")


def _follow(run: _Discovery, found: Iterable[Lead]) -> None:
    for lead in found:
        if lead.role is Role.KEY:
            run.add_key(lead.path, lead.place)
        elif lead.role is not Role.FOLDER and (
            lead.role is not Role.PROGRAM or run.is_file(lead.path)
        ):
            run.add(lead.path, lead.role, lead.place)


def _add_files(run: _Discovery, pattern: str, role: Role, sort: Sort) -> None:
    for path in run.most(run.ground.matching(pattern), _MANY, pattern):
        try:
            fits = run.ground.status(path).sort is sort
        except OSError:
            continue  # a link that leads nowhere
        if fits:
            run.add(path, role)


def _by(path: str) -> Place | None:
    return Place(path, 0) if path else None
