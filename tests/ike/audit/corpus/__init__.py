"""Hosts with nothing wrong, and the faults that are planted in copies of them: the audit must find each, and no more."""
