"""What can be wrong with a ceremony.

::

    InvalidInput
    ├── CeremonyMalformed     not a ceremony as this program reads one
    ├── CeremonyNoConsole     nobody can be asked
    └── TranscriptUnreadable  not a transcript, or not a whole one
    NotPermitted
    └── CeremonyNotConfirmed  a witness did not confirm the file
    Conflict
    ├── CeremonyDeviation     what is, or comes out, is not what is written
    └── TranscriptUntrusted   it was changed, or another key signed it
"""

from core.errors import Conflict, InvalidInput, NotPermitted


class CeremonyMalformed(InvalidInput):
    """The file is not a ceremony: something is missing, unknown, or cannot be."""

    code = "ceremony_malformed"
    next_step = "Correct the place that the message names, and rehearse it with --dry-run."


class CeremonyNoConsole(InvalidInput):
    """Witnesses confirm at a terminal, and there is none."""

    code = "ceremony_no_console"
    next_step = (
        "Run it at a terminal, with the witnesses before it. A rehearsal (--dry-run) needs none."
    )


class CeremonyNotConfirmed(NotPermitted):
    """A witness typed something else than the beginning of the file's hash; nothing was made."""

    code = "ceremony_not_confirmed"
    next_step = (
        "Compare the file with the one that was agreed on: `sha256sum FILE`. Then run it again."
    )


class CeremonyDeviation(Conflict):
    """What is there, or what came out, is not what is written. It was not kept."""

    code = "ceremony_deviation"
    next_step = (
        "Correct the file or the settings, agree on it anew, and rehearse it with --dry-run."
    )


class TranscriptUnreadable(InvalidInput):
    """This is no transcript of a ceremony, or not a whole one."""

    code = "transcript_unreadable"
    next_step = "Give a file that `ikewarden ca ceremony` wrote."


class TranscriptUntrusted(Conflict):
    """The transcript is not as it was signed, it was signed by another key, or what is in it does not fit together."""

    code = "transcript_untrusted"
    next_step = "Compare the key with one that was kept elsewhere. If it is the right one, the transcript was changed."
