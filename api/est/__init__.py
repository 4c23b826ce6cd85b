"""The EST door (RFC 7030, 8951, 9908)."""

from api.est.door import CHALLENGE, install, is_est

__all__ = ["CHALLENGE", "install", "is_est"]
