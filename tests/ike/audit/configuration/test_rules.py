"""What is found in configurations with one fault each, and nothing in their clean twins."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ike.audit.configuration import RULES, Configuration, look
from ike.audit.values import Finding, Policy, Severity
from ike.secrets.tree import Tree
from ike.secrets.values import Dialect

NOW = datetime(2026, 11, 29, tzinfo=UTC)


@dataclass(frozen=True)
class Start:
    path: str
    kind: str


def seen(folder: Path, kind: str, text: str, dialect: Dialect | None = None) -> Configuration:
    (folder / "file").write_text(text)
    return look(Tree(folder), [Start("/file", kind)], dialect)


def found(configuration: Configuration, **policy: object) -> list[Finding]:
    return list(configuration.judge(Policy(**policy), NOW))  # type: ignore[arg-type]


def ids(findings: list[Finding]) -> set[str]:
    return {each.rule.id for each in findings}


# ---------------------------------------------------------------- swanctl.conf

CLEAN = """connections {
  site {
    version = 2
    remote_addrs = 192.0.2.9
    PROPOSALS
    MORE
    local {
      auth = AUTH
    }
    remote {
      auth = AUTH
      id = gw.example
      REVOCATION
    }
    children {
      net {
        ESP
        local_ts = 10.1.0.0/16
        remote_ts = 10.2.0.0/16
        CHILD
      }
    }
  }
}
"""
GOOD = {
    "PROPOSALS": "proposals = aes256gcm16-prfsha384-ecp384",
    "ESP": "esp_proposals = aes256gcm16-ecp384",
    "AUTH": "pubkey",
    "REVOCATION": "revocation = strict",
    "MORE": "",
    "CHILD": "",
}


def swanctl(**changed: str) -> str:
    text = CLEAN
    for name, value in {**GOOD, **changed}.items():
        text = text.replace(name, value)
    return text


SWANCTL: list[tuple[dict[str, str], str, int]] = [
    ({"PROPOSALS": "proposals = des-sha256-ecp256"}, "ike-proposal-des", 5),
    ({"PROPOSALS": "proposals = blowfish256-sha256-ecp256"}, "ike-proposal-obsolete-cipher", 5),
    ({"PROPOSALS": "proposals = 3des-sha256-ecp256"}, "ike-proposal-3des", 5),
    ({"PROPOSALS": "proposals = aes256-md5-prfsha256-ecp256"}, "ike-proposal-md5", 5),
    ({"PROPOSALS": "proposals = aes256-sha1-prfsha256-ecp256"}, "ike-proposal-sha1", 5),
    ({"PROPOSALS": "proposals = aes256gcm16-prfsha256-modp1024"}, "ike-proposal-weak-group", 5),
    ({"PROPOSALS": "proposals = aes256gcm16-prfsha256-modp1536"}, "ike-proposal-modp1536", 5),
    (
        {"PROPOSALS": "proposals = aes256gcm16-prfsha256-modp2048s256"},
        "ike-proposal-doubtful-group",
        5,
    ),
    (
        {"PROPOSALS": "proposals = aes256-sha256_96-prfsha256-ecp256"},
        "ike-proposal-truncated-hash",
        5,
    ),
    ({"PROPOSALS": ""}, "default-proposals", 2),
    ({"PROPOSALS": "proposals ="}, "default-proposals", 2),
    ({"ESP": "esp_proposals = des-sha256-ecp256"}, "esp-proposal-des", 17),
    ({"ESP": "esp_proposals = cast128-sha256-ecp256"}, "esp-proposal-obsolete-cipher", 17),
    ({"ESP": "esp_proposals = 3des-sha256-ecp256"}, "esp-proposal-3des", 17),
    ({"ESP": "esp_proposals = aes256-md5-ecp256"}, "esp-proposal-md5", 17),
    ({"ESP": "esp_proposals = aes256-sha1-ecp256"}, "esp-proposal-sha1", 17),
    ({"ESP": "esp_proposals = aes256gcm16-modp768"}, "esp-proposal-weak-group", 17),
    ({"ESP": "esp_proposals = aes256gcm16-modp1536"}, "esp-proposal-modp1536", 17),
    ({"ESP": "esp_proposals = aes256gcm16-modp2048s224"}, "esp-proposal-doubtful-group", 17),
    ({"ESP": "esp_proposals = aes256-sha256_96-ecp256"}, "esp-proposal-truncated-hash", 17),
    ({"ESP": "esp_proposals = null-sha256-ecp256"}, "esp-null-encryption", 17),
    ({"ESP": "esp_proposals = aes256gmac-ecp256"}, "esp-null-encryption", 17),
    ({"ESP": "esp_proposals = aes256-ecp256"}, "esp-without-integrity", 17),
    ({"ESP": "ah_proposals = sha256-ecp256"}, "ah-only", 17),
    (
        {"ESP": "esp_proposals = aes256gcm16-ecp384", "CHILD": "ah_proposals = sha256-ecp256"},
        "ah-taken",
        20,
    ),
    ({"ESP": "esp_proposals = aes256gcm16"}, "no-pfs", 17),
    ({"ESP": "esp_proposals = aes256gcm16-ecp384-none"}, "no-pfs", 17),
    ({"MORE": "rekey_time = 30d"}, "ike-lifetime-long", 6),
    ({"MORE": "rekey_time = 0"}, "ike-lifetime-unlimited", 6),
    ({"CHILD": "rekey_time = 30h"}, "child-lifetime-long", 20),
    ({"CHILD": "rekey_time = 0"}, "child-lifetime-unlimited", 20),
    ({"REVOCATION": ""}, "revocation-not-required", 11),
    ({"REVOCATION": "revocation = relaxed"}, "revocation-not-required", 13),
    ({"REVOCATION": "revocation = ifuri"}, "revocation-only-with-uri", 13),
    ({"AUTH": "rsa-2048-sha1"}, "signature-sha1-taken", 11),
    ({"AUTH": "ike:rsa-sha256-sha1"}, "signature-sha1-taken", 11),
    ({"AUTH": "eap-md5", "REVOCATION": ""}, "eap-md5", 11),
]


def test_a_clean_connection_has_no_finding(tmp_path: Path) -> None:
    configuration = seen(tmp_path, "swanctl", swanctl())
    assert not configuration.problems
    assert not found(configuration)
    for baseline in ("nist", "cnsa1", "bsi"):
        assert not found(configuration, baseline=baseline)


@pytest.mark.parametrize(("changed", "rule", "line"), SWANCTL)
def test_a_fault_in_swanctl_conf_is_found(
    tmp_path: Path, changed: dict[str, str], rule: str, line: int
) -> None:
    [finding] = found(seen(tmp_path, "swanctl", swanctl(**changed)))
    assert finding.rule.id == rule
    assert str(finding.place) == f"/file:{line}"
    assert finding.subject.startswith("site")
    assert "site" in finding.fix


EVERYONE = """connections {
  everyone {
    REMOTE
    version = VERSION
    aggressive = AGGRESSIVE
    proposals = aes256-sha256-ecp256
    local { auth = AUTH
    }
    remote { auth = AUTH
      cacerts = users.pem
      revocation = strict
    }
    children {
      all {
        esp_proposals = aes256gcm16-ecp256
        local_ts = 0.0.0.0/0
        remote_ts = TS
      }
    }
  }
}
"""


@pytest.mark.parametrize(
    ("remote", "version", "aggressive", "auth", "selector", "rules"),
    [
        ("", "2", "no", "pubkey", "dynamic", set()),
        ("", "2", "no", "pubkey", "10.0.0.0/8", set()),
        ("", "2", "no", "pubkey", "10.0.0.0/8, 0.0.0.0/0", {"one-policy-for-everyone"}),
        ("", "2", "yes", "psk", "dynamic", {"any-peer-by-psk"}),
        ("remote_addrs = 0.0.0.0/0", "2", "yes", "psk", "dynamic", {"any-peer-by-psk"}),
        ("remote_addrs = 192.0.2.9", "2", "no", "psk", "dynamic", set()),
        ("remote_addrs = 192.0.2.9", "1", "no", "psk", "dynamic", {"ikev1"}),
        ("remote_addrs = 192.0.2.9", "0", "no", "psk", "dynamic", {"ikev1-taken"}),
        (
            "remote_addrs = 192.0.2.9",
            "1",
            "yes",
            "psk",
            "dynamic",
            {"ikev1", "aggressive-mode-psk"},
        ),
        ("remote_addrs = 192.0.2.9", "1", "yes", "pubkey", "dynamic", {"ikev1", "aggressive-mode"}),
    ],
)
def test_who_comes_in_and_how(
    tmp_path: Path,
    remote: str,
    version: str,
    aggressive: str,
    auth: str,
    selector: str,
    rules: set[str],
) -> None:
    text = EVERYONE
    for name, value in {
        "REMOTE": remote,
        "VERSION": version,
        "AGGRESSIVE": aggressive,
        "AUTH": auth,
        "TS": selector,
    }.items():
        text = text.replace(name, value)
    assert ids(found(seen(tmp_path, "swanctl", text))) == rules


@pytest.mark.parametrize(
    ("remote", "narrowed", "weight"),
    [
        ("remote_addrs = 192.0.2.9", "", Severity.LOW),
        ("remote_addrs = 192.0.2.9", "id = %any", Severity.LOW),
        ("", "", Severity.INFO),
        ("", "id = gw.example", None),
        ("", "certs = gw.pem", None),
        ("", "cert_policy = 1.2.3", None),
        ("", "cacert1 {\n file = /ca.pem\n}", None),
    ],
)
def test_any_certificate(
    tmp_path: Path, remote: str, narrowed: str, weight: Severity | None
) -> None:
    text = EVERYONE.replace("cacerts = users.pem", narrowed)
    given = {"REMOTE": remote, "VERSION": "2", "AGGRESSIVE": "no", "AUTH": "pubkey"}
    for name, value in {**given, "TS": "10.0.0.0/8"}.items():
        text = text.replace(name, value)
    findings = found(seen(tmp_path, "swanctl", text))
    assert [each.weight for each in findings] == ([weight] if weight else [])
    assert ids(findings) <= {"any-certificate-taken"}


def test_orders_by_tcp_from_the_host_itself(tmp_path: Path) -> None:
    for address in ("127.0.0.1", "[::1]"):
        text = f"charon {{\n plugins {{\n vici {{\n socket = tcp://{address}:4502\n }}\n }}\n}}\n"
        [finding] = found(seen(tmp_path, "strongswan.conf", text))
        assert finding.weight is Severity.HIGH


def test_a_psk_is_against_a_policy_of_certificates(tmp_path: Path) -> None:
    configuration = seen(tmp_path, "swanctl", swanctl(AUTH="psk"))
    assert not found(configuration)
    [finding] = found(configuration, certificates_only=True)
    assert finding.rule.id == "psk-instead-of-certificate"


def test_what_is_passed_by_is_no_tunnel(tmp_path: Path) -> None:
    text = swanctl(PROPOSALS="", ESP="mode = pass", REVOCATION="")
    text = text.replace("192.0.2.9", "127.0.0.1")  # else charon answers for it
    assert not found(seen(tmp_path, "swanctl", text))


def test_one_file_that_is_begun_with_twice_is_judged_once(tmp_path: Path) -> None:
    (tmp_path / "all.conf").write_text("include part.conf\n")
    (tmp_path / "part.conf").write_text(swanctl(ESP="esp_proposals = aes256gcm16"))
    starts = [
        Start("/all.conf", "swanctl"),
        Start("/part.conf", "swanctl"),
        Start("/no", "swanctl"),
    ]
    configuration = look(Tree(tmp_path), starts)
    assert len(found(configuration)) == 1
    assert [each.place.path for each in configuration.problems] == ["/no"]


def test_baselines_differ(tmp_path: Path) -> None:
    text = swanctl(PROPOSALS="proposals = aes128gcm16-prfsha256-x25519", CHILD="rekey_time = 5h")
    configuration = seen(tmp_path, "swanctl", text)
    assert not found(configuration)
    assert not found(configuration, baseline="nist")
    both = {"ike-proposal-outside-baseline", "child-lifetime-long"}
    assert ids(found(configuration, baseline="bsi")) == both
    [finding] = found(configuration, baseline="cnsa1")
    assert finding.rule.id == "ike-proposal-outside-baseline"
    assert "AES_GCM_16_128, PRF_HMAC_SHA2_256, CURVE_25519" in finding.evidence
    assert "mlkem1024" in found(configuration, baseline="cnsa2")[0].fix


def test_children_are_judged_by_the_baseline_too(tmp_path: Path) -> None:
    configuration = seen(tmp_path, "swanctl", swanctl(ESP="esp_proposals = aes128gcm16-ecp384"))
    [finding] = found(configuration, baseline="cnsa1")
    assert finding.rule.id == "esp-proposal-outside-baseline"
    assert finding.subject == "site/net"


def test_sha1_weighs_more_where_it_is_off_the_list(tmp_path: Path) -> None:
    text = swanctl(PROPOSALS="proposals = aes256-sha1-ecp384")
    configuration = seen(tmp_path, "swanctl", text)
    assert found(configuration)[0].weight is Severity.LOW
    assert found(configuration, baseline="nist")[0].weight is Severity.MEDIUM


def test_post_quantum_exchanges_are_known(tmp_path: Path) -> None:
    text = swanctl(
        PROPOSALS="proposals = aes256gcm16-prfsha384-ecp384-ke1_mlkem1024",
        ESP="esp_proposals = aes256gcm16-ecp384-ke1_mlkem1024",
    )
    configuration = seen(tmp_path, "swanctl", text)
    for baseline in ("rfc", "nist", "cnsa2", "bsi"):
        assert not found(configuration, baseline=baseline)
    [finding] = found(seen(tmp_path, "swanctl", swanctl()), baseline="cnsa2")
    assert finding.rule.id == "no-post-quantum-exchange"


def test_what_charon_refuses_is_told_and_the_rest_is_judged(tmp_path: Path) -> None:
    text = swanctl(PROPOSALS="proposals = aes256-sha257-ecp256, 3des-sha256-ecp256")
    configuration = seen(tmp_path, "swanctl", text)
    assert [str(each.place) for each in configuration.problems] == ["/file:5"]
    assert ids(found(configuration)) == {"ike-proposal-3des"}


def test_the_line_is_that_of_the_setting_in_force(tmp_path: Path) -> None:
    (tmp_path / "base.conf").write_text("base {\n proposals = 3des-sha256-ecp256\n}\n")
    text = "include base.conf\n" + swanctl(PROPOSALS="").replace("site {", "site : base {")
    [finding] = found(seen(tmp_path, "swanctl", text))
    assert str(finding.place) == "/base.conf:2"


# ---------------------------------------------------------------- ipsec.conf

STRONGSWAN = """config setup
    strictcrlpolicy=yes
    SETUP

conn %default
    keyexchange=ikev2
    ike=aes256gcm16-prfsha384-ecp384!
    esp=aes256gcm16-ecp384!

conn site
    left=192.0.2.1
    right=192.0.2.9
    rightid=gw.example
    leftsubnet=10.1.0.0/16
    rightsubnet=10.2.0.0/16
    auto=add
    MORE
"""
LIBRESWAN = """config setup
    crl-strict=yes
    SETUP

conn site
    left=192.0.2.1
    right=192.0.2.9
    rightid=@gw.example
    leftsubnet=10.1.0.0/16
    rightsubnet=10.2.0.0/16
    auto=add
    MORE
"""
IPSEC = [
    (STRONGSWAN, "", "", set()),
    (STRONGSWAN, 'charondebug="ike 2, knl 3"', "", {"log-holds-packets"}),
    (STRONGSWAN, 'charondebug="ike 4"', "", {"log-holds-keys"}),
    (STRONGSWAN, "strictcrlpolicy=no", "", {"revocation-not-required"}),
    (STRONGSWAN, "strictcrlpolicy=ifuri", "", {"revocation-only-with-uri"}),
    (STRONGSWAN, "", "keyexchange=ikev1", {"ikev1"}),
    (STRONGSWAN, "", "keyexchange=ike", {"ikev1-taken"}),
    (STRONGSWAN, "", "ike=aes256-sha256-modp3072", {"proposals-not-strict"}),
    (STRONGSWAN, "", "ike=3des-sha256-modp2048!", {"ike-proposal-3des"}),
    (STRONGSWAN, "", "lifetime=2d", {"child-lifetime-long"}),
    (STRONGSWAN, "", "ikelifetime=25h", {"ike-lifetime-long"}),
    (STRONGSWAN, "", "rekey=no", {"ike-lifetime-unlimited", "child-lifetime-unlimited"}),
    (STRONGSWAN, "", "authby=psk\n    right=%any\n    rightid=%any", {"any-peer-by-psk"}),
    (LIBRESWAN, "", "", set()),
    (LIBRESWAN, 'plutodebug="base private"', "", {"log-holds-keys"}),
    (LIBRESWAN, "plutodebug=all", "", set()),
    (LIBRESWAN, "crl-strict=no", "", {"revocation-not-required"}),
    (LIBRESWAN, "", "pfs=no", {"no-pfs"}),
    (LIBRESWAN, "", "phase2=ah\n    phase2alg=sha2_512", {"ah-only"}),
    (LIBRESWAN, "", "ike=aes256-sha2;dh2", {"ike-proposal-weak-group"}),
    (LIBRESWAN, "", "phase2alg=3des-md5", {"esp-proposal-3des", "esp-proposal-md5"}),
    (LIBRESWAN, "", "salifetime=30d", set()),  # pluto cuts it to a day
    (
        LIBRESWAN,
        "",
        "ikev2=no\n    aggrmode=yes\n    authby=secret\n    ike=aes256-sha2;dh14\n    esp=aes256-sha2",
        {"ikev1", "aggressive-mode-psk"},
    ),
    (LIBRESWAN, "", "authby=null", {"peer-not-authenticated"}),
    (LIBRESWAN, "", "failureshunt=passthrough", {"clear-text-let-through"}),
    (LIBRESWAN, "", "negotiationshunt=passthrough", {"clear-text-let-through"}),
    (LIBRESWAN, "", "failureshunt=drop\n    negotiationshunt=hold", set()),
    (LIBRESWAN, "", "type=passthrough\n    authby=never", set()),
    (LIBRESWAN, "", "type=passthrough\n    authby=rsasig", {"clear-text-let-through"}),
]


@pytest.mark.parametrize(("text", "setup", "more", "rules"), IPSEC)
def test_a_fault_in_ipsec_conf_is_found(
    tmp_path: Path, text: str, setup: str, more: str, rules: set[str]
) -> None:
    dialect = Dialect.STRONGSWAN if text is STRONGSWAN else Dialect.LIBRESWAN
    written = text.replace("SETUP", setup).replace("MORE", more)
    configuration = seen(tmp_path, "ipsec.conf", written, dialect)
    assert not configuration.problems
    assert ids(found(configuration)) == rules


def test_libreswan_lifetimes_beyond_nist(tmp_path: Path) -> None:
    text = LIBRESWAN.replace("SETUP", "").replace("MORE", "keylife=30d")
    configuration = seen(tmp_path, "ipsec.conf", text, Dialect.LIBRESWAN)
    assert "child-lifetime-long" in ids(found(configuration, baseline="nist"))


def test_a_crypto_policy_is_to_be_included_where_there_is_one(tmp_path: Path) -> None:
    policy = tmp_path / "etc/crypto-policies/back-ends/libreswan.config"
    policy.parent.mkdir(parents=True)
    policy.write_text("conn %default\n\tike=aes_gcm256-sha2_512;dh19\n\tesp=aes_gcm256\n")
    text = LIBRESWAN.replace("SETUP", "").replace("MORE", "")
    without = seen(tmp_path, "ipsec.conf", text, Dialect.LIBRESWAN)
    assert ids(found(without)) == {"crypto-policy-not-included"}
    text += "include /etc/crypto-policies/back-ends/libreswan.config\n"
    within = seen(tmp_path, "ipsec.conf", text, Dialect.LIBRESWAN)
    assert not found(within)
    [tunnel] = within.tunnels
    assert str(tunnel.ike.place) == "/etc/crypto-policies/back-ends/libreswan.config:2"


# ---------------------------------------------------------------- the others


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("charon {\n filelog {\n a {\n path = /x\n default = 1\n ike = 2\n }\n }\n}\n", set()),
        ("charon {\n filelog {\n /var/log/x {\n default = 4\n }\n }\n}\n", {"log-holds-keys"}),
        ("charon {\n syslog {\n auth {\n ike = 3\n }\n }\n}\n", {"log-holds-packets"}),
        ("charon-systemd {\n journal {\n default = 4\n }\n}\n", {"log-holds-keys"}),
        (
            "charon {\n i_dont_care_about_security_and_use_aggressive_mode_psk = yes\n}\n",
            {"aggressive-mode-psk-allowed"},
        ),
        (
            "charon {\n accept_unencrypted_mainmode_messages = 1\n send_vendor_id = yes\n}\n",
            {"unencrypted-main-mode-taken", "vendor-id-sent"},
        ),
        ("charon {\n accept_unencrypted_mainmode_messages = no\n}\n", set()),
        (
            "charon {\n plugins {\n vici {\n socket = tcp://0.0.0.0:4502\n }\n }\n}\n",
            {"control-socket-by-tcp"},
        ),
        ("charon {\n plugins {\n vici {\n socket = unix:///run/x\n }\n }\n}\n", set()),
        (
            "charon {\n plugins {\n load-tester {\n enable = yes\n }\n }\n}\n",
            {"load-tester-enabled"},
        ),
        ("charon {\n plugins {\n load-tester {\n enable = no\n }\n }\n}\n", set()),
        (
            "charon {\n plugins {\n eap-radius {\n secret = testing123\n }\n }\n}\n",
            {"radius-secret-weak"},
        ),
        (
            "charon {\n plugins {\n eap-radius {\n servers {\n a {\n secret = gv6URkSs\n }\n }\n }\n }\n}\n",
            {"radius-secret-weak"},
        ),
        (
            "charon {\n plugins {\n eap-radius {\n secret = hB7pQ2xW9zK4mR8vTyLq3Nd6\n }\n }\n}\n",
            set(),
        ),
    ],
)
def test_strongswan_conf(tmp_path: Path, text: str, rules: set[str]) -> None:
    assert ids(found(seen(tmp_path, "strongswan.conf", text))) == rules


RACOON = """
# a remark {
remote 192.0.2.9 {
    exchange_mode aggressive, main;
    lifetime time 48 hour;
    proposal {
        encryption_algorithm 3des;
        hash_algorithm sha256;
        authentication_method pre_shared_key;
        dh_group modp1024;
    }
}
sainfo anonymous {
    pfs_group 14;
    lifetime time 1 hour;
    encryption_algorithm aes 256, des;
    authentication_algorithm hmac_sha256;
    compression_algorithm deflate;
}
"""


def test_racoon(tmp_path: Path) -> None:
    configuration = seen(tmp_path, "racoon", RACOON)
    assert not configuration.problems
    findings = found(configuration)
    assert ids(findings) == {
        "aggressive-mode-psk",
        "ikev1",
        "ike-proposal-3des",
        "ike-proposal-weak-group",
        "ike-lifetime-long",
        "esp-proposal-des",
    }
    lines = {each.rule.id: each.place.line for each in findings}
    assert lines["aggressive-mode-psk"] == 4
    assert lines["ike-lifetime-long"] == 5
    assert lines["esp-proposal-des"] == 16


def keyfile(service: str, *lines: str) -> str:
    head = (
        "[connection]\nid=Office\ntype=vpn\n\n[vpn]\nservice-type=org.freedesktop.NetworkManager."
    )
    return head + service + "\n" + "\n".join(lines) + "\n\n[ipv4]\nmethod=auto\n"


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        (
            keyfile(
                "strongswan",
                "proposal=yes",
                "ike=aes256gcm16-prfsha256-ecp256",
                "esp=aes256gcm16-ecp256",
            ),
            set(),
        ),
        (
            keyfile(
                "strongswan", "proposal=yes", "ike=3des-sha256-ecp256", "esp=aes256gcm16-ecp256"
            ),
            {"ike-proposal-3des"},
        ),
        (
            keyfile(
                "libreswan",
                "right=192.0.2.9",
                "leftid=group",
                "ike=aes256-sha2;dh14",
                "esp=aes256-sha2",
            ),
            {"aggressive-mode-psk", "ikev1"},
        ),
        (keyfile("libreswan", "right=192.0.2.9", "ikev2=insist", "leftcert=me"), set()),
        (
            keyfile(
                "l2tp",
                "ipsec-enabled=yes",
                "ipsec-ike=aes256-sha256-modp1024!",
                "ipsec-esp=aes256-sha256-modp2048!",
            ),
            {"ikev1", "ike-proposal-weak-group"},
        ),
        (keyfile("openvpn"), set()),
        ("[connection]\nid=x\ntype=wifi\n", set()),
    ],
)
def test_networkmanager(tmp_path: Path, text: str, rules: set[str]) -> None:
    assert ids(found(seen(tmp_path, "networkmanager", text))) == rules


# ---------------------------------------------------------------- all of them


def test_every_rule_is_well_formed() -> None:
    names = [each.id for each in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert rule.id == rule.id.lower().replace(" ", "-").replace("_", "-")
        assert not rule.title.endswith(".")
        assert rule.why.endswith((".", ")."))
        assert rule.fix
        assert rule.references


def test_every_rule_is_tested() -> None:
    text = Path(__file__).read_text()
    assert not [each.id for each in RULES if f'"{each.id}"' not in text]
