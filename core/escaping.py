"""Text that came from elsewhere, made harmless for whoever reads it."""

import re
from typing import Final

# Control characters of C0 and C1, line and paragraph separators, surrogates, and what turns the direction of text round
# or is not seen at all: with these a value could start a new line or look like something else.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def escaped(text: str) -> str:
    r"""The text with `\n`, `\x1b`, `\u202e`… in the place of characters that could deceive a reader."""
    if text.isascii() and text.isprintable():
        return text  # nearly always
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
