"""The logs of Cisco devices: ASA and FTD, IOS and IOS XE, as syslog and as debug output."""

import re
from collections.abc import Sequence
from typing import Final

from ike.events.dialects import cisco_asa_phrases as asa
from ike.events.dialects import cisco_ios_phrases as ios
from ike.events.dialects.log_cisco_fields import Said, asa_fields, ios_fields
from ike.events.dialects.wording import LONGEST, Phrase, fitting, readable
from ike.events.event import SaEvent

# Each way begins with a letter of its own: that lets the search skip to the few places where one can be.
CUE: Final = re.compile(
    rb"%(?:(?:ASA|FTD|PIX)-(?:[a-z]{1,16}-)?\d-"
    rb"(?:113019|60230[34]|70230[57]|71[35]\d{3}|717\d{3}|75[012]\d{3})\b"
    rb"|(?:CRYPTO|IKEV2|PKI|FLEXVPN)-(?:[A-Z\d]{1,16}-)?\d-[A-Z\d_]{2,64})"
    rb"|\[IKEv1|ISAKMP(?:-[A-Z]{2,8})? ?:|ISAKMP(?:-[A-Z]{2,8})? ?:? ?\(\d|IPSEC\([a-z_]+\):"
    rb"|IKEv2(?:-[A-Z]{2,10}(?:-\d)?)?:|NOTIFY\((?:[A-Z]+_[A-Z_]+|COOKIE)\)"
)

_ASA_HEAD: Final = re.compile(
    r"%(?:ASA|FTD|PIX)-(?:[a-z]{1,16}-)?\d-(?P<number>\d{6}):? ?(?P<text>.*)|\[IKEv1[^\]]{0,32}\]:? ?(?P<debug>.*)",
    re.DOTALL,
)
_IOS_HEAD: Final = re.compile(
    r"%(?P<facility>CRYPTO|IKEV2|PKI|FLEXVPN)-(?:[A-Z\d]{1,16}-)?\d-(?P<mnemonic>[A-Z\d_]{2,64}):? *(?P<text>.*)"
    r"|\bISAKMP(?:-[A-Z]{2,8})? ?:? ?(?:\((?P<ids>[\d:]{1,24})\) ?:{0,2})? ?(?P<isakmp>.*)"
    r"|\bIPSEC\((?P<ipsec>.*)"
    r"|\bIKEv2(?:-[A-Z]{2,10}(?:-\d)?)?: ?(?:\((?P<session>[^)]{1,64})\) ?:{0,2})? ?:?(?P<ikev2>.*)",
    re.DOTALL,
)
# A message that ended where the next line must tell the rest: nothing after the ids, or a list of an SA.
_HANGING: Final = re.compile(
    r"(?:Username: ?\S*|IP = \S+?,?|Username = [^,]*,?|ERROR:|aborted due to|sa created,|deleting SA,"
    r"|sa_\w+(?:\(k/sec\))?= ?[^,]*,|sa_conn_id= ?\d+|Session Type:.*,)\s*$"
)
_REACHED: Final = {
    "IKE_P1_COMPLETE": "ike_established",
    "IKE_QM_PHASE2_COMPLETE": "child_established",
}
# Words of the reason for which an SA is deleted that state a fact of their own.
_CAUSES: Final = (
    ("retransmission", "giving_up"),
    ("proposal not accepted", "proposal_mismatch"),
    ("peers_alive", "dpd_timeout"),
)
_INIT: Final = ("generating ike_sa_init message", "verify sa init message")
_REMEMBERED: Final = 4096  # SAs
_WRAPPED: Final = 6  # lines at most
_STAMPED: Final = re.compile(rb"^\s*(?:<\d{1,3}>|\*?[A-Z][a-z]{2} +\d|\d{4}-\d\d-\d\d|\d{1,8}: )")


class Parser:
    """Reads the lines of Cisco devices. A message that a line leaves hanging is joined with the next ones."""

    def __init__(self) -> None:
        self._hanging: tuple[int, float | None, str | None, str] | None = None
        self._joined = 0
        self._locals: dict[str, None] = {}  # our own addresses, as far as lines told them
        self._starts: dict[str, str] = {}  # what the first message of an IKEv2 SA was, in a debug
        self._sources: dict[str, str] = {}  # its peer

    def line(
        self, number: int, raw: bytes, time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        """The events of one line, and those of a message before it that ends here; () for none."""
        known = CUE.search(raw) is not None
        if self._hanging is not None:
            if not known and self._joined < _WRAPPED and not _STAMPED.match(raw) and raw.strip():
                return self._continued(*self._hanging, readable(raw))
            before = self.close()
            return (*before, *self.line(number, raw, time, host))
        if not known:
            return ()
        text = readable(raw).rstrip()
        if _HANGING.search(text[-512:]):
            self._hanging, self._joined = (number, time, host, text), 0
            return ()
        return self._read(number, time, host, text)

    def close(self) -> Sequence[SaEvent]:
        """The events of a message that was left hanging."""
        if self._hanging is None:
            return ()
        number, time, host, text = self._hanging
        self._hanging = None
        return self._read(number, time, host, text)

    def _continued(
        self, number: int, time: float | None, host: str | None, text: str, more: str
    ) -> Sequence[SaEvent]:
        text = f"{text} {more.strip()}"[:LONGEST]
        self._hanging, self._joined = (number, time, host, text), self._joined + 1
        return () if _HANGING.search(text[-512:]) else self.close()

    def _read(
        self, number: int, time: float | None, host: str | None, text: str
    ) -> Sequence[SaEvent]:
        head, other = _ASA_HEAD.search(text), _IOS_HEAD.search(text)
        # What comes first is the device's own word, and the rest may be a peer's.
        is_ios = head is None or (other is not None and other.start() < head.start())
        said = self._ios(text) if head is None or is_ios else self._asa(head)
        if said is None:
            return ()
        shown = said.shown._replace(line=number, time=time, host=host)
        return tuple(
            fitting(shown._replace(kind=kind, phase=said.phase, reason=said.reason))
            for kind in dict.fromkeys(said.kinds)
        )

    def _asa(self, head: re.Match[str]) -> Said | None:
        number = head["number"]
        said = asa_fields(head["text"] if number else head["debug"], number or "", self._locals)
        if number in asa.NUMBERS:
            kinds, phase = asa.NUMBERS[number]
            return said.meaning(kinds, phase) if said.relevant else None
        if number and number.startswith("717"):
            return said.of(asa.CERTIFICATES.find(said.text))
        if number and number.startswith("75"):
            aborted = re.search(r"aborted due to ERROR:? *", said.text)
            if aborted:
                return said.of(asa.ABORTS.find(said.text[aborted.end() :]))
            return said.of(asa.IKEV2.find(said.text))
        return said.of(_of_ikev1(said.text))

    def _ios(self, text: str) -> Said | None:
        head = _IOS_HEAD.search(text)
        if head is None:  # a list of payloads: some notices are in no sentence
            return ios_fields(text, None, self._locals).of(ios.PAYLOADS.find(text))
        if head["mnemonic"]:
            said = ios_fields(head["text"], None, self._locals)
            known = ios.MESSAGES.get(f"{head['facility']}/{head['mnemonic']}")
            if known is not None:
                return said.meaning(known, None) if _counts(head["mnemonic"], said.text) else None
            return said.of(ios.SENTENCES.find(said.text))
        if head["ipsec"] is not None:
            said = ios_fields(head["ipsec"], None, self._locals)
            return said.of(ios.ISAKMP.find(said.text))
        if head["isakmp"] is not None:
            said = ios_fields(head["isakmp"], head["ids"], self._locals)
            return said.of(_of_isakmp(said.text))
        said = ios_fields(head["ikev2"], head["session"], self._locals)
        return self._of_ikev2(said, head["session"] or "")

    def _of_ikev2(self, said: Said, session: str) -> Said | None:
        """Both ends generate an IKE_SA_INIT message and verify one: what comes first tells who starts."""
        way = re.match(
            r"(?:Sending Packet \[To|Received Packet \[From|[TR]x \[L \S+/R) (\S+?):\d+/", said.text
        )
        if way:
            self._sources[session] = way[1]
        phrase = ios.IKEV2.find(said.text)
        if phrase is None:
            return None
        if phrase.opening in _INIT:
            if self._starts.get(session, phrase.opening) != phrase.opening:
                del self._starts[session]
                return None
            self._starts[session] = phrase.opening
        for memory in (self._starts, self._sources):
            if len(memory) > _REMEMBERED:
                del memory[next(iter(memory))]
        source = said.shown.source or self._sources.get(session)
        return said._replace(shown=said.shown._replace(source=source)).of(phrase)


def _of_ikev1(text: str) -> Phrase | None:
    phrase = asa.IKEV1.find(text)
    if phrase is not None and phrase.opening.startswith("connection terminated"):
        if re.search("Remote Proxy N/A", text):  # no networks: it is the IKE SA
            return phrase._replace(kinds=("ike_deleted",))
    if phrase is None and re.match(r"IKE SA [AM]M:[0-9a-f]+ terminating", text):
        return Phrase("ike sa", ("ike_deleted",))
    return phrase


def _of_isakmp(text: str) -> Phrase | None:
    """State changes, and why an SA is deleted, need a second look."""
    change = re.match(r"Old State = (\w+) {1,4}New State = (\w+)", text)
    if change:
        kind = _REACHED.get(change[2]) if change[1] != change[2] else None
        return Phrase("", (kind,)) if kind else None
    if re.match(r"(?:\([NRI]\) )?received packet from \S+ .*\([A-Z]\) NEW SA", text):
        return Phrase("", ("ike_respond",))
    phrase = ios.ISAKMP.find(text)
    if phrase is not None and phrase.opening == "deleting sa reason":
        why = text[len(phrase.opening) : 200].lower()
        cause = next((kind for words, kind in _CAUSES if words in why), None)
        if cause is not None:
            return phrase._replace(kinds=(cause, *phrase.kinds))
    return phrase


def _counts(mnemonic: str, text: str) -> bool:
    """Whether a message of this mnemonic is an event: some are one in one of two directions only."""
    if mnemonic == "IKE_DENY_SA_REQ":
        return "INCOMING" in text
    if mnemonic == "IKMP_CRYPT_FAILURE":
        return "decrypt" in text
    return True
