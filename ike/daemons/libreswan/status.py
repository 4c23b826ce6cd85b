"""What `whack --status`, `--trafficstatus`, `--listcerts`, `--listpubkeys` and `--listpsks` print, as values.

Pure; read on Libreswan 4.10.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ike.daemons.libreswan.secretsfile import Entry, normal

_VERSION = re.compile(r"\bpluto_version=([^,\s]+)")
_SETTING = re.compile(r"\b(crl-strict|crlcheckinterval|ikev1-policy)=([^,\s]+)")
# "name"[2] 192.0.2.7: an instance of a connection for any peer; the address stands in states only.
_CONN = re.compile(
    r'000 "(?P<name>[^"]+)"(?:\[(?P<instance>\d+)\])?: (?P<left>\S.*?)\.\.\.(?P<right>.*?); \w.*eroute owner'
)
_CERT = re.compile(r'000 "(?P<name>[^"]+)"(?:\[\d+\])?: .*\bmycert=(?P<cert>[^;]+);')
_IDS = re.compile(
    r'000 "(?P<name>[^"]+)"(?:\[(?P<instance>\d+)\])?:   our idtype: [^;]*; our id=(?P<ours>.*?);'
    r" their idtype: [^;]*; their id=(?P<theirs>.*)"
)
_STATE = re.compile(
    r'000 #(?P<number>\d+): "(?P<name>[^"]+)"(?:\[(?P<instance>\d+)\] (?P<peer>[^\s]+?))?:(?P<port>\d+)(?:\(\S+\))?'
    r" (?P<state>STATE_\S+) \((?P<words>[^)]*(?:\([^)]*\)[^)]*)*)\);(?P<rest>.*)"
)
_SPIS = re.compile(
    r'000 #(?P<number>\d+): "[^"]+"\S*(?: \S+?)? (?P<protocol>esp|ah)\.(?P<out>[0-9a-f]+)@\S+'
    r" (?:esp|ah)\.(?P<in>[0-9a-f]+)@\S*(?P<tunnel> tun\.)?"
)
_TRAFFIC = re.compile(r"006 #(?P<number>\d+): .*\binBytes=(?P<in>\d+), outBytes=(?P<out>\d+)")
_HEAD = r'000 "(?P<name>[^"]+)"(?:\[(?P<instance>\d+)\])?:   '
_ALGORITHMS = re.compile(_HEAD + r"IKE(?:v[12])? algorithm newest: (?P<algorithms>\S+)")
_CHILD_ALGORITHMS = re.compile(
    _HEAD + r"(?P<protocol>ESP|AH) algorithm newest: (?P<algorithms>[^\s;]+)"
)
_AUTH = re.compile(_HEAD + r"our auth:(?P<ours>[^,]*), their auth:(?P<theirs>[^,]*),")
_AUTHORITIES = re.compile(_HEAD + r"CAs: '(?P<ours>.*)'\.\.\.'(?P<theirs>.*)'")
_LIFE = re.compile(_HEAD + r".*\bipsec_life: (?P<seconds>\d+)s;")
_POLICY = re.compile(_HEAD + r"policy: (?P<words>\S+);")
_END_CERTIFICATE = re.compile(
    r'000 End certificate "(?P<nickname>.*)" - SN: (?:0x)?(?P<serial>\w+)'
)
_SUBJECT = re.compile(r"000 +subject: (?P<subject>.*)")
_ADDRESS = re.compile(r"(?:(?P<subnet>[^=\s]+)===)?(?P<address>[^\[<=]+)")
_LEFT = re.compile(r"\b(REKEY|REPLACE|EXPIRE) in (-?\d{1,10})s")
_PARENT = re.compile(r"\bIKE SA #(\d+);")
_PUBKEY = re.compile(
    r"000 .*?,\s+\d+ \w+ Key (?P<id>\S+) \((?P<private>has|no) private key\),"
    r" until (?P<until>\w{3} \d\d [\d:]{8} UTC \d{4})"
)
_ROOT = re.compile(r"000 List of Pre-shared secrets \(from (.*)\)")
_SECRET = re.compile(r"000 +(?P<line>\d+): PSK (?P<ids>.*)")


@dataclass(frozen=True)
class Conn:
    """A connection that pluto has, or an instance of one (`instance` > 0). Identities as pluto writes them."""

    name: str
    instance: int
    local_address: str
    remote_address: str
    local_net: str
    remote_net: str
    local_id: str = ""
    remote_id: str = ""
    certificate: str = ""  # our nickname
    algorithms: str = ""
    child_algorithms: str = ""
    local_auth: str = ""  # secret, rsasig, ecdsa, …
    remote_auth: str = ""
    remote_authority: str = ""  # subject of the CA that the peer's certificate must be of
    child_life: int | None = None  # seconds
    policy: frozenset[str] = frozenset()  # PSK, TUNNEL, REAUTH, …


@dataclass(frozen=True)
class State:
    """A state of pluto's: an IKE SA, or a CHILD SA when it has a `parent`. `left` are seconds until it is replaced."""

    number: int
    name: str
    instance: int
    peer: str  # address of the peer, only of an instance
    state: str
    parent: int | None
    words: str = ""
    spi_in: str = ""
    spi_out: str = ""
    protocol: str = ""  # ESP, AH
    mode: str = ""  # tunnel, transport
    left: Mapping[str, int] = field(default_factory=dict)  # REKEY, REPLACE, EXPIRE

    @property
    def child(self) -> bool:
        """Whether it is a CHILD SA, also one that is being made."""
        return self.parent is not None or "CHILD" in self.state or "QUICK" in self.state

    @property
    def established(self) -> bool:
        """Whether it is up."""
        # IKEv1 says it in words alone.
        return "ESTABLISHED" in self.state or "SA established" in self.words

    @property
    def version(self) -> int:
        """IKE version."""
        return 2 if self.state.startswith("STATE_V2_") else 1


@dataclass(frozen=True)
class Status:
    """What pluto has and does."""

    version: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    conns: tuple[Conn, ...] = ()
    states: tuple[State, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Names of the connections."""
        return frozenset(each.name for each in self.conns)

    def reauth_seconds(self, state: State) -> int | None:
        """In how many seconds the peers authenticate each other again; IKEv1 knows no other way to replace an SA."""
        conn = self.conn_of(state)
        again = state.version == 1 or (conn is not None and "REAUTH" in conn.policy)
        return state.left.get("REPLACE") if again else None

    def conn_of(self, state: State) -> Conn | None:
        """The connection or instance that a state belongs to."""
        wanted = (state.name, state.instance)
        return next((each for each in self.conns if (each.name, each.instance) == wanted), None)


def parse(text: str) -> Status:
    """`whack --status` as values; lines that are not known are passed over."""
    version = _VERSION.search(text)
    lines = text.splitlines()
    facts = _facts(lines)
    certificates = {match["name"]: match["cert"] for match in map(_CERT.match, lines) if match}
    conns = []
    for match in filter(None, map(_CONN.match, lines)):
        key = (match["name"], int(match["instance"] or 0))
        left, right = _ADDRESS.match(match["left"]), _ADDRESS.match(_turned(match["right"]))
        conns.append(
            Conn(
                *key,
                local_address=left["address"] if left else "",
                remote_address=right["address"] if right else "",
                local_net=(left["subnet"] or "") if left else "",
                remote_net=(right["subnet"] or "") if right else "",
                certificate=certificates.get(key[0], ""),
                **facts.get(key, {}),
            )
        )
    return Status(
        version[1] if version else "",
        dict(_SETTING.findall(text)),
        tuple(conns),
        tuple(_states(lines)),
    )


def _turned(right: str) -> str:
    """The right end is written the other way round: address first, subnet last."""
    address, marks, subnet = right.rpartition("===")
    return f"{subnet}==={address}" if marks else right


def _facts(lines: list[str]) -> dict[tuple[str, int], dict[str, Any]]:
    """What lines of their own say of a connection, by its name and instance."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for pattern, named in _FACTS:
        for match in filter(None, map(pattern.match, lines)):
            key = (match["name"], int(match["instance"] or 0))
            found.setdefault(key, {}).update(named(match))
    return found


# Each line and what of a connection stands in it.
_FACTS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], dict[str, Any]]], ...]] = (
    (_IDS, lambda m: {"local_id": m["ours"], "remote_id": m["theirs"].strip()}),
    (_ALGORITHMS, lambda m: {"algorithms": m["algorithms"]}),
    (_CHILD_ALGORITHMS, lambda m: {"child_algorithms": m["algorithms"]}),
    (_AUTH, lambda m: {"local_auth": m["ours"], "remote_auth": m["theirs"]}),
    (_AUTHORITIES, lambda m: {"remote_authority": m["theirs"].replace("%any", "")}),
    (_LIFE, lambda m: {"child_life": int(m["seconds"][:10])}),
    (_POLICY, lambda m: {"policy": frozenset(m["words"].split("+"))}),
)


def end_certificates(text: str) -> dict[str, tuple[str, str]]:
    """`whack --listcerts`: subject and serial number (hexadecimal) of each end certificate, by nickname."""
    found: dict[str, tuple[str, str]] = {}
    nickname = serial = ""
    for line in text.splitlines():
        if match := _END_CERTIFICATE.match(line):
            nickname, serial = match["nickname"], match["serial"].lower().lstrip("0") or "0"
        elif nickname and (match := _SUBJECT.match(line)):
            found[nickname] = (match["subject"], serial)
            nickname = ""
    return found


def _states(lines: list[str]) -> Iterator[State]:
    spis = {match["number"]: match for match in map(_SPIS.match, lines) if match}
    for match in filter(None, map(_STATE.match, lines)):
        parent = _PARENT.search(match["rest"])
        spi = spis.get(match["number"])
        yield State(
            number=int(match["number"]),
            name=match["name"],
            instance=int(match["instance"] or 0),
            peer=match["peer"] or "",
            state=match["state"],
            parent=int(parent[1]) if parent else None,
            words=match["words"],
            spi_in=spi["in"].zfill(8) if spi else "",
            spi_out=spi["out"].zfill(8) if spi else "",
            protocol=spi["protocol"].upper() if spi else "",
            mode=("tunnel" if spi["tunnel"] else "transport") if spi else "",
            left={name: max(0, int(left)) for name, left in _LEFT.findall(match["rest"])},
        )


def traffic(text: str) -> dict[int, tuple[int, int]]:
    """`whack --trafficstatus`: bytes in and out by state number."""
    found = filter(None, map(_TRAFFIC.match, text.splitlines()))
    return {int(match["number"]): (int(match["in"]), int(match["out"])) for match in found}


@dataclass(frozen=True)
class UsedKey:
    """A public key of `whack --listpubkeys` whose private key pluto has: it belongs to a certificate in use.

    `id` is the beginning of the key's id (EC) or of the key (RSA) in base64, `until` the certificate's end.
    """

    id: str
    until: str


def used_keys(text: str) -> frozenset[UsedKey]:
    """The keys that pluto signs with, of every connection that is loaded."""
    found = filter(None, map(_PUBKEY.match, text.splitlines()))
    return frozenset(
        UsedKey(match["id"], match["until"]) for match in found if match["private"] == "has"
    )


@dataclass(frozen=True)
class Listing:
    """The shared secrets that pluto has: the file that it began with, and whom they are for, without their values.

    By line number, whatever the file, with the identities as pluto prints them: two of them, the last one first.
    """

    root: str
    lines: tuple[tuple[int, str], ...]

    def has(self, entry: Entry) -> bool:
        """Whether a record of two identities is there."""
        return entry.line in self.lines_for(entry.ids)

    def lines_for(self, ids: Sequence[str]) -> list[int]:
        """The lines with records for a pair of identities."""
        # How pluto prints a distinguished name is not known to the letter; how many parts it has, is.
        names = {normal(each) for each in ids if "=" not in each}
        parts = sum(each.count("=") for each in ids)
        return [
            line
            for line, printed in self.lines
            if names <= set(printed.lower().split()) and printed.count("=") == parts
        ]


def secrets(text: str) -> Listing:
    """`whack --listpsks` as values. PPKs are not listed."""
    root = _ROOT.search(text)
    found = filter(None, map(_SECRET.match, text.splitlines()))
    return Listing(
        root[1] if root else "", tuple((int(each["line"]), each["ids"]) for each in found)
    )
