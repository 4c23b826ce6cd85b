"""PostgreSQL: how a connection is set up."""

from typing import Any

from store.limits import Limits, milliseconds


def engine_options(limits: Limits) -> dict[str, Any]:
    """Arguments of `create_engine`."""
    return {
        "connect_args": {
            # libpq takes whole seconds, and no fewer than two.
            "connect_timeout": max(2, round(limits.connect.total_seconds())),
            # A server that vanished is noticed in seconds, not in the kernel's two hours.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
            "fallback_application_name": "ikewarden",
        },
    }


def set_up(connection: Any, limits: Limits) -> None:
    """Prepare a fresh psycopg connection."""
    connection.autocommit = True  # the store begins its transactions itself
    connection.execute(
        f"SET lock_timeout = {milliseconds(limits.busy)};"
        f"SET statement_timeout = {milliseconds(limits.statement)};"
        f"SET idle_in_transaction_session_timeout = {milliseconds(limits.idle)};"
        # Compiling a query takes longer than any of ours runs.
        "SET jit = off;"
        "SET TIME ZONE 'UTC'"
    )
