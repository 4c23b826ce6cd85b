"""How much one run calculates to see whether an empty password opens something. Pure.

How many rounds of a hash one attempt takes is the choice of whoever made the file, and how many such files and blocks
there are too.
"""

from dataclasses import dataclass, field
from typing import Final

MAX_ROUNDS: Final = 10_000_000  # some ten seconds; OpenSSL makes files of 2048, NSS of 10,000
UNTRIED: Final = "whether it opens without a password was not tried: the files together ask for too much calculation"


class TooCostly(Exception):
    """The run has calculated enough."""


@dataclass
class Effort:
    """The rounds that are left."""

    left: int = field(default_factory=lambda: MAX_ROUNDS)

    def spend(self, rounds: int) -> None:
        """To be asked before each calculation. Raises TooCostly where so many are not left; fewer may still be."""
        if rounds > self.left:
            raise TooCostly
        self.left -= rounds
