"""What can go wrong in the lab."""

from collections.abc import Sequence


class LabError(Exception):
    """The lab could not do what was asked; the message carries what the tool or the daemon said."""


class Refused(LabError):
    """An IKE exchange that ended without the SA that was asked for.

    `words` are the log messages of the daemon that was asked, oldest first; the other end's reasons
    are in its own log (`Gateway.log`).
    """

    def __init__(self, message: str, words: Sequence[str]) -> None:
        super().__init__("\n  ".join((message, *words)))
        self.words = tuple(words)
