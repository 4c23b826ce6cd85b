"""Libreswan behind the port of `ike.daemons.port`: the NSS database by its tools, pluto by whack and addconn.

What pluto does on a reload, and why things are done in this order: docs/explanation/reload-libreswan.md.
"""

from ike.daemons.libreswan.daemon import Libreswan
from ike.daemons.libreswan.places import Places

__all__ = ["Libreswan", "Places"]
