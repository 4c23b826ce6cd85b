"""What other auditors find on the same images: `python -m tests.ike.audit.comparison`, as root, prints the table of
docs/explanation/audit-compared.md.

- ComplianceAsCode: the conditions of its rules about IPsec, written anew from their text (the rules are data for a
  scanner, and no package has the newer ones). Where OpenSCAP and an older edition are installed, the one of them
  that it has is run as well, and must agree; and so is a general rule, of files that everyone may write.
- Lynis: the real program, on a copy of the image with this machine's programs, once as it is shipped and once with a
  profile that names the files.
- The audit: the command, as anybody runs it.

A tool has found a fault if it says something of its path that it does not say of the image without faults.
"""

import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.ike.audit.comparison_images import CASES, NSS, Case, Fault
from tests.ike.audit.conftest import Files

# What a tool says: a path, and what of it.
Said = frozenset[tuple[str, str]]
Tool = Callable[[Path], Said | None]  # None: it is not installed
LYNIS: Final = Path("/usr/sbin/lynis")
_CONTENT: Final = Path("/usr/share/xml/scap/ssg/content/ssg-rhel9-oval.xml")
_NONE: Final = "–"
_NOT_RUN: Final = "not run"


# ---------------------------------------------------------------- ComplianceAsCode


@dataclass(frozen=True)
class Condition:
    """A rule that wants a mode (or a stricter one), an owner or a group. It holds for what is not there."""

    rule: str
    path: str
    wanted: int
    of: str

    def holds(self, root: Path) -> bool:
        """Whether it does."""
        try:
            status = os.lstat(root / self.path.lstrip("/"))
        except FileNotFoundError:
            return True
        if self.of == "permissions":
            return status.st_mode & 0o7777 & ~self.wanted == 0
        return (status.st_uid if self.of == "owner" else status.st_gid) == self.wanted


def _conditions() -> Iterator[Condition]:
    places = (
        ("file", "etc_ipsec_conf", "/etc/ipsec.conf", 0o644),
        ("file", "etc_ipsec_secrets", "/etc/ipsec.secrets", 0o644),
        ("directory", "etc_ipsecd", "/etc/ipsec.d", 0o700),
    )
    for sort, name, path, mode in places:
        yield Condition(f"{sort}_permissions_{name}", path, mode, "permissions")
        yield Condition(f"{sort}_owner_{name}", path, 0, "owner")
        yield Condition(f"{sort}_groupowner_{name}", path, 0, "groupowner")


CONDITIONS: Final = tuple(_conditions())
CRYPTO_POLICY: Final = "configure_libreswan_crypto_policy"
WORLD_WRITABLE: Final = "file_permissions_unauthorized_world_writable"
_POLICY_LINE: Final = re.compile(
    r"^\s*include\s+/etc/crypto-policies/back-ends/libreswan\.config\s*(#.*)?$", re.MULTILINE
)


def takes_crypto_policy(root: Path) -> bool:
    """Whether ipsec.conf includes the system's crypto policy."""
    path = root / "etc/ipsec.conf"
    return path.is_file() and _POLICY_LINE.search(path.read_text()) is not None


def compliance(root: Path, *, libreswan: bool) -> Said:
    """The conditions that do not hold."""
    said = {(each.path, f"`{each.rule}`") for each in CONDITIONS if not each.holds(root)}
    if libreswan and not takes_crypto_policy(root):
        said.add(("/etc/ipsec.conf", f"`{CRYPTO_POLICY}`"))
    return frozenset(said)


def can_scan() -> bool:
    """Whether OpenSCAP and the content for it are installed."""
    return shutil.which("oscap") is not None and _CONTENT.exists()


def scanned(root: Path, rule: str) -> bool:
    """Whether OpenSCAP says that a rule holds."""
    definition = f"oval:ssg-{rule}:def:1"
    done = subprocess.run(
        ["oscap", "oval", "eval", "--id", definition, _CONTENT],
        env={**os.environ, "OSCAP_PROBE_ROOT": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    (result,) = re.findall(rf"{re.escape(definition)}: (\w+)", done.stdout)
    return {"true": True, "false": False}[result]


# ---------------------------------------------------------------- Lynis

_PROFILE: Final = f"""\
permfile=/etc/ipsec.conf:rw-r--r--:root:root:WARN:
permfile=/etc/ipsec.secrets:rw-------:root:root:WARN:
permfile=/etc/ipsec.d/gw2.secrets:rw-------:root:root:WARN:
permfile=/etc/swanctl/swanctl.conf:rw-------:root:root:WARN:
permfile=/etc/swanctl/private/gw1.pem:rw-------:root:root:WARN:
permfile={NSS}/key4.db:rw-------:root:root:WARN:
permfile={NSS}/nsspassword:rw-------:root:root:WARN:
permdir=/etc/ipsec.d:rwx------:root:root:WARN:
permdir={NSS}:rwx------:root:root:WARN:
ssl-certificate-paths=/etc/swanctl/x509
"""
# Lynis has no option for a root folder: it gets one, with this machine's programs in it. All of it goes with the
# namespace.
_IN_A_ROOT: Final = """\
set -eu
cd "$1"
for name in usr etc/lynis etc/alternatives dev; do mount --bind "/$name" "$name"; done
mount -t proc proc proc
mount -t tmpfs tmpfs run
shift
exec chroot . /usr/sbin/lynis audit system --quick --no-colors \
  --log-file /out/log --report-file /out/report "$@"
"""
_SAYS: Final = (
    (re.compile(r"Outcome: permissions of (?:file|directory) (\S+) are not matching"), "FILE-7524"),
    (re.compile(r"Result: certificate (\S+) has been expired"), "CRYP-7902"),
)
_ADVICE: Final = re.compile(r"^(?:warning|suggestion)\[\]=([A-Z]+-\d+)\|([^|]*)", re.MULTILINE)


def lynis(root: Path, *, profile: bool) -> Said | None:
    """What Lynis says of files by name, and under "" the advice of its other tests. With a profile only those tests
    are run that it changes. None where Lynis is not installed.
    """
    if not LYNIS.exists() or os.geteuid() != 0:
        return None
    with TemporaryDirectory() as made:
        copy = Path(made) / "root"
        shutil.copytree(root, copy, symlinks=True)
        _own(root, copy)
        for name in ("usr", "etc/lynis", "etc/alternatives", "dev", "proc", "run", "out", "sys"):
            (copy / name).mkdir(parents=True, exist_ok=True)
        (copy / "tmp").mkdir(mode=0o1777)
        (copy / "tmp").chmod(0o1777)
        for name in ("bin", "sbin", "lib", "lib64"):
            (copy / name).symlink_to(f"usr/{name}")
        more = []
        if profile:
            (copy / "out/profile").write_text(_PROFILE)
            more = ["--profile", "/out/profile", "--tests", "FILE-7524 CRYP-7902"]
        return _run_lynis(copy, more)


def _run_lynis(copy: Path, more: list[str]) -> Said:
    apart = ("--mount", "--pid", "--fork", "--kill-child", "--net", "--ipc", "--uts")
    subprocess.run(
        ["unshare", *apart, "sh", "-c", _IN_A_ROOT, "sh", copy, *more],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=900,
        check=True,
    )
    log = (copy / "out/log").read_text("utf-8", "replace")
    report = (copy / "out/report").read_text("utf-8", "replace")
    said = {
        (path, f"`{test}`")
        for pattern, test in _SAYS
        for path in pattern.findall(log)
        if not path.startswith("/usr/")  # this machine's
    }
    tests = [test for _, test in _SAYS]
    advice = {(test, text) for test, text in _ADVICE.findall(report) if test not in tests}
    return frozenset(said | {("", f"`{test}`: {text}") for test, text in advice})


def _own(root: Path, copy: Path) -> None:
    """Owners, which a copy does not keep."""
    for path in (root, *root.rglob("*")):
        status = path.lstat()
        target = copy / path.relative_to(root)
        os.lchown(target, status.st_uid, status.st_gid)
        if not path.is_symlink():
            target.chmod(status.st_mode & 0o7777)


# ---------------------------------------------------------------- the audit


def audit(root: Path) -> Said:
    """What `ikewarden audit` says, but for what is only worth knowing."""
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ikewarden"),
            *("audit", "--root", root, "--format", "json", "--fail-on", "never"),
        ],
        capture_output=True,
        timeout=120,
        check=True,
    )
    report = json.loads(done.stdout)
    return frozenset(
        (each["path"], f"`{each['rule']}` ({each['severity']})")
        for each in report["findings"]
        if each["severity"] != "info"
    )


# ---------------------------------------------------------------- side by side


@dataclass(frozen=True)
class Column:
    """A tool, and what it says of the image with faults and of the one without; None if it could not be run."""

    name: str
    faulty: Said | None
    clean: Said | None

    def of(self, fault: Fault) -> list[str] | None:
        """What it says of a fault."""
        if self.faulty is None or self.clean is None:
            return None
        new = self.faulty - self.clean
        return sorted({text for path, text in new if path in fault.paths})

    def besides(self, faults: tuple[Fault, ...]) -> list[tuple[str, str]]:
        """What it says of the faulty image only, at none of the paths."""
        at = {path for fault in faults for path in fault.paths}
        new = (self.faulty or frozenset()) - (self.clean or frozenset())
        return sorted((path, text) for path, text in new if path not in at)


@dataclass(frozen=True)
class Compared:
    """The tools on one kind of host. `scanned`: what OpenSCAP says of rules, with faults and without, if it can."""

    case: Case
    faults: tuple[Fault, ...]
    columns: tuple[Column, ...]
    scanned: Mapping[str, tuple[bool, bool]]


def compared(case: Case, folder: Path, now: dt.datetime, *, with_lynis: bool = True) -> Compared:
    """Make the images in an empty folder, and run every tool on both."""
    clean, faulty = (Files(folder / name) for name in ("clean", "faulty"))
    faults = case.faults(now)
    for files in (clean, faulty):
        files.root.mkdir()
        files.root.chmod(0o755)
        case.clean(files, now)
    for fault in faults:
        fault.plant(faulty)
    tools: Mapping[str, Tool] = {
        "ComplianceAsCode's conditions": lambda root: compliance(root, libreswan=case.libreswan),
        "Lynis as shipped": lambda root: lynis(root, profile=False) if with_lynis else None,
        "Lynis, told the files": lambda root: lynis(root, profile=True) if with_lynis else None,
        "`ikewarden audit`": audit,
    }
    with ThreadPoolExecutor(2) as pool:
        columns = tuple(
            Column(name, *pool.map(tool, (faulty.root, clean.root))) for name, tool in tools.items()
        )
    rules = [*([CRYPTO_POLICY] if case.libreswan else []), WORLD_WRITABLE] if can_scan() else []
    held = {rule: (scanned(faulty.root, rule), scanned(clean.root, rule)) for rule in rules}
    return Compared(case, faults, columns, held)


def table(result: Compared) -> str:
    """The comparison as Markdown."""
    lines = [f"### {result.case.name}", ""]
    lines.append("| planted | " + " | ".join(each.name for each in result.columns) + " |")
    lines.append("|---" * (1 + len(result.columns)) + "|")
    for fault in result.faults:
        cells = [_cell(column.of(fault)) for column in result.columns]
        lines.append(f"| {fault.text} | " + " | ".join(cells) + " |")
    counts = [
        _NOT_RUN if column.faulty is None else str(sum(bool(column.of(f)) for f in result.faults))
        for column in result.columns
    ]
    lines.append(f"| **of {len(result.faults)}** | " + " | ".join(counts) + " |")
    clean = [_NOT_RUN if c.clean is None else _cell(_named(c.clean)) for c in result.columns]
    lines.append("| *on the image without faults* | " + " | ".join(clean) + " |")
    for column in result.columns:
        for path, text in column.besides(result.faults):
            lines += ["", f"Beside these, {column.name}: {path} {text}"]
    return "\n".join(lines) + "\n"


def _named(said: Said) -> list[str]:
    return sorted(f"{path}: {text}" for path, text in said if path)


def _cell(found: list[str] | None) -> str:
    if found is None:
        return _NOT_RUN
    return "<br>".join(found) or _NONE


def main() -> None:
    """Print it all."""
    now = dt.datetime.now(dt.UTC)
    for case in CASES:
        with TemporaryDirectory() as folder:
            result = compared(case, Path(folder), now)
        sys.stdout.write(table(result) + "\n")
        for rule, (faulty, clean) in result.scanned.items():
            sys.stdout.write(f"OpenSCAP, {rule}: {faulty}; without faults: {clean}\n\n")


if __name__ == "__main__":
    main()
