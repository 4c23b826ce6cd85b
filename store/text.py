"""Text from outside, made fit for both databases."""


def storable(text: str) -> str:
    """The text without what a database refuses: NUL (PostgreSQL) and unpaired surrogates (both)."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
