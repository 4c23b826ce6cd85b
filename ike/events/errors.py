"""What can be wrong with a log before a line of it is read."""

from core.errors import Conflict, InvalidInput


class LogNotFound(InvalidInput):
    """There is no file of this name."""

    code = "log_not_found"
    next_step = "Name a log of an IKE daemon, or - for standard input."


class LogNotFile(InvalidInput):
    """It is a directory, or something else that holds no log."""

    code = "log_not_file"
    next_step = "Name one file of it; with a journal: `journalctl -u strongswan -o json | ikewarden sa events -`."


class LogUnreadable(InvalidInput):
    """The file may not be read, or its disk fails."""

    code = "log_unreadable"
    next_step = "Run it as root, or as a member of the group that may read logs (`adm`, mostly)."


class LogNotText(InvalidInput):
    """The file holds no text in which a log could stand."""

    code = "log_not_text"
    next_step = "Name a log of an IKE daemon, as text or JSON, plain or compressed with gzip, bzip2, xz or zstd."


class LogDamaged(InvalidInput):
    """A compressed file breaks off or was changed; what stands before that place was read."""

    code = "log_damaged"
    next_step = "Take what was read with care, and look for another copy of the file."


class ZstdMissing(InvalidInput):
    """The file is compressed with zstd, which this Python cannot read by itself."""

    code = "log_zstd_missing"
    next_step = "Run: zstd -dc FILE | ikewarden sa events -, or in a clone of ikewarden: pip install '.[zstd]'"


class LogNotFollowable(Conflict):
    """The file cannot grow: it is compressed, or a pipe."""

    code = "log_not_followable"
    next_step = "Follow the log that the daemon writes now, or leave out --follow; a pipe: ikewarden sa events - < PIPE"
