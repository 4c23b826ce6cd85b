"""What the daemons' configuration comes to: algorithms, lifetimes, who may connect, and how it is proved.

`looking.look` reads it, `rules.RULES` are all that can be wrong with it.
"""

from typing import Final

from ike.audit.configuration import rules
from ike.audit.configuration.looking import Configuration, look

RULES: Final = rules.RULES

__all__ = ["RULES", "Configuration", "look"]
