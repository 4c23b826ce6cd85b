"""Hosts with nothing wrong, and faults that are planted in copies: the audit must find each of them, and no more."""
