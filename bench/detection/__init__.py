"""Are the alerts right? A simulator of fleets with faults, attacks and what only looks like them; and how fast."""
