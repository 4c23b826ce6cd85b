"""The report for people at a terminal: 80 columns, the worst first, what belongs together in one place."""

import textwrap
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ike.audit.forms.grouping import Group, extent, grouped, number, totals, unread, unread_sum
from ike.audit.forms.names import shown
from ike.audit.values import Audit, Rule, Severity

WIDTH: Final = 80
_SHOWN: Final = 10  # of what is unread or gone
_LABEL: Final = 5


class Line(NamedTuple):
    """A line without its end, and what it is: a severity, `place`, `quiet`, `good` or nothing. Colours are the
    screen's.
    """

    text: str = ""
    style: str = ""


def write(audit: Audit, *, everything: bool = False) -> str:
    """The report as plain text. Without `everything`, of many places of one rule the first few."""
    return "".join(f"{line.text}\n" for line in lines(audit, everything=everything))


def lines(audit: Audit, *, everything: bool = False) -> Iterator[Line]:
    """The report line by line; nothing in it acts in a terminal."""
    groups = grouped(audit.findings)
    # At length these would bury what matters.
    slight = [each for each in groups if each.severity is Severity.INFO and not everything]
    for group in groups:
        if group not in slight:
            yield from _group(group, everything=everything)
            yield Line()
    if slight:
        yield Line("Worth knowing (--all tells more):")
        yield from _list(map(_in_short, slight), everything=True)
        yield Line()
    if audit.gone:
        yield Line("Gone since the report before:")
        yield from _list(
            (f"{each.place}  {each.title}" for each in audit.gone), everything=everything
        )
        yield Line()
    if audit.problems:
        yield Line("Not read:")
        told = unread(audit.problems)
        yield from _list((f"{place}: {message}" for place, message in told), everything=everything)
        yield Line()
    for remark in audit.remarks:
        yield from _wrapped(remark, "Note: ", "      ")
    if audit.remarks:
        yield Line()
    yield from _summary(audit)


def rules(all_rules: Iterable[Rule]) -> Iterator[Line]:
    """The rules themselves, with what they look for."""
    for rule in all_rules:
        yield Line(f"{rule.severity.upper()}  {shown(rule.id)}", rule.severity)
        yield from _wrapped(rule.title, "  ", "  ")


def _group(group: Group, *, everything: bool) -> Iterator[Line]:
    rule, fix = group.rule, group.fix
    head = f"{group.severity.upper()}  "
    for line in _wrapped(f"{rule.title} ({rule.id})", head, " " * len(head)):
        yield Line(line.text, group.severity)
    first, rest = group.first(everything=everything), group.rest(everything=everything)
    own = not fix and not rest  # of many places, what mends them in general is enough
    for finding, following in zip(first, [*first[1:], None], strict=True):
        yield Line(f"  {shown(str(finding.place))}", "place")
        # Once below several places that it is true of.
        if own or following is None or following.evidence != finding.evidence:
            yield from _wrapped(finding.evidence, "    ", "    ")
        if own:
            yield from _labelled("Fix", finding.fix or rule.fix, 4)
    if rest:
        yield from _wrapped(f"and {rest} (--all shows them)", "  ", "  ", "quiet")
    yield from _labelled("Why", rule.why)
    if not own:
        yield from _labelled("Fix", fix or rule.fix)
    if group.sources:
        yield from _labelled("See", "; ".join(group.sources))


def _in_short(group: Group) -> str:
    first, *others = dict.fromkeys(str(finding.place) for finding in group.findings)
    more = f" and {number(len(others), 'other place')}" if others else ""
    return f"{group.rule.title} ({group.rule.id}): {first}{more}"


def _summary(audit: Audit) -> Iterator[Line]:
    host = audit.host
    if audit.findings:
        worst = min((finding.weight for finding in audit.findings), key=lambda each: each.rank)
        new = "new " if audit.earlier else ""
        found = number(len(audit.findings), f"{new}finding")
        yield from _wrapped(f"{found} on {host}: {totals(audit)}.", style=worst)
    elif not audit.items:
        yield from _wrapped(
            f"No keys and no configuration of an IKE daemon were found on {host}: nothing where"
            " strongSwan, Libreswan, racoon, NetworkManager, VyOS, OPNsense and pfSense have them."
            " Name other files or folders as PATHs, or a mounted image or a copied tree with --root."
        )
    else:
        what = "Nothing new" if audit.earlier else "Nothing wrong"
        sure = " in what could be read" if audit.problems else ""
        yield from _wrapped(f"{what} was found on {host}{sure}.", style="" if sure else "good")
    aside = [
        (len(audit.suppressed), "accepted"),
        (len(audit.known), f"known since {audit.earlier:%Y-%m-%d}" if audit.earlier else "known"),
    ]
    told = ", ".join(f"{count:,} {what}" for count, what in aside if count)
    if told:
        yield from _wrapped(f"Not counted: {told}.")
    yield from _wrapped(unread_sum(audit), style="medium")
    if audit.files or audit.items:
        yield from _wrapped(f"{extent(audit)}.", style="quiet")


def _list(texts: Iterable[str], *, everything: bool) -> Iterator[Line]:
    told = list(texts)
    shown = told if everything or len(told) <= _SHOWN + 1 else told[:_SHOWN]
    for text in shown:
        yield from _wrapped(text, "  ", "    ")
    if len(told) > len(shown):
        yield Line(f"  and {len(told) - len(shown):,} more (--all shows them)", "quiet")


def _labelled(label: str, text: str, indent: int = 2) -> Iterator[Line]:
    first = " " * indent + label.ljust(_LABEL)
    return _wrapped(text, first, " " * len(first))


def _wrapped(text: str, first: str = "", then: str = "", style: str = "") -> Iterator[Line]:
    """Text in lines; what is longer without a blank stays whole, so that it can be copied."""
    for line in textwrap.wrap(
        shown(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    ):
        yield Line(line, style)
