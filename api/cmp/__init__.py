"""The CMP door (RFC 9810, 9811), on the plain listener: its messages protect themselves."""

from api.cmp.door import MEDIA_TYPE, CmpDoors, is_cmp

__all__ = ["MEDIA_TYPE", "CmpDoors", "is_cmp"]
