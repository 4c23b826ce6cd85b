"""The PowerShell module for Windows: read by a parser, and held to what a reviewer would hold it to.

Nothing of it is run here; docs/how-to/windows.md says so.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import tree_sitter_powershell
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from tree_sitter import Language, Node, Parser

from ike.agent.windows import BundleUnsafe, WindowsGateway, write
from tests.fixtures.served import Served, run
from tests.lab.handmade import Authority

PARSER = Parser(Language(tree_sitter_powershell.language()))
MODULE = files("ike.agent.windows").joinpath("Ikewarden.psm1").read_text("utf-8")
MANIFEST = files("ike.agent.windows").joinpath("Ikewarden.psd1").read_text("utf-8")
# Verbs of functions that change something (approved verbs of PowerShell)
CHANGING = ("Add", "Import", "Install", "New", "Protect", "Register", "Remove", "Set", "Update")
# cmdlets that change the machine; each must stand behind ShouldProcess
CMDLETS = (
    *("Remove-Item", "Restart-Service", "Set-VpnAuthProtocol", "Import-PfxCertificate"),
    *("New-NetIPsecRule", "Remove-NetIPsecRule", "New-NetIPsecPhase1AuthSet"),
    *("Set-NetIPsecPhase1AuthSet", "Invoke-Program", "Send-Request"),
)


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def text_of(node: Node) -> str:
    return (node.text or b"").decode()


def functions() -> dict[str, str]:
    """The source of each function by its name."""
    found = {}
    for node in walk(PARSER.parse(MODULE.encode()).root_node):
        if node.type == "function_statement":
            name = next(text_of(each) for each in node.children if each.type == "function_name")
            found[name] = text_of(node)
    return found


FUNCTIONS = functions()


@pytest.mark.parametrize("source", [MODULE, MANIFEST], ids=["psm1", "psd1"])
def test_it_can_be_parsed(source: str) -> None:
    root = PARSER.parse(source.encode()).root_node
    faults = [
        f"line {node.start_point[0] + 1}: {text_of(node)[:60]}"
        for node in walk(root)
        if node.type == "ERROR" or node.is_missing
    ]
    assert faults == []


def test_the_parser_finds_faults() -> None:
    broken = MODULE.replace("Set-StrictMode -Version Latest", "if (", 1)
    assert PARSER.parse(broken.encode()).root_node.has_error


def test_strict_and_stopping_at_errors() -> None:
    assert "Set-StrictMode -Version Latest" in MODULE
    assert "$ErrorActionPreference = 'Stop'" in MODULE
    assert "#Requires -RunAsAdministrator" in MODULE


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_whatever_changes_something_knows_whatif(name: str) -> None:
    source = FUNCTIONS[name]
    assert "[CmdletBinding(" in source
    if name in ("Invoke-Program", "Send-Request"):
        return  # called behind a ShouldProcess, see below
    if name.partition("-")[0] in CHANGING:
        assert "SupportsShouldProcess = $true" in source
    if any(re.search(rf"^\s*(?:\$\w+ = )?{re.escape(each)} ", source, re.M) for each in CMDLETS):
        assert "ShouldProcess(" in source


def test_the_functions_that_end_tunnels_ask_first() -> None:
    for name in (
        "Remove-IkewardenSecurityAssociation",
        "Set-IkewardenRras",
        "Remove-IkewardenOldCertificate",
    ):
        assert "ConfirmImpact = 'High'" in FUNCTIONS[name]


def body_of(name: str) -> str:
    tree = PARSER.parse(MODULE.encode())
    [found] = [
        node
        for node in walk(tree.root_node)
        if node.type == "function_statement"
        and any(c.type == "function_name" and c.text == name.encode() for c in node.children)
    ]
    assert found.text is not None
    return found.text.decode()


def test_a_folder_that_another_user_made_is_not_used() -> None:
    # %ProgramData% is open to all: a request that waits there could be for anybody's key.
    folder = body_of("New-PrivateFolder")
    known, made = folder.index("Test-Path"), folder.index("New-Item")
    for word in ("GetOwner", "ReparsePoint", "throw"):
        assert known < folder.index(word) < made
    assert "'/setowner', '*S-1-5-32-544'" in folder
    request = body_of("New-Request")
    assert request.index("New-PrivateFolder") < request.index("Test-Path")


def test_exports_are_the_same_in_module_and_manifest() -> None:
    exported = re.search(r"Export-ModuleMember -Function @\((.*?)\)", MODULE, re.S)
    listed = re.search(r"FunctionsToExport = @\((.*?)\)", MANIFEST, re.S)
    assert exported
    assert listed
    names = re.findall(r"'([\w-]+)'", exported[1])
    assert names == re.findall(r"'([\w-]+)'", listed[1])
    assert set(names) <= set(FUNCTIONS)
    assert all(each.partition("-")[2].startswith("Ikewarden") for each in names)


def test_secrets_are_secure_strings_and_never_arguments_of_a_program() -> None:
    for name, source in FUNCTIONS.items():
        for kind, parameter in re.findall(r"\[([\w.]+)\]\$(\w+)", source):
            if parameter in ("Password", "Token", "Enrollment"):
                assert kind == "System.Security.SecureString", (name, parameter)
    assert "-AsPlainText" not in MODULE
    assert not re.search(r"Write-\w+[^\n]*\$(token|Token|Enrollment|Password)", MODULE)
    for call in re.findall(r"Invoke-Program[^\n]*(?:\n[^\n]*\))?", MODULE):
        assert not re.search(r"token|password|enrollment", call.replace("$Purpose", ""), re.I)
    assert "Invoke-Expression" not in MODULE
    # No verification is switched off, no key is made exportable.
    assert "ServerCertificateValidationCallback" not in MODULE
    assert "SkipCertificateCheck" not in MODULE
    assert "-Exportable" not in MODULE.replace("Without -Exportable", "")
    assert "Exportable=FALSE" in MODULE


def test_only_known_cmdlets_are_called() -> None:
    called = {
        text_of(node)
        for node in walk(PARSER.parse(MODULE.encode()).root_node)
        if node.type == "command_name" and "-" in text_of(node)
    }
    own = set(FUNCTIONS)
    assert called - own == {
        *("ConvertFrom-Json", "ConvertTo-Json", "Export-ModuleMember", "Get-Acl", "Get-ChildItem"),
        *("Get-Content", "Get-Date", "Get-Item", "Get-NetIPsecPhase1AuthSet", "Get-NetIPsecRule"),
        *("Import-PfxCertificate", "Import-PowerShellDataFile", "Invoke-RestMethod", "Join-Path"),
        *("New-Item", "New-NetIPsecAuthProposal", "New-NetIPsecPhase1AuthSet", "New-NetIPsecRule"),
        *("New-Object", "Out-String", "Remove-Item", "Remove-NetIPsecRule", "Restart-Service"),
        *("Select-Object", "Set-Content", "Set-NetIPsecPhase1AuthSet", "Set-StrictMode"),
        *("Set-VpnAuthProtocol", "Sort-Object", "Split-Path", "Test-Path", "Where-Object"),
        *("Write-Verbose", "Write-Warning"),
    }


def gateway() -> WindowsGateway:
    root = Authority("Root")
    return WindowsGateway(
        "win1.example.com",
        "https://pki.example.com:8443",
        "windows-gateway",
        ("dns:win1.example.com", "ip:192.0.2.9", "dn:CN=O'Hara"),
        root.certificate,
    )


def test_the_data_file_is_data(tmp_path: Path) -> None:
    made = write(gateway(), tmp_path / "Ikewarden")
    assert {path.name for path in made} == {
        *("Ikewarden.psm1", "Ikewarden.psd1", "Gateway.psd1", "root-ca.cer")
    }
    data = (tmp_path / "Ikewarden/Gateway.psd1").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    source = data.decode("utf-8-sig").replace("\r\n", "\n")
    assert not PARSER.parse(source.encode()).root_node.has_error
    assert "'dn:CN=O''Hara'" in source
    root = x509.load_der_x509_certificate((tmp_path / "Ikewarden/root-ca.cer").read_bytes())
    assert root.fingerprint(SHA256()).hex() in source


@pytest.mark.parametrize("name", ["a\u2019b", "a\nb", "a\x00"])
def test_names_that_would_end_a_quotation_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleUnsafe):
        write(replace(gateway(), name=name), tmp_path)


def test_the_command_uses_nothing_up_and_writes_no_secret(served: Served, tmp_path: Path) -> None:
    name = "win-bundle.example.com"
    served.client.post("/v1/gateways", {"name": name, "identities": [f"dns:{name}"]})
    line = served.client.post(f"/v1/gateways/{name}/enrollment", {"hours": 1})["enrollment"]
    out = tmp_path / "Ikewarden"
    done = run("agent", "windows-bundle", "--out", out, given=line)
    assert done.code == 0, done.err
    for path in out.iterdir():
        assert b"iw_" not in path.read_bytes()
        assert b"iwe1_e" not in path.read_bytes()
    assert f"Name = '{name}'" in (out / "Gateway.psd1").read_text("utf-8-sig")
    done = run("agent", "windows-bundle", "--out", out, given=line)
    assert done.code == 0, done.err
