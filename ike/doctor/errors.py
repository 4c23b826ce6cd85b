"""What a doctor cannot work with."""

from core.errors import InvalidInput


class TunnelUnknown(InvalidInput):
    """No connection or Child SA of the configuration has this name."""

    code = "doctor_tunnel_unknown"
    next_step = "Name one of the connections that the message lists."


class TunnelNotNamed(InvalidInput):
    """There are several connections, and none was named."""

    code = "doctor_tunnel_not_named"
    next_step = "Name one: ikewarden doctor NAME"
