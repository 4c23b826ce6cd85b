"""Shared secrets as they are kept, and what is not fit to be loaded."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.secret import Secret
from ike.daemons.port import DaemonRefused, SharedKey
from ike.daemons.slots import dumped, parsed, to_be_loaded
from ike.daemons.strongswan import names, settings
from ike.secrets.settings_syntax import Section
from tests.ike.daemons.sharedcontract import key, ppk_slot, slot


@given(st.lists(st.binary(min_size=1, max_size=64), max_size=4))
def test_what_is_kept_comes_back(values: list[bytes]) -> None:
    made = slot(*(SharedKey(n, Secret(value), f"v{n}") for n, value in enumerate(values)))
    (back,) = parsed(dumped([made]))
    assert [each.value.reveal() for each in back.keys] == values
    assert [(each.version, each.ppk_id) for each in back.keys] == [
        (each.version, each.ppk_id) for each in made.keys
    ]
    assert (back.name, back.remote_id) == (made.name, made.remote_id)


@pytest.mark.parametrize("content", [b"{}x", b"[1]", b'[{"keys": [{}]}]', b'[{"keys": []}]'])
def test_what_is_no_record_is_told(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"no slots|Extra data"):
        parsed(content)


def test_one_is_loaded_where_one_is_taken() -> None:
    both = slot(key(2), key(1))
    assert len(to_be_loaded(both, overlap=True).keys) == 2
    assert [each.version for each in to_be_loaded(both, overlap=False).keys] == [2]
    old = slot(key(2), key(1), ike_version=1)
    assert [each.version for each in to_be_loaded(old, overlap=True).keys] == [2]


@pytest.mark.parametrize(
    "bad",
    [
        slot(key(1), name="x y"),
        slot(key(1), name=""),
        slot(key(1), kind="eap"),
        slot(key(1), remote_id="gw-b.example"),
        slot(key(1, b"")),
        slot(key(1, bytes(5000))),
        slot(key(1), key(1)),
        ppk_slot(key(1)),
        ppk_slot(SharedKey(1, Secret(b"x"), 'v1"\n')),
    ],
)
def test_what_cannot_be_written_is_refused_without_its_value(bad: object) -> None:
    with pytest.raises(DaemonRefused) as refused:
        to_be_loaded(bad, overlap=True)  # type: ignore[arg-type]
    assert len(str(refused.value)) < 300


# --- names ----------------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(["psk", "ppk"]),
    st.from_regex(r"[A-Za-z0-9_.-]{1,40}", fullmatch=True),
    st.integers(0, 999_999_999),
)
def test_an_id_tells_its_slot(kind: str, name: str, version: int) -> None:
    made = names.secret_id(kind, name, version)
    assert names.secret_of(made) == (name, version)
    assert "." not in made


@pytest.mark.parametrize(
    "name", ["ike-site", "ikewarden", "ikewarden-x", "x-ikewarden-a-v1", "ppk-a"]
)
def test_an_id_of_others_is_none_of_ours(name: str) -> None:
    assert names.secret_of(name) is None


@pytest.mark.parametrize(
    ("identity", "owner", "fit"),
    [
        ("dns:gw.example", "gw.example", names.Match.EXACT),
        ("dns:gw.example", "@gw.example", names.Match.EXACT),
        ("dns:gw.example", "fqdn:GW.example", names.Match.EXACT),
        ("dns:gw.example", "*.example", names.Match.PATTERN),
        ("dns:gw.example", "other.example", names.Match.NONE),
        ("dns:gw.example", "%any", names.Match.ANYBODY),
        ("ip:192.0.2.1", "192.0.2.1", names.Match.EXACT),
        ("ip:192.0.2.1", "192.0.2.0/24", names.Match.PATTERN),
        ("ip:192.0.2.1", "%any6", names.Match.ANYBODY),
        ("email:a@b.example", "a@b.example", names.Match.EXACT),
        ("email:a@b.example", "@@a@b.example", names.Match.EXACT),
        ("dn:CN=gw,C=CH", "C=CH, CN=gw", names.Match.EXACT),
        ("dn:CN=gw,C=CH", names.for_charon("dn:CN=gw,C=CH"), names.Match.EXACT),
        ("dn:CN=gw,C=CH", names.for_charon("dn:CN=gx,C=CH"), names.Match.NONE),
        ("dns:gw.example", "@#6777", names.Match.NONE),
    ],
)
def test_owners_as_people_write_them(identity: str, owner: str, fit: names.Match) -> None:
    assert names.matched(identity, owner) is fit


# --- files of swanctl -------------------------------------------------------------------------------------------------


def texts(section: Section) -> dict[str, str | None]:
    return {name: value.text for name, value in section.values.items()}


def test_swanctl_files_are_read_with_what_they_include(tmp_path: Path) -> None:
    root = tmp_path
    (root / "conf.d").mkdir()
    (root / "swanctl.conf").write_text(
        "# a comment { with = signs }\n"
        "connections {\n  a {\n    local_addrs = 192.0.2.1, 192.0.2.2 # two\n  }\n}\n"
        'secrets {\n  ike-1 {\n    id-1 = "C=CH, CN=gw # no comment"\n    secret = "a\\"b\\\\c"\n  }\n}\n'
        "include conf.d/*.conf\ninclude nosuch/*.conf\n"
    )
    (root / "conf.d" / "a.conf").write_text("secrets {\n  ike-2 {\n    secret = 0x01\n  }\n}\n")
    (root / "conf.d" / "b.conf").write_text(
        "secrets { ike-1 { id-2 = gw } }\ninclude ../swanctl.conf\n"
    )
    found = settings.read(root / "swanctl.conf").sections
    assert texts(found["connections"].sections["a"]) == {"local_addrs": "192.0.2.1, 192.0.2.2"}
    one = found["secrets"].sections["ike-1"]
    assert texts(one) == {"id-1": "C=CH, CN=gw # no comment", "secret": 'a"b\\c', "id-2": "gw"}
    assert one.place.path.endswith("/swanctl.conf")
    assert found["secrets"].sections["ike-2"].place.path.endswith("/a.conf")


@given(st.text(alphabet='ab={}#"\\\n :,.', max_size=60))
def test_no_text_stops_the_reader(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.conf"
        path.write_text(text)
        settings.read(path)


def test_what_is_written_is_read_as_it_was(tmp_path: Path) -> None:
    values = {"id": "asn1dn:#30", "secret": "0xff"}
    path = tmp_path / "x.conf"
    path.write_text(settings.HEAD + settings.render({"secrets": {"ike-a": values}}))
    assert texts(settings.read(path).sections["secrets"].sections["ike-a"]) == values
