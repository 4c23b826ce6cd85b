"""`python -m tests.lab`: remove what labs of dead owners left on this machine."""

import sys

from tests.lab.lab import sweep, usable

if reason := usable():
    sys.exit(reason)
for lab in sweep():
    sys.stdout.write(f"removed lab {lab}\n")
