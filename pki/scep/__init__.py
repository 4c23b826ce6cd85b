"""SCEP's messages (RFC 8894 §3) as values: bytes in, values out, and back. Pure: no database, no clock, no socket."""
