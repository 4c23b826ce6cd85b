"""What the product is made of: a bill of materials (CycloneDX), and the page that names each part with its licence.

`python -m docs.sbom FILE` writes the bill; `make sbom` does. It has what an installation with all extras has, not what
development needs besides, and the files of other people that the console brings along.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = ROOT / "docs" / "reference" / "third-party.md"
# All but `dev`.
EXTRAS: Final = ("server", "postgres", "hsm", "token", "zstd", "primes", "pdf", "traces")

Bill = dict[str, Any]


class Vendored(NamedTuple):
    """A file of other people's in the console: its package, its licence, and where it says its version, if it does."""

    package: str
    licence: str
    version: str | None


VENDORED: Final = {
    "htmx.min.js": Vendored("htmx.org", "0BSD", r'version:"([0-9.]+)"'),
    "htmx-sse.min.js": Vendored("htmx-ext-sse", "0BSD", None),
    "echarts.min.js": Vendored("echarts", "Apache-2.0", r'[.]version="([0-9.]+)"'),
}


def bill() -> Bill:
    """The bill of materials, the same whenever it is made of the same.

    Raises LookupError for a vendored file that nobody named here.
    """
    made = _of_environment()
    wanted = _closure()
    parts = [each for each in made["components"] if canonicalize_name(each["name"]) in wanted]
    parts += _vendored()
    made["components"] = sorted(parts, key=lambda each: str(each["bom-ref"]))
    root = made["metadata"]["component"]["bom-ref"]
    refs = {each["bom-ref"] for each in made["components"]} | {root}
    made["dependencies"] = [
        {
            "ref": each["ref"],
            "dependsOn": sorted(ref for ref in each.get("dependsOn", []) if ref in refs),
        }
        for each in made["dependencies"]
        if each["ref"] in refs
    ]
    return made


def page(made: Bill) -> str:
    """The page: each part with its version and licence."""
    lines = [
        "# What it is made of",
        "",
        "<!-- Written by `make sbom` from what is installed. -->",
        "",
        "ikewarden is under the Apache License 2.0. An installation with every extra has these parts of other",
        "people's, each under its own licence; their texts are in the packages themselves. `make sbom` writes the",
        "same as a bill of materials (CycloneDX 1.6), with dependencies.",
        "",
        "| part | version | licence |",
        "|---|---|---|",
    ]
    for each in sorted(made["components"], key=lambda each: str(each["name"]).lower()):
        lines.append(f"| {each['name']} | {each.get('version', '')} | {_licences(each)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the bill to the file that is named, and the page."""
    made = bill()
    Path(sys.argv[1]).write_text(json.dumps(made, indent=2, sort_keys=True) + "\n", "utf-8")
    PAGE.write_text(page(made), "utf-8")


def _of_environment() -> Bill:
    """What is installed here, as cyclonedx-py sees it."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
    command += ["--spec-version", "1.6", "--pyproject", str(ROOT / "pyproject.toml")]
    done = subprocess.run([*command, sys.executable], capture_output=True, check=True, cwd=ROOT)
    found: Bill = json.loads(done.stdout)
    return found


def _closure() -> set[str]:
    """The names of what an installation with all extras needs, and of what that needs, and so on."""
    found: set[str] = set()
    waiting = [Requirement(f"ikewarden[{','.join(EXTRAS)}]")]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        asked = waiting.pop()
        name = canonicalize_name(asked.name)
        if (name, frozenset(asked.extras)) in seen:
            continue
        seen.add((name, frozenset(asked.extras)))
        found.add(name)
        for line in distribution(asked.name).requires or ():
            below = Requirement(line)
            if below.marker is None or any(
                below.marker.evaluate({"extra": extra}) for extra in asked.extras or {""}
            ):
                waiting.append(below)
    return found - {"ikewarden"}


def _vendored() -> Iterator[Bill]:
    for path in sorted(ROOT.glob("api/**/vendor/*.js")):
        known = VENDORED.get(path.name)
        if known is None:
            raise LookupError(f"{path} is not in docs/sbom.py")
        content = path.read_bytes()
        version = known.version and re.search(known.version, content.decode("utf-8", "replace"))
        part: Bill = {
            "type": "library",
            "bom-ref": f"npm:{known.package}",
            "name": known.package,
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}],
            "licenses": [{"license": {"id": known.licence}}],
            "purl": f"pkg:npm/{known.package}" + (f"@{version[1]}" if version else ""),
        }
        yield part | ({"version": version[1]} if version else {})


def _licences(part: Bill) -> str:
    """What a part says of its licence; what it says twice, once."""
    said = []
    for each in part.get("licenses", []):
        known = each.get("license", {})
        said.append(str(each.get("expression") or known.get("id") or known.get("name") or ""))
    # Some packages carry the text itself in that place.
    short = list(dict.fromkeys(" ".join(text.split()) for text in said if 0 < len(text) < 80))
    # The words of the package index say less than an identifier of SPDX.
    exact = [text for text in short if "::" not in text] or [
        text.rpartition(":: ")[2] for text in short
    ]
    return ", ".join(exact).replace("|", "\\|") or "see the package"


if __name__ == "__main__":
    main()
