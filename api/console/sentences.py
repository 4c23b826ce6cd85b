"""What operations say of rotations in English, in another language: sentences, with places for names."""

import re
from functools import lru_cache
from typing import Final

from api.console.language import Language
from api.console.page import text

# Of those that fit, the first counts: the ones with more places stand first.
_PATTERNS: Final = (
    text("{0} and {1} get the key."),
    text("{0} get the key."),
    text("{0} and {1} get the new key in the place of the old one, at once."),
    text("{0} gets the new key in the place of the old one, at once."),
    text("{0} gets the new key beside the old one."),
    text("{0} proves itself by the new key."),
    text("{0} takes the new key in the place of the old one: its daemon knows one."),
    text(
        "{0}: proof by the new key; whether the old one is still taken is unknown until the agents report."
    ),
    text("{0} and {1}: proof by the new key, the old one is still taken."),
    text("{0}: proof by the new key, the old one is still taken."),
    text("Rotation {0}, which is under way, becomes this one, and its key the new one."),
    text(
        "The tunnel's own next authentication is waited for for up to {0} hours; one that is down is started."
    ),
    text("{0} has never reported on this secret."),
    text("The daemon of {0} cannot do PPKs."),
    text("Waits for {0} and {1} to take its keys until {2}."),
    text("Waits for {0} and {1} to take its keys."),
    text("Waits for {0} to take its keys until {1}."),
    text("Waits for {0} to take its keys."),
    text("Waits for its turn to be promoted: for {0} at its gateways."),
    text("Waits for you: hand the key over with {0}, then say {1}."),
    text("Waits for the outside peer to authenticate by the key until {0}: hand it over with {1}."),
    text("Waits for the outside peer to authenticate by the key: hand it over with {0}."),
    text(
        "Waits for a fresh authentication under the new key, seen by every gateway of ours until {0}."
    ),
    text("Did not confirm its keys in time: {0}."),
    text("Cancelled by {0}."),
)
# Without a place: they are found by themselves, and stand here to be translated.
PLAIN: Final = (
    text("A new key of 32 random octets is made and kept in the store of secrets."),
    text("The key is handed over once to whoever runs the peer, by a link or a file."),
    text(
        "The key is handed over once to whoever runs the peer, by a link or a file; there is no tunnel before."
    ),
    text("The tunnel's SAs are made anew."),
    text("The tunnel is authenticated afresh, without a gap."),
    text("The tunnel is authenticated afresh, with a gap."),
    text(
        "The tunnel is authenticated afresh: by whom, and whether without a gap, is unknown until the agents report."
    ),
    text("The tunnel's own next authentication is waited for; one that is down is started."),
    text("The old key is withdrawn."),
    text("The old key is destroyed in the store of secrets."),
    text("the gateway's word that it has it"),
    text("the gateway's word that it does"),
    text("your confirmation that the peer has it"),
    text("a fresh authentication under the new key, seen by every gateway of ours"),
    text("the word of every gateway of ours"),
    text("For some seconds new authentications fail; the tunnel's SAs go on."),
    text("Until both ends have the same key new authentications may fail; the tunnel's SAs go on."),
    text("The tunnel's SAs are made anew; until both ends have the new key none can be."),
    text("Unknown until the agents report."),
    text("The tunnel is interrupted once, for the proof."),
    text("Waits for the store of secrets."),
    text("Waits for a fresh authentication under the new key, seen by every gateway of ours."),
    text("Waits until it is unfrozen."),
    text("Waits for a maintenance window, or for its turn."),
    text(
        "Waits for its turn: for another rotation at one of its gateways, or for the limits in [rotation]."
    ),
    text("No fresh authentication under the new key was seen at both ends in time."),
    text(
        "Look at the tunnel's log at both ends; a policy with `gap` lets the service interrupt it for the proof."
    ),
    text("Look whether the outside peer has the key, and starts the tunnel or answers."),
    text("Look whether the agent runs there and reaches the service."),
    text("Mend what the gateway says, then rotate again."),
)
# What is longer is no sentence of ours, but what a gateway said.
_LONGEST: Final = 400


def translated(language: Language, sentence: str | None) -> str:
    """The sentence in this language; as it is where it is not known."""
    if not sentence or language.code == "en" or len(sentence) > _LONGEST:
        return sentence or ""
    if sentence in language.texts:
        return language.say(sentence)
    for pattern, known in _compiled():
        found = pattern.fullmatch(sentence)
        if found is not None:
            return language.say(known).format(*found.groups())
    return sentence


@lru_cache(maxsize=1)
def _compiled() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple(
        (re.compile("(.+?)".join(map(re.escape, re.split(r"{\d}", known)))), known)
        for known in _PATTERNS
    )
