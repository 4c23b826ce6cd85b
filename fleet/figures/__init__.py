"""Figures of certificates and of the fleet: counted by a job, kept, and shown to whoever watches."""
