"""A firewall's whole configuration may be larger than the files of a daemon, up to a bound."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ike.audit.ground import MAX_SYSTEM, Ground
from ike.audit.values import Audit, Policy
from ike.audit.whole import Task, carry_out
from tests.ike.audit.premises import NOW

XML = """<?xml version="1.0"?>
<opnsense>
  <rules>{}</rules>
  <OPNsense><IPsec><preSharedKeys><preSharedKey uuid="7d0a5f1c-1111-4222-8333-944455566677">
    <ident>gw2.example.com</ident><keyType>PSK</keyType><Key>swordfish</Key>
  </preSharedKey></preSharedKeys></IPsec></OPNsense>
</opnsense>
"""
BOOT = """firewall {{
{}}}
vpn {{
    ipsec {{
        authentication {{
            psk site-c {{
                id gw2.example.com
                secret swordfish
            }}
        }}
    }}
}}
"""


def rules(octets: int) -> str:
    one = "<rule><type>pass</type><descr>of no interest at all</descr></rule>\n"
    return one * (octets // len(one))


def groups(octets: int) -> str:
    one = '    group "of no interest at all" {\n        address 192.0.2.1\n    }\n'
    return one * (octets // len(one))


SYSTEMS: dict[str, Callable[[int], str]] = {
    "/conf/config.xml": lambda octets: XML.format(rules(octets)),
    "/config/config.boot": lambda octets: BOOT.format(groups(octets)),
}


def audited(root: Path, path: str, text: str) -> Audit:
    file = root / path[1:]
    file.parent.mkdir(parents=True)
    file.write_text(text)
    file.chmod(0o600)
    return carry_out(Ground(root), Task("gw1", policy=Policy()), lambda: NOW).audit


@pytest.mark.parametrize("path", SYSTEMS)
def test_a_large_configuration_is_read(tmp_path: Path, path: str) -> None:
    audit = audited(tmp_path, path, SYSTEMS[path](3 * 2**20))
    assert ("psk-weak", path) in {(each.rule.id, each.place.path) for each in audit.findings}
    assert not [each for each in audit.problems if "larger" in each.message]


@pytest.mark.parametrize("path", SYSTEMS)
def test_one_that_is_larger_than_any_is_told(tmp_path: Path, path: str) -> None:
    audit = audited(tmp_path, path, SYSTEMS[path](MAX_SYSTEM + 2**20))
    assert "larger than 16 MiB" in {each.message for each in audit.problems}
