"""What can go wrong with a backup, in our own words."""

from core.errors import Conflict, InvalidInput, Unavailable


class BackupUnreadable(InvalidInput):
    """The file is no backup, was cut off, or was changed."""

    code = "backup_unreadable"
    next_step = "Take another copy of the backup, or an older one. Nothing was written."


class BackupNotForThis(InvalidInput):
    """The passphrase or the key does not open the backup."""

    code = "backup_not_opened"
    next_step = (
        "Give the passphrase or the identity that the backup was made for. Nothing was written."
    )


class BackupVersionUnknown(InvalidInput):
    """The backup is of another version of the program."""

    code = "backup_version"
    next_step = (
        "Restore it with that version of the program, and upgrade then. Nothing was written."
    )


class BackupRecipientUnusable(InvalidInput):
    """What the backup shall be encrypted to is missing, or is no recipient."""

    code = "backup_recipient"
    next_step = (
        "Give --recipient with an age recipient (age1…, `age-keygen` makes one), or a passphrase."
    )


class BackupLayout(InvalidInput):
    """A part of the instance is not in its directory."""

    code = "backup_layout"
    next_step = (
        "Move it into the directory of the settings file and name it there by a relative path."
    )


class BackupRunning(Conflict):
    """Another backup or restore is at work in this directory."""

    code = "backup_running"
    next_step = "Wait until it is done."


class RestoreTargetTaken(Conflict):
    """The directory to restore into is not empty."""

    code = "restore_target_taken"
    next_step = "Name a directory that is empty or does not exist."


class RestoreDatabaseDiffers(InvalidInput):
    """The backup has records of one kind of database, and the settings name another."""

    code = "restore_database_differs"
    next_step = "Set IKEWARDEN_DATABASE__URL to an empty database of the kind that the backup has."


class NoRoom(Unavailable):
    """There is not enough room on the disk."""

    code = "backup_no_room"
    next_step = "Make room, or choose another place."
