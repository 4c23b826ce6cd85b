"""The SCEP door (RFC 8894), on the plain listener: its messages protect themselves."""

from api.scep.door import Answer, ScepDoors, is_scep

__all__ = ["Answer", "ScepDoors", "is_scep"]
