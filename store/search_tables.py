"""The tables behind the search of certificates: words by which they are found, and how far these have got."""

from typing import Final

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Table, Text

from store.columns import metadata, text, whole
from store.types import BigKey

# Compared octet by octet: what begins with a prefix then stands together, in whatever language the database sorts.
Word: Final = Text().with_variant(Text(collation="C"), "postgresql")

# Every place in a certificate's names at which a word begins, as the text from there on (pki/words.py). In portions of
# certificates that were recorded together: who wants the newest of very many reads the last portion alone.
certificate_words: Final = Table(
    "certificate_words",
    metadata,
    whole("portion"),
    Column("word", Word, nullable=False),
    Column("certificate_id", BigKey, nullable=False, autoincrement=False),
    PrimaryKeyConstraint("portion", "word", "certificate_id"),
)

# Up to which certificate, by number, the words are there.
search_marks: Final = Table(
    "search_marks",
    metadata,
    text("name", primary_key=True),
    Column("reached", BigInteger, nullable=False),
)
