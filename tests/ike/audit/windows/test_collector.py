"""The collector for Windows: read by a parser, and held to what a reviewer would hold it to.

Nothing of it is run here; docs/how-to/audit-windows.md says so.
"""

import re
from collections.abc import Iterator

import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from ike.audit.windows import script
from tests.ike.audit.windows.machine import access, auth_set, certificate, clean, pfx, psk

PARSER = Parser(Language(tree_sitter_powershell.language()))
SOURCE = script().decode("utf-8-sig").replace("\r\n", "\n")


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def text_of(node: Node) -> str:
    return (node.text or b"").decode()


ROOT = PARSER.parse(SOURCE.encode()).root_node


def functions() -> dict[str, str]:
    found = {}
    for node in walk(ROOT):
        if node.type == "function_statement":
            name = next(text_of(each) for each in node.children if each.type == "function_name")
            found[name] = text_of(node)
    return found


FUNCTIONS = functions()


def test_it_can_be_parsed() -> None:
    faults = [
        f"line {node.start_point[0] + 1}: {text_of(node)[:60]}"
        for node in walk(ROOT)
        if node.type == "ERROR" or node.is_missing
    ]
    assert faults == []
    broken = SOURCE.replace("Set-StrictMode -Version Latest", "if (", 1)
    assert PARSER.parse(broken.encode()).root_node.has_error


def test_windows_powershell_takes_it() -> None:
    content = script()
    # Without the mark 5.1 reads the old code page; with ASCII alone that would not matter either.
    assert content.startswith(b"\xef\xbb\xbf")
    assert content[3:].isascii()
    assert content.count(b"\n") == content.count(b"\r\n")
    assert "#Requires -Version 5.1" in SOURCE
    # What came after 5.1: ternaries, ??, chains, -Parallel, AsHashtable, null-conditional access.
    assert not re.search(r"\?\?|&&|\|\||-Parallel|-AsHashtable|\?\.|-EnumsAsStrings", SOURCE)
    assert "Import-Module" not in SOURCE


def test_strict_and_stopping_at_errors() -> None:
    assert "Set-StrictMode -Version Latest" in SOURCE
    assert "$ErrorActionPreference = 'Stop'" in SOURCE


def test_only_cmdlets_that_look_are_called() -> None:
    called = {
        text_of(node) for node in walk(ROOT) if node.type == "command_name" and "-" in text_of(node)
    }
    assert called - set(FUNCTIONS) == {
        *("ConvertTo-Json", "Get-Acl", "Get-ChildItem", "Get-CimInstance", "Get-Command"),
        *("Get-Date", "Get-NetIPsecMainModeCryptoSet", "Get-NetIPsecMainModeRule"),
        *("Get-NetIPsecPhase1AuthSet", "Get-NetIPsecQuickModeCryptoSet", "Get-NetIPsecRule"),
        *("Get-Service", "Get-VpnAuthProtocol", "Get-VpnS2SInterface"),
        *("Get-VpnServerIPsecConfiguration", "Join-Path", "New-Object", "Select-Object"),
        *("Set-StrictMode", "Sort-Object", "Test-Path", "Where-Object"),
    }
    # No other program, no code from text, no network, no writing.
    others = {text_of(node) for node in walk(ROOT) if node.type == "command_name"} - called
    assert others == set()
    assert [text_of(node) for node in walk(ROOT) if node.type == "command_name_expr"] == ["$Block"]
    assert not re.search(
        r"\[(?:System\.)?(?:IO\.File\]|Net\.Http|Net\.WebClient|Net\.Sockets|Diagnostics\.Process)",
        SOURCE,
    )
    made = set(re.findall(r"New-Object -TypeName ([\w.\[\]]+)", SOURCE))
    assert made == {
        "System.Collections.ArrayList",
        "System.Security.Cryptography.HMACSHA256",
        "System.Security.Principal.WindowsPrincipal",
    }


def test_no_key_is_exported_and_no_secret_leaves_it() -> None:
    for word in (".Export(", "ExportPkcs", "ExportParameters", "ToXmlString", "SecureString"):
        assert word not in SOURCE
    # A pre-shared key is touched in one place, and goes from there to its mark.
    holders = [name for name, source in FUNCTIONS.items() if "PreSharedKey" in source]
    assert holders == ["Get-AuthSet"]
    assert SOURCE.count("PreSharedKey") == 1
    uses = re.findall(r".*\$property\.Value.*", FUNCTIONS["Get-AuthSet"])
    assert [each.strip() for each in uses] == [
        "if ($null -ne $property -and $null -ne $property.Value) {",
        "$mark = Get-SecretMark -Value $property.Value",
    ]
    assert "SharedSecret" not in SOURCE
    mark = FUNCTIONS["Get-SecretMark"]
    assert mark.count("$Value") == 3  # the parameter, its octets for the HMAC, its length
    assert "length = $Value.Length" in mark
    # Errors may quote what they stumbled over: their texts are not kept.
    assert "Exception.Message" not in SOURCE
    assert not re.search(r"Write-(?:Verbose|Warning|Host|Output|Debug)", SOURCE)


def test_the_key_of_the_fingerprints_is_made_at_random_and_not_told() -> None:
    assert SOURCE.count("$script:Hmac") == 2
    assert "$script:Hmac.Key" not in SOURCE


def keys_of(name: str) -> set[str]:
    """The names in the tables that a function writes."""
    return set(re.findall(r"^\s+(?:\[ordered\]@\{ )?([a-z]\w*) = ", FUNCTIONS[name], re.M))


def test_it_writes_what_is_read() -> None:
    document = clean()
    whole = SOURCE[SOURCE.index("$document = [ordered]@{") :]
    assert set(re.findall(r"^    (\w+) = ", whole, re.M)) == set(document)
    written = {
        "Get-MachineCertificate": certificate(),
        "Get-KeyFile": document["key_files"][0],
        "Get-PfxFile": pfx(),
        "Get-Rule": document["rules"][0],
        "Get-TunnelPolicy": document["vpn"][0],
        "Get-Access": {**access(), **access()["entries"][0]},
        "Get-SecretMark": psk()["psk"],
        "Get-AuthSet": {**auth_set("a"), **psk()},
        "Get-MainModeSet": {
            **document["main_mode_sets"][0],
            **document["main_mode_sets"][0]["proposals"][0],
        },
        "Get-QuickModeSet": {
            **document["quick_mode_sets"][0],
            **document["quick_mode_sets"][0]["proposals"][0],
        },
        "Add-Problem": {"part": "", "message": ""},
        "Get-MainModeRule": dict.fromkeys(
            ("name", "display_name", "enabled", "main_mode_set", "phase1_auth_set")
        ),
    }
    for name, fields in written.items():
        assert keys_of(name) == set(fields), name
