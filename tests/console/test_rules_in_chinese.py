"""What the rules of audits and alerts say, shown in Chinese; English stays as it is."""

from collections.abc import Callable

import pytest

from ike.audit.configuration import rules as configuration
from ike.audit.values import Rule, Severity
from pki.actors import Role
from tests.api.serving import Serving
from tests.console.browser import Browser
from tests.fleet.auditing import all_of, audited, found
from tests.fleet.crew import Member, enlist

Make = Callable[..., Browser]
STRANGE = "Do `no such thing` where {0} is."  # no rule's own words
MADE = (
    "Set `esp_proposals = aes256gcm16-ecp384` in connections.x and the like on the peer, load it, and let the tunnel be"
    " made anew."
)


def told(rule: Rule, fix: str = "") -> dict[str, str]:
    return {
        "area": str(rule.area),
        "title": rule.title,
        "why": rule.why,
        "fix": fix or rule.fix,
    }


@pytest.fixture(scope="module")
def gateway(serving: Serving) -> Member:
    site = serving.site
    member = enlist(site.desk, "gw1.example", now=site.clock())
    pfs, ah, none = configuration.NO_PFS, configuration.AH_ONLY, configuration.DEFAULTS
    audited(
        member,
        found(pfs.id, Severity.HIGH, **told(pfs)),
        found(ah.id, Severity.HIGH, **told(ah, STRANGE)),
        found(none.id, Severity.LOW, **told(none, MADE)),
        now=site.clock(),
    )
    return member


def number_of(serving: Serving, rule: Rule) -> int:
    (one,) = all_of(serving.site.desk, rule=rule.id)
    return one.id


def test_a_finding_says_what_is_wrong_why_and_what_to_do(
    browser: Make, serving: Serving, gateway: Member
) -> None:
    path = f"/findings/{number_of(serving, configuration.NO_PFS)}"
    chinese = browser(Role.AUDITOR, language="zh").get(path)
    assert "密钥更新时不进行新的密钥交换" in chinese.text
    assert "能读取其存续期间通过隧道的全部流量" in chinese.text
    assert "在两端的每个 ESP 提议中加入 Diffie-Hellman 组" in chinese.text
    assert "<code>pfs=yes</code>" in chinese.html
    assert "(配置)" in chinese.text
    assert '<p lang="en">The key of %any has about 20 bits.</p>' in chinese.html
    english = browser(Role.AUDITOR).get(path)
    assert "Rekeying makes keys without a new key exchange" in english.text
    assert "(configuration)" in english.text


def test_a_fix_that_was_made_with_values_has_them_in_chinese(
    browser: Make, serving: Serving, gateway: Member
) -> None:
    path = f"/findings/{number_of(serving, configuration.DEFAULTS)}"
    chinese = browser(Role.AUDITOR, language="zh").get(path)
    assert "在 connections.x 中设置 <code>esp_proposals = aes256gcm16-ecp384</code>" in chinese.html
    assert MADE.replace("`", "") in browser(Role.AUDITOR).get(path).text
    report = browser(Role.AUDITOR).send("GET", "/reports/audit?format=html&lang=zh")
    assert "在 connections.x 中设置 <code>esp_proposals" in report.html


def test_what_is_not_known_is_marked_as_english(
    browser: Make, serving: Serving, gateway: Member
) -> None:
    path = f"/findings/{number_of(serving, configuration.AH_ONLY)}"
    chinese = browser(Role.AUDITOR, language="zh").get(path)
    assert '<span lang="en">Do <code>no such thing</code> where {0} is.</span>' in chinese.html
    assert '<span lang="en">' not in browser(Role.AUDITOR).get(path).html


@pytest.mark.parametrize("path", ["/findings", "/findings/rules", "/gateways/gw1.example"])
def test_lists_say_it_too(browser: Make, gateway: Member, path: str) -> None:
    page = browser(Role.AUDITOR, language="zh").get(path)
    assert "完全不加密" in page.text
    assert "The tunnel uses AH" not in page.text


def test_areas_are_said(browser: Make, gateway: Member) -> None:
    visitor = browser(Role.AUDITOR, language="zh")
    assert "配置" in visitor.get("/findings/rules").text
    assert "配置 (1)" in visitor.get("/findings/verdicts").text


def test_a_report_says_it_too(browser: Make, gateway: Member) -> None:
    visitor = browser(Role.AUDITOR)
    page = visitor.send("GET", "/reports/audit?format=html&lang=zh")
    assert "密钥更新时不进行新的密钥交换" in page.html
    assert "能读取其存续期间通过隧道的全部流量" in page.html
    assert "Rekeying makes keys" not in page.html
    page = visitor.send("GET", "/reports/audit?format=csv&lang=zh")
    assert "Rekeying makes keys without a new key exchange" in page.html


def test_alerts_are_chosen_by_their_words(browser: Make, gateway: Member) -> None:
    page = browser(Role.AUDITOR, language="zh").get("/alerts")
    assert "密钥更新过于频繁" in page.text
    assert "rekey too fast" in browser(Role.AUDITOR).get("/alerts").text
