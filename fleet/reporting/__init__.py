"""Reports of the fleet as figures: what there is, what ends, what was revoked, how old keys are, what proves it."""
