"""Settings of the listener for counters."""

from typing import Annotated

from pydantic import Field

from ikewarden.settings_section import Section
from ikewarden.settings_values import Host


class MetricsSettings(Section):
    """A listener of its own for what the processes of one `serve` count: for those without an API, whose /metrics says
    the same. Plain HTTP, without a token, and without any figure of the records: only where no stranger reaches it.
    """

    host: Host = Field(default="127.0.0.1", description="The address to listen on.")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None, description="The port to listen on. Off without one."
    )
