"""The pages about kinds of alerts, as they are shipped: what an alert means, what is normal, what to do.

`explained` is the documentation's folder of them; a package holds copies.
"""

from importlib.resources import files


def kinds() -> list[str]:
    """All that have a page."""
    pages = (files("ike.detection") / "explained").iterdir()
    names = (page.name.removesuffix(".md") for page in pages if page.name.endswith(".md"))
    return sorted(name for name in names if name != "README")


def explanation(kind: str) -> str | None:
    """The page of a kind, in Markdown; None where there is none."""
    if not kind.isidentifier() or not kind.isascii():
        return None
    page = files("ike.detection") / "explained" / f"{kind}.md"
    return page.read_text("utf-8") if kind != "README" and page.is_file() else None
