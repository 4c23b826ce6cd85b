"""The formats that credentials are rendered to for daemons without an adapter."""

from typing import Final

FORMATS: Final = ("swanctl", "ipsec", "pem", "pkcs12")
