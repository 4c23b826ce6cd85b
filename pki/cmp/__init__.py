"""CMP (RFC 9810) as bytes: messages read and made, protected and checked. Pure."""
