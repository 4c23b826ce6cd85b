"""swanctl.conf: the connections and secrets that swanctl loads. Pure.

So are the generated files of VyOS, OPNsense and pfSense.
"""

from collections.abc import Iterator
from typing import Final

from core.secret import Secret
from ike.secrets import forms, identities, ipsec_secrets
from ike.secrets.identities import Identity
from ike.secrets.settings_syntax import Section, Value, resolved
from ike.secrets.settings_syntax import parse as parse_settings
from ike.secrets.values import (
    Connection,
    Dialect,
    End,
    Entry,
    Form,
    Include,
    Kind,
    Parsed,
    Problem,
    Source,
    nothing,
)

# Sections are known by how their names begin; the longer beginnings first.
_KINDS: Final = {
    "pkcs12": Kind.PASSPHRASE,
    "private": Kind.PASSPHRASE,
    "pkcs8": Kind.PASSPHRASE,
    "ecdsa": Kind.PASSPHRASE,
    "xauth": Kind.USER,
    "bliss": Kind.PASSPHRASE,
    "ntlm": Kind.USER,
    "token": Kind.PIN,
    "eap": Kind.USER,
    "ike": Kind.PSK,
    "ppk": Kind.PPK,
    "rsa": Kind.PASSPHRASE,
}
_VERSIONS: Final = {"1": (1,), "2": (2,)}


def parse(source: Source, include: Include = nothing) -> Parsed:
    """The connections and secrets of a file and of those that it includes, in the order in which they are loaded."""
    top, problems = parse_settings(source, include)
    entries: list[Entry] = []
    connections: list[Connection] = []
    for name, section in _sections(top, "secrets", problems):
        for found in _secret(name, section):
            if isinstance(found, Entry):
                entries.append(found)
            else:
                problems.append(found)
    for name, section in _sections(top, "connections", problems):
        connections.append(_connection(name, section))
    return Parsed(tuple(entries), tuple(connections), tuple(problems))


def _sections(top: Section, name: str, problems: list[Problem]) -> Iterator[tuple[str, Section]]:
    section = top.sections.get(name)
    if section is not None:
        yield from resolved(top, section, problems).sections.items()


def _secret(name: str, section: Section) -> Iterator[Entry | Problem]:
    kind = next((kind for start, kind in _KINDS.items() if name.startswith(start)), None)
    if kind is None:
        yield Problem(section.place, "a section of secrets of no known kind")
        return
    value = section.values.get("pin" if kind is Kind.PIN else "secret")
    if value is None or value.text is None:
        if kind is Kind.PIN:
            return  # it is asked for
        yield Problem(section.place, "a section of secrets without a secret")
        return
    owners = []
    for key, owner in section.values.items():
        if key.startswith("id") and owner.text is not None:
            identity = ipsec_secrets.owner(owner.text, kind)
            if identity is None:
                yield Problem(owner.place, "what stands as an id cannot be one")
                if kind in (Kind.PSK, Kind.PPK):
                    return  # without it the secret would seem to be everybody's
            else:
                owners.append(identity)
    try:
        secret, form = _value(value)
    except forms.Unreadable as error:
        yield Problem(value.place, str(error))
        return
    file = _text(section, "file") if kind is Kind.PASSPHRASE else ""
    yield Entry(kind, tuple(owners), secret, form, value.place, Dialect.STRONGSWAN, name, file)


def _value(value: Value) -> tuple[Secret, Form]:
    text = value.text or ""
    secret, form = forms.strongswan(text)  # quotation marks keep 0x and 0s no less
    return secret, Form.QUOTED if form is Form.PLAIN and value.quoted else form


def _connection(name: str, section: Section) -> Connection:
    locals_ = _addresses(section, "local_addrs")
    remotes = _addresses(section, "remote_addrs")
    return Connection(
        name=name,
        place=section.place,
        dialect=Dialect.STRONGSWAN,
        versions=_VERSIONS.get(_text(section, "version"), (1, 2)),
        local=_end(section, "local", locals_),
        remote=_end(section, "remote", remotes),
    )


def _text(section: Section, name: str) -> str:
    value = section.values.get(name)
    return (value.text or "") if value is not None else ""


def _addresses(section: Section, name: str) -> tuple[str, ...]:
    given = (each.strip() for each in _text(section, name).split(","))
    return tuple(each for each in given if each and not each.startswith("%"))


def _end(section: Section, side: str, addresses: tuple[str, ...]) -> End:
    rounds = [inner for name, inner in section.sections.items() if name.startswith(side)]
    psk = [inner for inner in rounds if _text(inner, "auth").lower() == "psk"]
    proving = psk or rounds
    text = _text(proving[0], "id") if proving else ""
    return End(_identity(text, addresses), addresses, bool(psk))


def _identity(text: str, addresses: tuple[str, ...]) -> Identity | None:
    """What is configured, else the end's only address, where that is one."""
    if text:
        return identities.strongswan(text)
    found = identities.strongswan(addresses[0]) if len(addresses) == 1 else None
    return found if found is not None and found.kind == "ip" else None
