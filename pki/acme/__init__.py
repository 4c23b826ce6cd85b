"""ACME (RFC 8555): accounts, orders, proofs of control, and the certificates that come of them."""
