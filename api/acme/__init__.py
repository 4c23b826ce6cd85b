"""The ACME door (RFC 8555, 8737, 8738, 9773)."""

from api.acme.door import install, is_acme, refusal

__all__ = ["install", "is_acme", "refusal"]
