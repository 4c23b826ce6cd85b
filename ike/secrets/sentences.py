"""Words that were written one after the other without blanks: in how few bits they can be told. Pure."""

import math
from itertools import pairwise
from typing import Final

from ike.secrets import words

_UNKNOWN_BITS: Final = 3.0  # that a word is none of the list
_KNOWN_BITS: Final = -math.log2(1 - 2**-_UNKNOWN_BITS)
_LONGEST: Final = 12  # letters of a word that is none of the list


def bits(letters: str) -> float:
    """The least bits to tell small letters as words of the list, by how often they come, and as others, by how letters
    follow each other.
    """
    ranks, follows = words.ranks(), words.followers()
    longest, begun = max(words.LONGEST, _LONGEST), _UNKNOWN_BITS + math.log2(_LONGEST)
    best = [0.0] + [math.inf] * len(letters)
    for start in range(len(letters)):
        unknown, before = best[start] + begun, " "
        for end in range(start + 1, min(start + _LONGEST, len(letters)) + 1):
            unknown += follows[before + letters[end - 1]]
            before = letters[end - 1]
            best[end] = min(best[end], unknown)
        for end in range(start + 1, min(start + longest, len(letters)) + 1):
            rank = ranks.get(letters[start:end])
            if rank is not None:
                best[end] = min(best[end], best[start] + _KNOWN_BITS + rank)
    return best[-1]


def letters_bits(word: str) -> float:
    """The bits of a word by how its letters follow each other."""
    follows = words.followers()
    return sum(follows.get(first + second, 9.0) for first, second in pairwise(" " + word))
