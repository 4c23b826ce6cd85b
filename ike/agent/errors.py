"""What can go wrong on the gateway, outside the daemon and the service."""

from core.errors import Conflict, IkewardenError, InvalidInput, NotFound, Unavailable


class HomeNotPrivate(InvalidInput):
    """Something in the agent's home can be read or changed by others, or is no plain file."""

    code = "agent_home_not_private"


class HomeNotWritable(Unavailable):
    """The agent's home cannot be written or read: a full disk, a read-only mount, a missing right."""

    code = "agent_home_not_writable"
    next_step = "Make room or mend the rights; what was there is unchanged."


class HomeDamaged(IkewardenError):
    """A file in the agent's home does not hold what it must."""

    code = "agent_home_damaged"
    next_step = "Enroll again with --force; the IKE daemon goes on with what it has."


class HomeInUse(Conflict):
    """Another agent works in this home."""

    code = "agent_home_in_use"
    next_step = "Stop the other one first: `systemctl stop ikewarden-agent`, say."


class NotEnrolled(NotFound):
    """There is no agent's home, or nothing in it that was enrolled."""

    code = "agent_not_enrolled"
    next_step = "Run `ikewarden agent enroll` with a line of `ikewarden gateway enrollment NAME`."


class AgentSettingsInvalid(InvalidInput):
    """agent.toml cannot be understood."""

    code = "agent_settings_invalid"
    next_step = "Mend agent.toml; the how-to of the agent lists what may stand in it."
