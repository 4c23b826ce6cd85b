"""Writes the reference pages that are made from the code; tests compare them with it."""

import importlib
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path

import api
import core
import fleet
import hsm
import ike
import ikewarden
import pki
import scheduler
import store
from api.problems import status_of
from core.errors import IkewardenError, meaning
from docs import pictures, share

REFERENCE = Path(__file__).parent / "reference"
_ROOMS = (core, store, hsm, ike, pki, fleet, scheduler, api, ikewarden)


def error_classes() -> list[type[IkewardenError]]:
    """Every class of the error tree that the program can raise and that has a code of its own, by code."""
    for room in _ROOMS:
        for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
            if ".migrations" not in module.name:
                importlib.import_module(module.name)
    rooms = {room.__name__ for room in _ROOMS}
    found: set[type[IkewardenError]] = set()
    waiting = [IkewardenError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        # Not those of tests.
        if kind.__module__.partition(".")[0] in rooms and "code" in vars(kind):
            found.add(kind)
    return sorted(found, key=lambda kind: kind.code)


def errors_page() -> str:
    """Error codes with their HTTP status, meaning and next step."""
    lines = [
        "# Error codes",
        "",
        "<!-- Written by `make docs` from the error classes. -->",
        "",
        "Codes are stable; sentences are for people and may change. REST answers are problem+json",
        "(RFC 9457) with `code`, `next_step` and `request_id`; the command line prints the same.",
        "",
        "| code | HTTP | meaning | next step |",
        "|---|---|---|---|",
    ]
    for kind in error_classes():
        # Each class has a status whatever its arguments are, so none needs to be made.
        status = status_of(kind.__new__(kind))
        lines.append(
            f"| `{kind.code}` | {status} | {_cell(meaning(kind))} | {_cell(kind.next_step)} |"
        )
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def pages() -> dict[str, Callable[[], str]]:
    """The generated pages by file name."""
    from bench import results
    from bench.detection.page import render as detection_page
    from docs.metrics import render as metrics_page
    from docs.refusals import render as refusals_page
    from docs.rest import render as rest_page
    from ike.audit.reference import page as audit_page
    from ikewarden.cli.reference import page as cli_page
    from ikewarden.settings_reference import render as settings_page
    from pki.x509.lint.reference import reference_page as lint_page

    return {
        "errors.md": errors_page,
        "settings.md": settings_page,
        "cli.md": cli_page,
        "lint.md": lint_page,
        "audit-rules.md": audit_page,
        "refusals.md": refusals_page,
        "metrics.md": metrics_page,
        "rest.md": rest_page,
        "detection.md": lambda: detection_page(results.read(results.RESULTS)),
    }


def main() -> None:
    """Write all pages, what is made of them for share/, and draw the pictures."""
    for name, render in pages().items():
        (REFERENCE / name).write_text(render(), "utf-8")
    share.main()
    if stale := pictures.draw():
        sys.stderr.write(f"Not drawn for want of graphviz (apt-get install graphviz): {stale}\n")


if __name__ == "__main__":
    main()
