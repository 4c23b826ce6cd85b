"""The table of figures that cost too much to be counted each time that somebody looks."""

from typing import Final

from sqlalchemy import JSON, Column, Table

from store.columns import metadata, text, when

# One row for each set of figures, replaced by whoever counts them anew. `document` has numbers and their labels.
figures: Final = Table(
    "figures",
    metadata,
    text("name", primary_key=True),
    when("at"),
    Column("document", JSON, nullable=False),
)
