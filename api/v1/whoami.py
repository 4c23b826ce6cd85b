"""Who the service takes the caller for."""

from api.registry import Call, Nothing, Reply, Route, Shown
from pki.actors import GRANTS


class WhoAmI(Shown):
    """The caller as the service sees it."""

    name: str
    role: str
    credential: str
    actions: list[str]
    profiles: list[str] | None
    authorities: list[str] | None
    names: list[str] | None
    networks: list[str] | None
    endpoints: list[str] | None
    gateway: str | None
    one_time: bool


def show(call: Call[None, Nothing]) -> Reply:
    """Tell the caller who it is."""
    actor, scope = call.actor, call.actor.scope
    return Reply(
        WhoAmI(
            name=actor.name,
            role=str(actor.role),
            credential=actor.credential,
            actions=sorted(GRANTS[actor.role]),
            profiles=None if scope.profiles is None else list(scope.profiles),
            authorities=None if scope.authorities is None else list(scope.authorities),
            names=None if scope.names is None else list(scope.names),
            networks=None if scope.networks is None else list(scope.networks),
            endpoints=None if scope.endpoints is None else list(scope.endpoints),
            gateway=scope.gateway,
            one_time=actor.one_time,
        )
    )


ROUTES = (
    Route(
        method="GET",
        path="/v1/whoami",
        view=show,
        summary="Who the service takes you for, and what you may do",
        tag="Service",
        action=None,
        answer=WhoAmI,
    ),
)
