"""What the audit says of Windows gateways: nothing of a good one, and of each fault its rule alone."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ike.audit.values import Area, Finding, Policy, Severity
from ike.audit.windows import RULES, look
from tests.ike.audit.windows import machine
from tests.ike.audit.windows.machine import (
    ADMINISTRATORS,
    AUTHENTICATED,
    CERTIFICATE,
    CLIENT,
    DAC,
    DEFAULT,
    EVERYONE,
    FULL,
    KEYS,
    NOW,
    READ,
    SERVER,
    SYSTEM,
    USERS,
    WRITE,
    access,
    auth_set,
    certificate,
    clean,
    crypto_set,
    der,
    main_mode,
    pfx,
    psk,
    quick_mode,
    rule,
    tunnel,
)


def judge(document: machine.Document, policy: Policy | None = None) -> list[Finding]:
    return list(look(machine.octets(document)).judge(policy or Policy(), NOW))


def ids(document: machine.Document, policy: Policy | None = None) -> list[str]:
    return [each.rule.id.removeprefix("windows-") for each in judge(document, policy)]


def key_file(acl: machine.Document | None, name: str = "0123ABCD_machine") -> machine.Document:
    return {"path": KEYS + name, "name": name, "access": acl}


def with_key(acl: machine.Document | None) -> machine.Document:
    return clean(key_files=[key_file(acl)])


def with_main(*proposals: machine.Document) -> machine.Document:
    return clean(main_mode_sets=[crypto_set(DEFAULT % 1, *proposals)])


def with_quick(*proposals: machine.Document, pfs: str = "DH20") -> machine.Document:
    return clean(quick_mode_sets=[crypto_set(DEFAULT % 2, *proposals, pfs=pfs)])


def with_auth(*proposals: machine.Document) -> machine.Document:
    return clean(auth_sets=[auth_set("certificates", *proposals)])


def with_certificate(content: bytes, **changed: Any) -> machine.Document:
    return clean(certificates=[certificate(content, **changed)])


RRAS_DEFAULT = tunnel(custom=False, group="", encryption="")

FAULTS: dict[str, tuple[machine.Document, list[str]]] = {
    "everyone reads a key": (with_key(access((EVERYONE, READ))), ["key-open"]),
    "users read a key": (with_key(access((USERS, READ))), ["key-open"]),
    "users write a key": (with_key(access((AUTHENTICATED, WRITE))), ["key-open"]),
    "users rule over a key": (with_key(access((USERS, DAC))), ["key-open"]),
    "domain users have a key": (with_key(access(("S-1-5-21-1-2-3-513", FULL))), ["key-open"]),
    "users own a key": (with_key(access(owner=USERS)), ["key-open"]),
    "generic rights": (with_key(access((USERS, 0x80000000))), ["key-open"]),
    "another is denied": (with_key(access((SYSTEM, READ, False), (USERS, READ))), ["key-open"]),
    "denied too late": (with_key(access((USERS, READ), (USERS, READ, False))), ["key-open"]),
    "a user owns a key": (with_key(access(owner="S-1-5-21-1-2-3-1001")), ["key-owner"]),
    "an exportable key": (with_certificate(der(), exportable=True), ["key-exportable"]),
    "a PFX file": (clean(pfx_files=[pfx()]), ["pfx-left"]),
    "a PFX file without ACL": (clean(pfx_files=[pfx(access=None)]), ["pfx-left"]),
    "users read a PFX file": (clean(pfx_files=[pfx(access=access((USERS, READ)))]), ["pfx-open"]),
    "DES": (with_main(main_mode("DES")), ["cipher-des"]),
    "DES by number": (with_main(main_mode("2")), ["cipher-des"]),
    "3DES": (with_main(main_mode(), main_mode("DES3")), ["cipher-3des"]),
    "MD5": (with_main(main_mode(hash_="MD5")), ["hash-md5"]),
    "SHA-1": (with_main(main_mode(hash_="SHA1")), ["hash-sha1"]),
    "SHA-1 by number": (with_main(main_mode(hash_="3")), ["hash-sha1"]),
    "DH1": (with_main(main_mode(group="DH1")), ["group-weak"]),
    "DH2": (with_main(main_mode(group="DH2")), ["group-weak"]),
    "DH24": (with_main(main_mode(group="DH24")), ["group-weak"]),
    "all of it": (
        with_main(main_mode("DES3", "MD5", "DH1"), main_mode("DES", "SHA1", "DH2")),
        ["cipher-3des", "hash-md5", "group-weak", "cipher-des", "hash-sha1"],
    ),
    "ESP with 3DES": (with_quick(quick_mode("DES3", "SHA256")), ["cipher-3des"]),
    "ESP with MD5": (with_quick(quick_mode("AES256", "MD5")), ["hash-md5"]),
    "ESP without a cipher": (with_quick(quick_mode("None", "SHA256")), ["cipher-none"]),
    "ESP without integrity": (with_quick(quick_mode("AES256", "None")), ["hash-none"]),
    "AH": (with_quick(quick_mode("None", "None", "AH", "SHA256")), ["cipher-none"]),
    "AH by number": (with_quick(quick_mode("0", "0", "1", "65001")), ["cipher-none"]),
    "AH with MD5 around ESP": (
        with_quick(quick_mode("AES256", "None", "AH/ESP", "MD5")),
        ["hash-md5"],
    ),
    "no PFS": (with_quick(quick_mode(), pfs="None"), ["pfs-none"]),
    "no PFS by number": (with_quick(quick_mode(), pfs="0"), ["pfs-none"]),
    "PFS with DH2": (with_quick(quick_mode(), pfs="DH2"), ["group-weak"]),
    "built-in main mode": (clean(main_mode_sets=[]), ["defaults"]),
    "built-in VPN server": (clean(vpn=[RRAS_DEFAULT]), ["defaults"]),
    "built-in interface": (clean(vpn=[tunnel(name="edge1", custom=False)]), ["defaults"]),
    "VPN server with DES": (clean(vpn=[tunnel(encryption="DES")]), ["cipher-des"]),
    "VPN server with Group2": (clean(vpn=[tunnel(group="Group2")]), ["group-weak"]),
    "VPN server with SHA196": (
        clean(vpn=[tunnel(esp_encryption="AES256", esp_integrity="SHA196")]),
        ["hash-sha1"],
    ),
    "VPN server with PFS1": (clean(vpn=[tunnel(pfs="PFS1")]), ["group-weak"]),
    "VPN server with PSK": (clean(vpn=[tunnel(method="Certificates, PreSharedKey")]), ["psk"]),
    "interface with PSK": (clean(vpn=[tunnel(name="edge1", method="PSKOnly")]), ["psk"]),
    "PSK": (with_auth(CERTIFICATE, psk()), ["psk"]),
    "PSK by number": (with_auth({"method": "2", "psk": None}), ["psk"]),
    "short PSK": (with_auth(psk(length=12)), ["psk", "psk-short"]),
    "empty PSK": (with_auth(psk(length=0)), ["psk", "psk-short"]),
    "anonymous": (with_auth(CERTIFICATE, {"method": "Anonymous", "psk": None}), ["auth-none"]),
    "anonymous by number": (with_auth({"method": "65001", "psk": None}), ["auth-none"]),
    "IKEv1": (clean(rules=[rule(key_module="IKEv1")]), ["ikev1"]),
    "in the clear": (clean(rules=[rule(outbound="Request")]), ["clear-text"]),
    "nothing inbound": (clean(rules=[rule(inbound="None")]), ["clear-text"]),
    "expired": (with_certificate(der(days=-3)), ["certificate-expired"]),
    "expiring": (with_certificate(der(days=20)), ["certificate-expiring"]),
    "SHA-1 signature": (with_certificate(der(sha1=True)), ["certificate-sha1"]),
    "RSA 1024": (with_certificate(der(kind="rsa1024")), ["certificate-weak-key"]),
    "not for servers": (
        with_certificate(der(usages=(CLIENT, machine.IKE_INTERMEDIATE))),
        ["certificate-usage"],
    ),
    "two for servers, none for IKE": (
        clean(
            certificates=[
                certificate(der(usages=(SERVER,), name=name))
                for name in ("www.example.com", "gw1.example.com")
            ]
        ),
        ["certificate-usage"],
    ),
}


def test_a_good_machine_has_no_finding() -> None:
    assert ids(clean()) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_alone(fault: str) -> None:
    document, expected = FAULTS[fault]
    assert ids(document) == expected


def test_the_key_of_an_authority_is_judged_and_its_file_is_not_nobodys() -> None:
    weak = certificate(
        der(kind="rsa1024", usages=(), authority=True), exportable=True, key_name="abc_1"
    )
    document = clean(
        certificates=[certificate(), weak],
        key_files=[key_file(access((USERS, READ)), "abc_1")],
    )
    assert sorted(ids(document)) == ["certificate-weak-key", "key-exportable", "key-open"]
    (opened,) = [each for each in judge(document) if each.rule.id == "windows-key-open"]
    assert opened.weight is Severity.CRITICAL
    assert "no certificate" not in opened.evidence


def test_the_key_of_a_certificate_for_other_things_is_called_so() -> None:
    other = certificate(der(usages=("1.3.6.1.5.5.7.3.4",)), key_name="abc_1")
    document = clean(
        certificates=[certificate(), other],
        key_files=[key_file(access((USERS, READ)), "abc_1")],
    )
    (opened,) = judge(document)
    assert opened.weight is Severity.MEDIUM
    assert opened.evidence.endswith("which is not for IPsec")


def test_every_rule_was_broken_once() -> None:
    broken = {each for _, expected in FAULTS.values() for each in expected} | {"psk-reused"}
    assert {f"windows-{each}" for each in broken} == {rule.id for rule in RULES}
    assert len({rule.id for rule in RULES}) == len(RULES)
    for each in RULES:
        assert each.area is Area.WINDOWS
        assert each.references
        assert not each.title.endswith(".")


GOOD = {
    "denied first": with_key(access((USERS, FULL, False), (USERS, FULL))),
    "everyone denied first": with_key(access((EVERYONE, FULL, False), (USERS, FULL))),
    "attributes may be read": with_key(access((USERS, 0x80 | 0x20000 | 0x100000))),
    "a service reads": with_key(access(("S-1-5-20", READ), ("S-1-5-80-123-456", READ))),
    "administrators own": with_key(access(owner=ADMINISTRATORS)),
    "domain administrators own": with_key(access(owner="S-1-5-21-1-2-3-512")),
    "no ACL": with_key(None),
    "another machine's user": with_key(access(("S-1-5-21-1-2-3-1513", READ))),
    "exportable, not for IKE": clean(
        certificates=[certificate(), certificate(der(usages=("1.3.6.1.5.5.7.3.4",), days=-5))]
    ),
    "unknown whether exportable": with_certificate(der(), exportable=None),
    "no key": with_certificate(der(days=-3), private_key=False),
    "renewed": clean(certificates=[certificate(der(days=20)), certificate()]),
    "a rule that is off": clean(rules=[rule(enabled=False, key_module="IKEv1")], main_mode_sets=[]),
    "a main mode rule": clean(
        main_mode_sets=[crypto_set("own", main_mode())],
        main_mode_rules=[
            {
                "name": "m",
                "display_name": "m",
                "enabled": True,
                "main_mode_set": "MSFT|FW|MMCryptoSet|own",
                "phase1_auth_set": "",
            }
        ],
    ),
    "transport that asks": clean(rules=[rule(mode="Transport", inbound="Request")]),
    "no VPN server": clean(vpn=[]),
    "GCM by number": with_quick(quick_mode("65006", "0", "2", "0"), pfs="20"),
    "AES-GCM without a hash": with_quick(quick_mode("AESGCM256", "None")),
    "AES with SHA-256": with_quick(quick_mode("AES256", "SHA256")),
    "one for servers, none for IKE": clean(certificates=[certificate(der(usages=(SERVER,)))]),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_no_fault(name: str) -> None:
    assert ids(GOOD[name]) == []


def test_how_bad_it_is_depends_on_what_it_is_for() -> None:
    [found] = judge(clean(key_files=[key_file(access((USERS, READ)), "of-a-web-server")]))
    assert found.weight is Severity.MEDIUM
    assert "no certificate here names it" in found.evidence
    [found] = judge(with_key(access((USERS, READ))))
    assert found.weight is Severity.CRITICAL
    assert found.evidence == "Users can read it; the key of CN=gw1.example.com"
    [found] = judge(with_certificate(der(usages=(SERVER,)), exportable=True))
    assert found.weight is Severity.LOW
    documents = clean(certificates=[certificate(der(days=-3)), certificate()])
    [found] = judge(documents)
    assert (found.weight, found.rule.id) == (Severity.INFO, "windows-certificate-expired")


def test_sets_that_nobody_uses_weigh_less() -> None:
    document = clean()
    document["main_mode_sets"].append(crypto_set("old", main_mode("DES")))
    document["auth_sets"].append(auth_set("old", psk()))
    found = judge(document)
    assert [each.rule.id for each in found] == ["windows-cipher-des", "windows-psk"]
    assert {each.weight for each in found} == {Severity.LOW}
    assert all("no rule that is on uses it" in each.evidence for each in found)


def test_a_key_of_several_sets() -> None:
    sets = [auth_set(name, psk()) for name in ("certificates", "b", "c")]
    found = [each for each in judge(clean(auth_sets=sets)) if each.rule.id == "windows-psk-reused"]
    assert [each.evidence for each in found] == [
        "set certificates: the key of set b, set c too",
        "set b: the key of set certificates, set c too",
        "set c: the key of set certificates, set b too",
    ]
    assert len({each.id for each in found}) == 3
    differing = [auth_set("certificates", psk()), auth_set("b", psk(fingerprint="ba9876543210"))]
    assert "psk-reused" not in ids(clean(auth_sets=differing))
    twice = [auth_set("certificates", psk(), psk())]
    assert "psk-reused" not in ids(clean(auth_sets=twice))


def test_the_policy_counts() -> None:
    document = with_auth(psk(length=20))
    assert ids(document, Policy(psk_bits=256)) == ["psk", "psk-short"]
    [found] = judge(document, Policy(certificates_only=True))
    assert found.weight is Severity.HIGH
    assert ids(with_certificate(der(days=40)), Policy(expiring_days=60)) == ["certificate-expiring"]


def test_the_same_machine_later() -> None:
    later = list(look(machine.octets(clean())).judge(Policy(), NOW + timedelta(days=290)))
    assert [each.rule.id for each in later] == ["windows-certificate-expiring"]
    assert replace(later[0], evidence="").id == later[0].id
