"""Settings of the receiver of syslog."""

from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from api.syslog.senders import Sender
from ikewarden.settings_section import Section
from ikewarden.settings_values import Host, Words

_WORDS: Final = (
    '"ADDRESS = GATEWAY", "NETWORK = GATEWAY", or "RELAY HOST = GATEWAY" for a device behind a relay, '
    "each source once"
)


def _senders(lines: tuple[str, ...]) -> tuple[str, ...]:
    try:
        found = [Sender.parse(line) for line in lines]
    except ValueError:
        raise ValueError(f"must be {_WORDS}") from None
    if len({(each.network, each.host) for each in found}) < len(found):
        raise ValueError(f"must be {_WORDS}")
    return lines


Port = Annotated[int, Field(ge=1, le=65535)]
SenderLines = Annotated[tuple[str, ...], AfterValidator(_senders), Words(_WORDS)]


class SyslogSettings(Section):
    """The receiver of syslog, for devices without an agent (docs/how-to/devices.md). Off without a port."""

    host: Host = Field(default="127.0.0.1", description="The address to listen on.")
    udp_port: Port | None = Field(
        default=None,
        description="The port for UDP (RFC 5426); 514 is usual, and needs the right to use it. Whoever can write an "
        "address on a packet can speak for the device that has it: only for networks where nobody can.",
    )
    tcp_port: Port | None = Field(
        default=None,
        description="The port for TCP (RFC 6587), with counted messages or one a line; 601 or 514 are usual.",
    )
    tls_port: Port | None = Field(
        default=None,
        description="The port for TLS (RFC 5425), with the service's own certificate; 6514 is usual.",
    )
    tls_client_certificate: bool = Field(
        default=False,
        description="Whether a device must come with a certificate that this service issued to its gateway. One that "
        "comes with it speaks for that gateway, whatever its address, and for no other.",
    )
    senders: SenderLines = Field(
        default=(),
        description="Who speaks for which gateway. The narrowest network that holds a source's address decides. "
        "What a message says of its host counts only behind a relay that is named here with that host.",
    )

    @property
    def is_on(self) -> bool:
        """Whether anything is received."""
        return any((self.udp_port, self.tcp_port, self.tls_port))

    @model_validator(mode="after")
    def _somebody_may_send(self) -> Self:
        if (self.udp_port or self.tcp_port) and not self.senders:
            raise ValueError("senders must name who may send where udp_port or tcp_port is set")
        return self
