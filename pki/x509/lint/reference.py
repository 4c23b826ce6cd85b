"""The reference page of all rules, written from the rules themselves.

`python -m pki.x509.lint.reference > docs/reference/lint.md` makes it anew.
"""

import sys
from collections.abc import Iterable, Iterator

from pki.x509.lint.linter import RULES
from pki.x509.lint.rule import Rule
from pki.x509.profile import DIALECTS

_INTRODUCTION = """\
# Lint rules

<!-- Written by `python -m pki.x509.lint.reference`; change the rules, not this page. -->

`ikewarden cert lint FILE` and every issuance judge a certificate by these rules, once for each
dialect: the standard (`rfc4945`) and the IKE implementations, because they disagree.

- **fail**: the peer refuses the certificate, or must by its standard.
- **warn**: it works today, with some peers or at some cost.
- **info**: somebody should know; the verdict stays *pass*.

The verdict of a dialect is the gravest of its findings. A profile says for each dialect whether
*fail* blocks the issuance (`block`), is only shown (`warn`), or is not looked at (`off`). No rule
verifies a signature or reads a clock: *expired* is judged only when a time is given.

Sources that say *seen with* or *tried with* were tried with that program; *not tried* rests on what
is commonly known of the product; the others are the place in a standard, a document or a source file.
"""
_HEADINGS = {
    "any": "Any certificate",
    "end entity": "End entities (gateways, hosts, users)",
    "authority": "Authorities",
}


def reference_page() -> str:
    """The page as Markdown, ending in a line feed."""
    parts = [_INTRODUCTION]
    for subject, heading in _HEADINGS.items():
        parts.append(f"## {heading}\n")
        chosen = [rule for rule in RULES if rule.subject == subject]
        parts.append("\n".join(_table(sorted(chosen, key=lambda rule: rule.id))) + "\n")
    return "\n".join(parts)


def _table(rules: Iterable[Rule]) -> Iterator[str]:
    yield "| Rule | Dialects | What it finds | What to do | Source |"
    yield "|---|---|---|---|---|"
    for rule in rules:
        cells = (f"`{rule.id}`", _dialects(rule), rule.summary, rule.fix, rule.source)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _dialects(rule: Rule) -> str:
    lines = []
    for severity in ("fail", "warn", "info"):
        minding = [d for d in DIALECTS if rule.severities.get(d) == severity]
        if minding:
            lines.append(
                f"**{severity}** {'all' if minding == [*DIALECTS] else ', '.join(minding)}"
            )
    return "<br>".join(lines)


if __name__ == "__main__":
    sys.stdout.write(reference_page())
