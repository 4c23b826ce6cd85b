"""Certificates as values: pure functions over bytes and `cryptography` objects; no session, file, socket or clock."""
