"""The connections that are read of a swanctl.conf, beside those that charon has of the same files.

charon tells proposals, lifetimes and the rest in its log at level 2 of `cfg` while it loads a connection; list-conns
tells a part of it (no proposals, no hard lifetimes), which is compared as well.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ike.audit.configuration import effective_swanctl
from ike.audit.configuration.values import Child, Offer, Tunnel
from ike.secrets.reading import Reading
from ike.secrets.settings_syntax import parse
from ike.secrets.tree import Tree
from tests.lab import Gateway, Lab

EXAMPLES = 60
_LINE = re.compile(r"\[CFG\](?P<indent> +)(?P<text>\S.*)$")
_CLASSES = {
    "psk": "pre-shared key",
    "pubkey": "public key",
    "eap": "EAP",
    "xauth": "XAuth",
    "any": "any",
}


@pytest.fixture
def charon(lab: Lab) -> Gateway:
    return lab.gateway("gw-a", settings={"filelog": {"lab": {"cfg": 2}}})


def load(charon: Gateway, files: dict[str, str]) -> dict[str, Any]:
    """What charon logs of each connection that it loads from these files."""
    folder = charon.swanctl_folder
    for path in (folder / "conf.d").iterdir():
        path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text)
    before = len(charon.log.text())
    charon.swanctl("--load-conns", check=False)
    return logged(charon.log.text()[before:])


def logged(text: str) -> dict[str, Any]:
    """Settings by the indentation that they have: the connection's 3, a child's and an end's 4."""
    connections: dict[str, Any] = {}
    current: dict[str, Any] = {}
    within: dict[str, Any] = {}
    for line in text.splitlines():
        match = _LINE.search(line)
        if match is None:
            continue
        depth, said = len(match["indent"]), match["text"]
        if depth == 2 and said.startswith("conn "):
            current = {"children": {}, "local": [], "remote": []}
            name = said[5:-1]
            within = current
        elif depth == 3 and said.startswith("child ") and said.endswith(":"):
            within = current["children"][said[6:-1]] = {}
        elif depth == 3 and said in ("local:", "remote:"):
            within = {}
            current[said[:-1]].append(within)
        elif depth in (3, 4) and " = " in said:
            key, _, value = said.partition(" = ")
            (current if depth == 3 else within)[key] = value
        elif said.startswith(("added vici connection: ", "updated vici", "replaced vici")):
            connections[name] = current
    return connections


def read(folder: Path) -> tuple[list[Tunnel], int]:
    reading = Reading(Tree(folder), again=True)
    source = reading.start("/swanctl.conf")
    assert source is not None
    top, problems = parse(source, reading.include)
    tunnels, refused = effective_swanctl.effective(top)
    assert not problems + reading.problems
    return tunnels, len(refused)


def as_logged(tunnel: Tunnel) -> dict[str, Any]:
    return {
        "version": {(1, 2): "0", (1,): "1", (2,): "2"}[tunnel.versions],
        "local_addrs": ", ".join(tunnel.local_addrs),
        "remote_addrs": ", ".join(tunnel.remote_addrs),
        "aggressive": str(int(tunnel.aggressive)),
        "reauth_time": str(tunnel.reauth or 0),
        "rekey_time": str(tunnel.rekey or 0),
        "over_time": str(tunnel.over),
        "proposals": shown(tunnel.ike),
        "local": [as_end(each) for each in tunnel.local],
        "remote": [as_end(each) for each in tunnel.remote],
        "children": {each.name: as_child(each) for each in tunnel.children},
    }


def shown(*offers: Offer) -> str:
    found = [each for offer in offers for each in offer.proposals]
    if offers[0].is_default and offers[0].protocol == "ESP":
        found.reverse()  # AEAD comes first where it is the default, not where it is asked for
    return ", ".join(map(str, found))


def as_end(one: Any) -> dict[str, str]:
    found = {} if one.auth == "any" else {"class": _CLASSES[one.auth]}
    if one.identity:
        found["id"] = one.identity
    if one.revocation in ("strict", "ifuri"):
        found["revocation"] = {"strict": "GOOD", "ifuri": "SKIPPED"}[one.revocation]
    return found


def as_child(child: Child) -> dict[str, str]:
    return {
        "rekey_time": str(child.rekey or 0),
        "life_time": str(child.life or 0),
        "mode": child.mode.upper(),
        "proposals": shown(*child.offers),
        "local_ts": " ".join(child.local),
        "remote_ts": " ".join(child.remote),
    }


def same(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Raises where charon has something else than what is read."""
    assert {key: theirs[key] for key in mine if key not in ("children", "local", "remote")} == {
        key: mine[key] for key in mine if key not in ("children", "local", "remote")
    }
    for side in ("local", "remote"):
        kept = [
            {key: one[key] for key in ("class", "id", "revocation") if key in one}
            for one in theirs[side]
        ]
        assert kept == mine[side]
    assert mine["children"].keys() == theirs["children"].keys()
    for name, child in mine["children"].items():
        there = theirs["children"][name]
        # Whether ESP or AH comes first is decided by the place of their settings, and nothing to the audit.
        there["proposals"] = ", ".join(
            sorted(there["proposals"].split(", "), key=lambda each: each.startswith("AH"))
        )
        assert {key: there[key] for key in child} == child


# ---------------------------------------------------------------- what is generated

CIPHERS = ["aes128", "aes256", "3des", "aes192ctr", "camellia256", "null", "des", "blowfish256"]
AEADS = ["aes128gcm16", "aes256gcm", "aes256gcm128", "aes128ccm8", "chacha20poly1305"]
HASHES = ["sha1", "sha256", "sha2_384", "sha512", "md5", "aesxcbc", "aescmac"]
PRFS = ["prfsha1", "prfsha256", "prfsha384", "prfaesxcbc", "prfmd5"]
GROUPS = [
    "modp768",
    "modp1024",
    "modp2048",
    "ecp256",
    "ecp384bp",
    "x25519",
    "curve448",
    "modp2048s256",
]
one_of = st.sampled_from
many = lambda of, least=1: st.lists(one_of(of), min_size=least, max_size=2, unique=True)  # noqa: E731


@st.composite
def ike_proposal(draw: st.DrawFn) -> str:
    if draw(st.booleans()):
        parts = [*draw(many(AEADS)), *draw(many(PRFS)), *draw(many(GROUPS))]
    else:
        parts = [
            *draw(many(CIPHERS)),
            *draw(many(HASHES)),
            *draw(many(PRFS, 0)),
            *draw(many(GROUPS)),
        ]
    return draw(one_of(["-", "-", " - "])).join(draw(st.permutations(parts)))


@st.composite
def esp_proposal(draw: st.DrawFn) -> str:
    parts = [
        *(draw(many(AEADS)) if draw(st.booleans()) else draw(many(CIPHERS))),
        *draw(many(HASHES, 0)),
        *draw(many([*GROUPS, "none"], 0)),
        *draw(many(["esn", "noesn"], 0)),
    ]
    return "-".join(parts)


# Not GMAC alone: charon 5.9.8 leaves it out where it prints the proposal.
ah_proposal = st.builds(
    lambda hashes, gmac: "-".join([*hashes, *gmac]), many(HASHES), many(["aes128gmac"], 0)
)
broken = one_of(["aes128-modp2048", "sha256", "aes128-sha257-modp2048", "AES128-SHA256", "aes128!"])


def proposals(of: st.SearchStrategy[str], spoiled: bool) -> st.SearchStrategy[str]:
    choices = [of, of, of, st.just("default")] + ([broken] if spoiled else [])
    return st.builds(", ".join, st.lists(st.one_of(choices), min_size=1, max_size=3))


time = st.builds(
    "{}{}".format,
    one_of(["0", "1", "90", "3600", "0x10", "010", "86400", "24"]),
    one_of(["", "", "s", "m", "h", "d", " h", "D", "M"]),
)


def quoted(of: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda text, marks: f'"{text}"' if marks else text, of, st.booleans())


def body(*pairs: tuple[str, st.SearchStrategy[str]]) -> st.SearchStrategy[list[str]]:
    """Lines of settings, some of them twice, some emptied, in any order."""
    lines = [st.builds(f"{name} = {{}}".format, quoted(value)) for name, value in pairs]
    lines += [st.just(f"{name} =") for name, _ in pairs[:2]]
    return st.lists(st.one_of(lines), max_size=6)


def child_body(spoiled: bool = False) -> st.SearchStrategy[list[str]]:
    return body(
        ("rekey_time", time),
        ("life_time", time),
        ("esp_proposals", proposals(esp_proposal(), spoiled)),
        ("ah_proposals", proposals(ah_proposal, False)),
        ("mode", one_of(["tunnel", "transport", "beet"])),
        ("local_ts", one_of(["10.1.0.0/16", "dynamic", "10.1.0.0/16, 10.2.0.0/24", "0.0.0.0/0"])),
        ("remote_ts", one_of(["10.9.0.0/16", "0.0.0.0/0"])),
    )


def end_body() -> st.SearchStrategy[list[str]]:
    return body(
        ("auth", one_of(["psk", "pubkey", "eap-mschapv2", "xauth", "rsa-3072-sha256", "PSK"])),
        ("id", one_of(["a.example", "me@b.example"])),
        ("revocation", one_of(["strict", "ifuri", "relaxed", "STRICT"])),
        ("round", one_of(["1", "2", "0"])),
    )


def conn_body(spoiled: bool = False) -> st.SearchStrategy[list[str]]:
    return body(
        ("rekey_time", time),
        ("reauth_time", time),
        ("over_time", time),
        ("proposals", proposals(ike_proposal(), spoiled)),
        ("version", one_of(["0", "1", "2"])),
        ("aggressive", one_of(["yes", "no", "TRUE", "1", "disabled"])),
        ("remote_addrs", one_of(["192.0.2.9", "%any", "192.0.2.8, 192.0.2.9", "gw.example"])),
        ("local_addrs", one_of(["192.0.2.1", "%any"])),
    )


def lines(*parts: list[str]) -> str:
    return "\n".join(line for part in parts for line in part) + "\n"


@st.composite
def connection(draw: st.DrawFn, name: str, bases: list[str], spoiled: bool) -> str:
    parts = [draw(conn_body(spoiled))]
    for end in draw(many(["local", "remote", "local-2", "remote-eap"], 0)):
        parts.append([f"{end} {{", *draw(end_body()), "}"])
    children = []
    for child in draw(many(["net", "other"], 0)):
        base = draw(one_of(["", "", " : child-base"]))
        children += [f"{child}{base} {{", *draw(child_body(spoiled)), "}"]
    if children:
        parts.append(["children {", *children, "}"])
    takes = draw(st.lists(one_of(bases), max_size=2, unique=True)) if bases else []
    head = f"{name} : {', '.join(takes)} {{" if takes else f"{name} {{"
    return head + "\n" + lines(*draw(st.permutations(parts))) + "}\n"


@st.composite
def configuration(draw: st.DrawFn) -> dict[str, str]:
    spoiled = draw(st.booleans())
    one, two = (draw(connection(name, ["base", "more"], spoiled)) for name in ("one", "two"))
    base, more = (draw(connection(name, [], False)) for name in ("base", "more"))
    child = "child-base {\n" + lines(draw(child_body())) + "}\n"
    again = draw(
        connection("one", ["base"], False)
    )  # a section that comes again goes on with the first
    main = [base + child, "include conf.d/*.conf\n", "connections {\n" + one + "}\n"]
    return {
        "swanctl.conf": "".join(draw(st.permutations(main))) + more,
        "conf.d/1.conf": f"connections {{\n{two}\ninclude ../within.inc\n}}\n",
        "conf.d/2.conf": f"# a remark {{\nconnections {{ \n{again} }}\n",
        "within.inc": "three : one {\n include last.inc\n}\nfour { include last.inc\n}\n",
        "last.inc": lines(draw(conn_body())),
    }


def listed(charon: Gateway) -> dict[str, Any]:
    with charon.session() as session:
        return {name: one for each in session.list_conns() for name, one in dict(each).items()}


def test_generated_connections_are_read_as_charon_has_them(charon: Gateway) -> None:
    seen = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # each try takes charon's time
        suppress_health_check=list(HealthCheck),
    )
    @given(configuration())
    def compare(files: dict[str, str]) -> None:
        theirs = load(charon, files)
        tunnels, refused = read(charon.swanctl_folder)
        mine = {each.name: as_logged(each) for each in tunnels}
        assert theirs.keys() <= mine.keys()
        if not refused:
            assert theirs.keys() == mine.keys()
        for name, one in theirs.items():
            same(mine[name], one)
        told = listed(charon)
        for name in theirs:
            for setting in ("rekey_time", "reauth_time"):
                # list-conns has 32 bits for them.
                assert int(told[name][setting]) == int(mine[name][setting]) % 2**32
            for child, one in told[name]["children"].items():
                assert one["rekey_time"].decode() == mine[name]["children"][child]["rekey_time"]
        seen.append(len(theirs))

    compare()
    assert len(seen) >= 40
    assert sum(seen) > len(seen)
