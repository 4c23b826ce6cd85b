"""Two charons that may speak to each other by a shared key."""

from typing import Any

from tests.lab import Gateway, Lab


def pair(lab: Lab, **child: Any) -> tuple[Gateway, Gateway]:
    """`left` and `right`, with a connection `site` and its child `net`, nothing started."""
    left, right = lab.gateway("left"), lab.gateway("right")
    for here, there in ((left, right), (right, left)):
        share(here, "a-key-of-the-lab")
        section = {
            "version": 2,
            "local_addrs": here.outside,
            "remote_addrs": there.outside,
            "local": {"auth": "psk", "id": f"{here.name}.example.net"},
            "remote": {"auth": "psk", "id": f"{there.name}.example.net"},
            "children": {
                "net": {
                    "local_ts": str(here.inside.network),
                    "remote_ts": str(there.inside.network),
                    **child,
                }
            },
        }
        here.add_connection("site", section)
    return left, right


def share(gateway: Gateway, key: str) -> None:
    """Give a charon the key for everybody, in the place of the one before."""
    with gateway.session() as session:
        session.load_shared({"id": "k", "type": "IKE", "data": key})
