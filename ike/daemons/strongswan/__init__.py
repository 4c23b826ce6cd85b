"""strongSwan's charon, over VICI: `StrongSwan`."""

from ike.daemons.strongswan.adapter import StrongSwan

__all__ = ["StrongSwan"]
