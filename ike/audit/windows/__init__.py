"""The audit of a Windows gateway: a script collects what there is, and rules judge what it wrote, on any machine."""

from ike.audit.windows.facts import WindowsFacts, look, script
from ike.audit.windows.rules import RULES

__all__ = ["RULES", "WindowsFacts", "look", "script"]
