"""What a daemon tells of its SAs, and what the kernel has, put together. Pure."""

from collections.abc import Sequence
from dataclasses import fields, replace

from ike.sas.association import MANUAL, UNCLAIMED, UNKNOWN, Association, Child


def combined(told: Sequence[Association], kernel: Sequence[Association]) -> list[Association]:
    """A daemon's associations, with what the kernel knows better; then those of the kernel that are no daemon's.

    They belong together by their SPIs: one is enough, and the addresses may differ behind a NAT.
    """
    known: dict[tuple[str, str], Child] = {}
    for association in kernel:
        for child in association.children:
            known |= {key: child for key in _keys(child)}
    claimed: set[tuple[str, str]] = set()
    found = []
    for association in told:
        children = tuple(_completed(child, known) for child in association.children)
        claimed |= {key for child in association.children for key in _keys(child)}
        nat_t = association.nat_t or any(child.nat_t for child in children)
        found.append(replace(association, children=children, nat_t=nat_t))
    for association in kernel:
        if not any(key in claimed for child in association.children for key in _keys(child)):
            found.append(replace(association, origin=_origin(association)))
    return found


def _keys(child: Child) -> list[tuple[str, str]]:
    """Ours are told apart from the peer's, which may be the same numbers."""
    ends = (("in", child.spi_in), ("out", child.spi_out))
    return [(end, spi) for end, spi in ends if spi]


def _completed(child: Child, known: dict[tuple[str, str], Child]) -> Child:
    """What the daemon does not tell, the kernel does."""
    kernel = next((known[key] for key in _keys(child) if key in known), None)
    if kernel is None:
        return child
    missing = {
        each.name: getattr(kernel, each.name)
        for each in fields(Child)
        if getattr(child, each.name) in (None, "", ())
    }
    return replace(child, **missing)


def _origin(association: Association) -> str:
    """A daemon gives its SAs an end; what has none, and is not the daemon's, was made by hand."""
    if association.origin == UNKNOWN:
        endless = all(child.lifetime_seconds is None for child in association.children)
        return MANUAL if endless else UNCLAIMED
    return association.origin
