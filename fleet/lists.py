"""Revocation lists for agents."""

from pki import publication
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.publication import FULL, Crl


def get(desk: Desk, actor: Actor, authority: str) -> Crl:
    """The complete list of an authority. Raises RoleMayNot, AuthorityNotFound, CrlNotFound."""
    require(actor, Action.CRL_READ)
    return publication.published(desk, authority, FULL)
