"""A SoftHSM2 token for a benchmark."""

import secrets
import shutil
import subprocess
from pathlib import Path

from bench.processes import ProgramDied, plain_environment

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
LABEL = "bench"


class SoftHsm:
    """A fresh token, with a PIN of its own. `environment` is what its module must find."""

    def __init__(self, directory: Path) -> None:
        if shutil.which("softhsm2-util") is None:
            raise ProgramDied("softhsm2 is not installed")
        tokens = directory / "tokens"
        tokens.mkdir(parents=True, mode=0o700)
        configuration = directory / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
        self.environment = {"SOFTHSM2_CONF": str(configuration)}
        self.pin = f"{secrets.randbelow(10**8):08}"
        self.pin_file = directory / "pin"
        self.pin_file.touch(0o600)
        self.pin_file.write_text(self.pin + "\n")
        words = [
            "--init-token",
            "--free",
            "--label",
            LABEL,
            "--so-pin",
            self.pin,
            "--pin",
            self.pin,
        ]
        subprocess.run(
            ["softhsm2-util", *words],
            env=plain_environment(**self.environment),
            check=True,
            capture_output=True,
        )
