"""What pluto says when it refuses, or is refused: keys, certificates, proposals, strangers; see `pluto_rows`."""

from typing import Final

from ike.events.dialects.rows import row

#: An identity as pluto prints it, with its type before it.
IDENTITY: Final = r"(?:ID_[A-Z0-9_]+ |[A-Z][A-Z0-9_]+ )?'(?P<identity>[^']*)'"

#: The notices of IKE, by the name that pluto prints; searched where no row fits.
NOTICES: Final = {
    b"AUTHENTICATION_FAILED": "auth_failed",
    b"NO_PROPOSAL_CHOSEN": "proposal_mismatch",
    b"INVALID_KE_PAYLOAD": "invalid_ke",
    b"TS_UNACCEPTABLE": "ts_unacceptable",
    b"INVALID_ID_INFORMATION": "ts_unacceptable",
}

NO: Final = [
    row(
        "proposal_mismatch",
        r"no (?:local proposal matches remote proposals \d+:(?:ESP|AH):|acceptable Proposal in IPsec SA)",
        "child",
    ),
    row(
        "proposal_mismatch",
        r"no (?:acceptable (?:Oakley Transform|(?:IPsec |Oakley )?Proposal)|local proposal matches"
        r"|proposal (?:was )?chosen)",
        "any",
    ),
    row(
        "unknown_peer",
        r"no (?:suitable|matching|IKEv[12]|acceptable) (?:\w+ )?connection (?:found )?for peer "
        + IDENTITY,
        "ike",
    ),
    row("ts_unacceptable", r"No IKEv2 connection found with compatible Traffic Selectors", "child"),
    row(
        "unknown_peer",
        r"no (?:suitable |matching )?connection (?:has been authorized|found)",
        "ike",
    ),
    row(
        "auth_failed",
        r"no (?:RSA|ECDSA|acceptable|public)?.*(?:public )?key (?:known|available|found) for "
        + IDENTITY,
        "ike",
        reason="key",
    ),
    row("crl_fetch_failed", r"no crl from issuer", "ike"),
]
AUTHENTICATION: Final = [
    row(
        "auth_failed",
        r"authentication failed: .*(?:from peer|no certificate matched .*? and) " + IDENTITY,
        "ike",
        reason="credential",
    ),
    row(
        "auth_failed",
        r"authentication failed: using .*? for " + IDENTITY,
        "ike",
        reason="credential",
    ),
    row("auth_failed", r"authentication failed: (?:no PSK|PSK AUTH)", "ike", reason="psk"),
    row("auth_failed", r"authentication (?:failed|aborted)\b", "ike", reason="credential"),
]
CERTIFICATES: Final = [
    row(
        "cert_revoked",
        r".*\bcertificate\b.*(?:SEC_ERROR_REVOKED_CERTIFICATE|(?:has been|was|is) revoked)",
        "ike",
        reason="revoked",
    ),
    row(
        "cert_invalid crl_fetch_failed",
        r".*(?:missing or expired CRL in strict mode|rejected; crl-strict=yes)",
        "ike",
        reason="crl",
    ),
    row(
        "cert_invalid",
        r".*\bcertificate\b.*SEC_ERROR_EXPIRED_CERTIFICATE",
        "ike",
        reason="expired",
    ),
    row(
        "cert_invalid",
        r".*\bcertificate .*\binvalid: ",
        "ike",
        reason="untrusted",
    ),
    row(
        "cert_invalid",
        r"(?:NSS: end certificate invalid"
        r"|X509: (?:certificate (?:payload )?rejected|CERT payload (?:bogus|rejected))"
        r"|X\.509 certificate (?:rejected|is invalid)"
        r"|(?:NSS: )?certificate .*(?:failed (?:IPsec )?verification|is invalid|rejected)"
        r"|FIPS: rejecting peer cert"
        r"|issuer cacert not found"
        r"|(?:ERROR: )?Peer's Certificate (?:has expired|issuer))",
        "ike",
    ),
    row(
        "auth_failed",
        r"X509: authentication failed;.*does not (?:match|contain) " + IDENTITY,
        "ike",
        reason="identity",
    ),
    row(
        "auth_failed",
        r"X509: (?:authentication failed|connection failed due to unmatched)",
        "ike",
        reason="identity",
    ),
    row(
        "crl_fetch_failed",
        r"(?:NSS: )?CRL import error|missing or expired CRL|CRL: (?:importing .*failed|fetch failed)"
        r"|(?:CRL: )?(?:fetch failed|could not fetch)|crl update for .* is overdue|.*OCSP.*(?:failed|timed out)",
        "ike",
    ),
]
STRANGERS: Final = [
    row(
        "unknown_peer",
        r"initial (?:Main|Aggressive) Mode message from (?P<peer>\S+) but no .*connection has been",
        "ike",
    ),
    row(
        "unknown_peer",
        r".*(?:dropping \S+ request from (?P<peer>\S+) received on .*)?no suitable connection found",
        "ike",
    ),
    row(
        "unknown_peer",
        r".*no (?:\(?\w+\)? )?connection has been (?:authorized|configured)",
        "ike",
    ),
    row(
        "unknown_peer",
        r"(?:but )?we require (?:IKEv[12] )?peer to have ID '[^']*', but peer declares '(?P<identity>[^']*)'",
        "ike",
        reason="identity",
    ),
    row(
        "unknown_peer",
        r"Peer ID '(?P<identity>[^']*)' mismatched on first found connection and no better",
        "ike",
        reason="identity",
    ),
]
KEYS: Final = [
    row(
        "auth_failed",
        r"(?:malformed payload in packet\. )?probable authentication failure",
        "ike",
        reason="psk",
    ),
    row(
        "auth_failed",
        r"(?:AUTH mismatch|PSK Auth(?:entication)? (?:mismatch|failed)"
        r"|(?:RSA|PSK|ECDSA) authentication of .*failed|I2 Auth Payload failed)",
        "ike",
        reason="credential",
    ),
    row(
        "auth_failed",
        r"(?:RSA |ECDSA )?Signature check \(on (?P<identity>[^)]*)\) failed",
        "ike",
        reason="credential",
    ),
    row(
        "auth_failed",
        r"Can't authenticate: no preshared key found for [`'][^`']*' and [`'](?P<identity>[^`']*)'",
        "ike",
        reason="psk",
    ),
    row(
        "auth_failed",
        r"policy (?:does not allow|mandates) .*(?:authentication|XAUTH)",
        "ike",
        reason="mode",
    ),
    row(
        "auth_failed",
        r"Peer public key SubjectAltName does not match peer ID",
        "ike",
        reason="identity",
    ),
    row("auth_failed", r"Peer attempted \S+ authentication,? but", "ike", reason="mode"),
    row(
        "auth_failed",
        r"XAUTH: .*(?:Authentication Failed|authentication for \S+ failed|password.*(?:wrong|mismatch))",
        "ike",
        reason="xauth",
    ),
    row("auth_failed", r"PAM: authentication of user .*fail", "ike", reason="xauth"),
    row("auth_failed", r"IKE SA authentication request rejected by peer", "ike", reason="peer"),
]
