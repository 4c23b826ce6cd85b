"""`make demo`: the story of tests/lab/story.py in the terminal."""

import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tests.lab.errors import LabError
from tests.lab.lab import Lab, usable
from tests.lab.story import (
    Say,
    Warden,
    enroll,
    ocsp_status,
    on_crl,
    served,
    tell,
    wait_until,
)


def main() -> int:
    """Tell the story; without root, the part about certificates alone."""
    console = Console(highlight=False)
    start = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - start:6.1f} s[/dim]  {text}", soft_wrap=True)

    console.print(
        "[bold]ikewarden demo[/bold]: certificates bring up a tunnel, a revocation ends it\n"
    )
    reason = usable()
    try:
        with tempfile.TemporaryDirectory(prefix="ikewarden-demo-") as scratch:
            directory = Path(scratch) / "instance"
            say("making an instance: root and issuing CA, SQLite, sealed keys")
            with served(directory, "ec-p256", in_lab=not reason) as warden:
                say(f"serving at https://localhost:{warden.api_port}")
                if reason:
                    console.print(f"\n[yellow]No tunnel: {reason}[/yellow]\n", soft_wrap=True)
                    _certificates_alone(warden, say)
                else:
                    with Lab() as lab:
                        for line in tell(lab, warden, "ec-p256", say):
                            console.print(f"            [red]{line}[/red]", soft_wrap=True)
    except LabError as error:
        console.print(f"[bold red]failed:[/bold red] {error}")
        return 1
    except KeyboardInterrupt:
        console.print("\nstopped")
        return 130
    console.print("\n[bold green]done[/bold green]: everything it started is gone again")
    return 0


def _certificates_alone(warden: Warden, say: Say) -> None:
    mine = enroll(warden, "gw-a.demo.example")
    say(
        f"{mine.name}: enrolled over REST, certificate {mine.serial}; OCSP says {ocsp_status(warden, mine)}"
    )
    warden.call("POST", f"/v1/certificates/{mine.serial}/revoke", {"reason": "keyCompromise"})
    crl = wait_until(lambda: on_crl(warden, mine), "the serial on the CRL")
    say(f"revoked; the CRL lists it after {crl:.2f} s")
    wait_until(lambda: ocsp_status(warden, mine) == "REVOKED", "OCSP says revoked")
    say("OCSP says REVOKED")


if __name__ == "__main__":
    sys.exit(main())
