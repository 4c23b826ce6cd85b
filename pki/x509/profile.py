"""Certificate profiles: what a certificate of a kind contains, as data.

A profile is a document (a TOML file beside this package, or JSON over the API) of the fields of
`Profile` under the same names; `distribution` and `lint` are tables. `parse_profile` is strict:
what it does not know, it refuses.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, cast, get_args

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from core.errors import InvalidInput
from pki.x509.keys import is_algorithm_name
from pki.x509.names import NAME_KINDS, NameKind

CrlScope = Literal["full", "shard", "none"]
HashChoice = Literal["auto", "sha256", "sha384", "sha512"]
Dialect = Literal["rfc4945", "strongswan", "libreswan", "windows", "apple", "cisco"]
LintLevel = Literal["block", "warn", "off"]
Authenticates = Literal["gateway", "none"]
DIALECTS: Final[tuple[Dialect, ...]] = get_args(Dialect)

KEY_USAGES: Final = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
}
_SIGNING_USAGES: Final = frozenset({"digitalSignature", "nonRepudiation"})
_EC_USAGES: Final = _SIGNING_USAGES | {"keyAgreement"}
_RSA_USAGES: Final = _SIGNING_USAGES | {"keyEncipherment", "dataEncipherment"}
EXTENDED_KEY_USAGES: Final = {
    "server_auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "email_protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ipsec_ike": ExtendedKeyUsageOID.IPSEC_IKE,
    "ike_intermediate": ObjectIdentifier("1.3.6.1.5.5.8.2.2"),
    "ocsp_signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}
SUBJECT_ATTRIBUTES: Final = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
    "serialNumber": NameOID.SERIAL_NUMBER,
}
_MAX_LIFETIME = timedelta(days=3653)
_MAX_BACKDATE = timedelta(days=2)
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?\Z")
_DURATION = re.compile(r"([1-9][0-9]{0,5}|0)([smhdw])\Z")
_UNITS: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
# RFC 5280 §4.2.1.4 wants OIDs; first arc 0 to 2, second below 40 under 0 and 1, each arc at most
# 128 bits as in X.667.
_OID = re.compile(
    r"(?:[01]\.(?:[0-9]|[1-3][0-9])|2\.(?:0|[1-9][0-9]{0,38}))(?:\.(?:0|[1-9][0-9]{0,38}))+\Z"
)


class InvalidProfile(InvalidInput):
    """A profile that says something unknown or contradicts itself; `details["key"]` is where."""

    code = "invalid_profile"

    def __init__(self, key: str, problem: str, *, next_step: str = "") -> None:
        super().__init__(
            f"{key}: {problem}",
            next_step=next_step or f"Correct {key} in the profile and send it again.",
            details={"key": key},
        )


@dataclass(frozen=True, slots=True)
class Distribution:
    """Where relying parties are told to look for revocation and for the issuer."""

    crl: CrlScope = "full"
    ocsp: bool = True
    ca_issuers: bool = True


@dataclass(frozen=True, slots=True)
class Profile:
    """What a certificate of this kind contains and what a request for it may ask.

    `key_usage` holds RFC 5280 names, `extended_key_usage` the names of EXTENDED_KEY_USAGES or
    dotted OIDs; an empty `extended_key_usage` means that the extension is left out. `names` are the
    subjectAltName kinds a request may carry, `names_required` those of which at least one must be
    there (empty: none needed). `subject` are the attributes taken from the request's subject; all
    others are dropped. `cn_from_san` sets the common name to the first dNSName of at most 64
    characters; `san_from_cn` takes a common name that is a host name as a dNSName too; `ip_as_dns`
    repeats every IPv4 address as a dNSName. `hash` "auto" follows the authority's key. `lint` says,
    dialect by dialect, whether a verdict "fail" stops the issuance. `authenticates_as` "gateway"
    lets the holder call the API as that gateway. An `internal` profile is for the service's own
    certificates and cannot be asked for.
    """

    name: str
    description: str
    lifetime: timedelta
    max_lifetime: timedelta
    key_usage: tuple[str, ...]
    key_algorithms: tuple[str, ...]
    backdate: timedelta = timedelta(minutes=10)
    hash: HashChoice = "auto"
    key_usage_critical: bool = True
    extended_key_usage: tuple[str, ...] = ()
    names: tuple[NameKind, ...] = ()
    names_required: tuple[NameKind, ...] = ()
    subject: tuple[str, ...] = ()
    cn_from_san: bool = False
    san_from_cn: bool = False
    ip_as_dns: bool = False
    distribution: Distribution = Distribution()
    ocsp_no_check: bool = False
    policies: tuple[str, ...] = ()
    authenticates_as: Authenticates = "none"
    internal: bool = False
    lint: Mapping[Dialect, LintLevel] = field(default_factory=dict, hash=False)

    def key_usage_extension(self, key_algorithm: str | None = None) -> x509.KeyUsage:
        """The keyUsage extension's value; shared, made once per profile and kind of key.

        Bits that keys of `key_algorithm` cannot serve are left out (RFC 8813 §3, RFC 9295 §3);
        without `key_algorithm`, those that some key the profile allows cannot serve.
        """
        kinds = self.key_algorithms if key_algorithm is None else (key_algorithm,)
        return _key_usage(self.key_usage, kinds)

    def extended_key_usage_extension(self) -> x509.ExtendedKeyUsage | None:
        """The extendedKeyUsage extension's value, or None where the profile leaves it out."""
        return _extended_key_usage(self.extended_key_usage) if self.extended_key_usage else None

    def policies_extension(self) -> x509.CertificatePolicies | None:
        """The certificatePolicies extension's value, or None where the profile names no policy."""
        return _policies(self.policies) if self.policies else None


@lru_cache(maxsize=256)
def _key_usage(usages: tuple[str, ...], kinds: tuple[str, ...]) -> x509.KeyUsage:
    served = frozenset.intersection(*(_served_usages(kind) for kind in kinds))
    bits = {name: usage in usages and usage in served for usage, name in KEY_USAGES.items()}
    return x509.KeyUsage(
        **bits, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False
    )


def _served_usages(kind: str) -> frozenset[str]:
    if kind.startswith("rsa-"):
        return _RSA_USAGES
    return _EC_USAGES if kind.startswith("ec-") else _SIGNING_USAGES


@lru_cache(maxsize=256)
def _extended_key_usage(usages: tuple[str, ...]) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage(
        [EXTENDED_KEY_USAGES.get(usage) or ObjectIdentifier(usage) for usage in usages]
    )


@lru_cache(maxsize=256)
def _policies(policies: tuple[str, ...]) -> x509.CertificatePolicies:
    return x509.CertificatePolicies(
        [x509.PolicyInformation(ObjectIdentifier(policy), None) for policy in policies]
    )


def parse_duration(text: str) -> timedelta:
    """The time written as a number and one of s, m, h, d, w, such as "90d"; raises ValueError."""
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a number with one of the units s, m, h, d, w")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads back; whole seconds, not negative."""
    seconds = duration // timedelta(seconds=1)
    if seconds == 0:
        return "0s"
    # A day is the largest unit written: "90d" and "91d" should look alike, not "13w" and "90d".
    unit, size = next((u, s) for u, s in _UNITS.items() if u != "w" and seconds % s == 0)
    return f"{seconds // size}{unit}"


def parse_profile(document: Mapping[str, object], *, builtin: bool = False) -> Profile:
    """The profile that `document` describes.

    `builtin` is for the files of this package: only they may be internal or name the ocsp_signing
    usage, because whoever holds such a certificate answers for the authority. Raises
    InvalidProfile, naming the key.
    """
    values = _read_table(document, _FIELDS, "")
    for key in _REQUIRED:
        if key not in values:
            raise InvalidProfile(key, "is missing")
    profile = Profile(**values)  # type: ignore[arg-type]  # each reader returns its field's type
    for check in (_check_times, _check_names, _check_usages):
        check(profile)
    if not builtin:
        _check_public(profile)
    return profile


def to_document(profile: Profile) -> dict[str, object]:
    """The document `parse_profile` turns into an equal profile: every field, plain JSON types."""
    document: dict[str, object] = {}
    for key in _FIELDS:
        value = getattr(profile, key)
        if isinstance(value, timedelta):
            value = format_duration(value)
        elif isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        elif isinstance(value, Distribution):
            value = {"crl": value.crl, "ocsp": value.ocsp, "ca_issuers": value.ca_issuers}
        document[key] = value
    return document


# Readers: (value as found, key path) -> value as kept, or InvalidProfile.

Reader = Callable[[object, str], object]


def _read_table(value: object, fields: Mapping[str, Reader], path: str) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidProfile(path or "profile", "must be a table")
    values: dict[str, object] = {}
    for key, item in value.items():
        place = f"{path}.{key}" if path else str(key)
        reader = fields.get(key)
        if reader is None:
            raise InvalidProfile(
                place, "is not a known key", next_step=f"Known keys are {', '.join(fields)}."
            )
        values[key] = reader(item, place)
    return values


def _text(value: object, path: str) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 500:
        raise InvalidProfile(path, "must be one line of 1 to 500 characters")
    return value


def _profile_name(value: object, path: str) -> str:
    if not isinstance(value, str) or not _NAME.match(value):
        raise InvalidProfile(path, "must be 1 to 64 lower-case letters, digits and hyphens")
    return value


def _boolean(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidProfile(path, "must be true or false")
    return value


def _duration(value: object, path: str) -> timedelta:
    try:
        return parse_duration(value if isinstance(value, str) else "")
    except ValueError as error:
        raise InvalidProfile(
            path, 'must be a time such as "90d", with one of the units s, m, h, d, w'
        ) from error


def _one_of(*choices: str) -> Reader:
    def read(value: object, path: str) -> str:
        if not isinstance(value, str) or value not in choices:
            raise InvalidProfile(path, f"must be one of {', '.join(choices)}")
        return value

    return read


def _many(known: Callable[[str], str | None], expected: str) -> Reader:
    """A reader of lists; `known` gives an item's only spelling, or None where it means nothing."""

    def read(value: object, path: str) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise InvalidProfile(path, "must be a list")
        items: list[str] = []
        for index, item in enumerate(value):
            spelled = known(item) if isinstance(item, str) else None
            if spelled is None:
                raise InvalidProfile(f"{path}[{index}]", f"must be {expected}")
            if spelled in items:
                raise InvalidProfile(f"{path}[{index}]", "is there twice")
            items.append(spelled)
        return tuple(items)

    return read


def _snake(text: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower()


_KEY_USAGE_SPELLINGS: Final = {_snake(usage): usage for usage in KEY_USAGES}
_OID_NAMES: Final = {oid.dotted_string: name for name, oid in EXTENDED_KEY_USAGES.items()}
_RFC_NAMES: Final = {
    "ipsecIKE": "ipsec_ike",
    "OCSPSigning": "ocsp_signing",
    "anyExtendedKeyUsage": "any",
}


def _known_key_usage(item: str) -> str | None:
    return item if item in KEY_USAGES else _KEY_USAGE_SPELLINGS.get(item)


def _known_extended_key_usage(item: str) -> str | None:
    name = _RFC_NAMES.get(item) or _OID_NAMES.get(item) or _snake(item)
    if name in EXTENDED_KEY_USAGES:
        return name
    return _known_oid(item)


def _known_oid(item: str) -> str | None:
    if len(item) > 200 or not _OID.match(item):
        return None
    try:
        # The last word is the encoder's: its first octets hold 80 plus the second arc in 128 bits.
        ObjectIdentifier(item)
    except ValueError:
        return None
    return item


def _among(choices: Mapping[str, object] | tuple[str, ...]) -> Callable[[str], str | None]:
    return lambda item: item if item in choices else None


def _distribution(value: object, path: str) -> Distribution:
    fields = {"crl": _one_of(*get_args(CrlScope)), "ocsp": _boolean, "ca_issuers": _boolean}
    values = _read_table(value, fields, path)
    return Distribution(**values)  # type: ignore[arg-type]  # as in parse_profile


def _lint(value: object, path: str) -> Mapping[Dialect, LintLevel]:
    level = _one_of(*get_args(LintLevel))
    values = _read_table(value, dict.fromkeys(DIALECTS, level), path)
    return MappingProxyType(cast("dict[Dialect, LintLevel]", values))


_NAME_KINDS_READER: Final = _many(_among(NAME_KINDS), f"one of {', '.join(NAME_KINDS)}")
_FIELDS: Final[dict[str, Reader]] = {
    "name": _profile_name,
    "description": _text,
    "lifetime": _duration,
    "max_lifetime": _duration,
    "backdate": _duration,
    "key_algorithms": _many(
        lambda item: item if is_algorithm_name(item) else None,
        "ec-p256, ec-p384, ec-p521, ed25519, ed448, ml-dsa-44, ml-dsa-65, ml-dsa-87 or rsa-N with N from 2048 to 8192",
    ),
    "hash": _one_of(*get_args(HashChoice)),
    "key_usage": _many(_known_key_usage, f"one of {', '.join(KEY_USAGES)}"),
    "key_usage_critical": _boolean,
    "extended_key_usage": _many(
        _known_extended_key_usage, f"one of {', '.join(EXTENDED_KEY_USAGES)}, or a dotted OID"
    ),
    "names": _NAME_KINDS_READER,
    "names_required": _NAME_KINDS_READER,
    "subject": _many(_among(SUBJECT_ATTRIBUTES), f"one of {', '.join(SUBJECT_ATTRIBUTES)}"),
    "cn_from_san": _boolean,
    "san_from_cn": _boolean,
    "ip_as_dns": _boolean,
    "distribution": _distribution,
    "ocsp_no_check": _boolean,
    "policies": _many(_known_oid, "a dotted OID"),
    "authenticates_as": _one_of(*get_args(Authenticates)),
    "internal": _boolean,
    "lint": _lint,
}
_REQUIRED: Final = (
    "name",
    "description",
    "lifetime",
    "max_lifetime",
    "key_algorithms",
    "key_usage",
)


# Checks of fields against each other.


def _check_times(profile: Profile) -> None:
    if not timedelta(minutes=5) <= profile.lifetime:
        raise InvalidProfile("lifetime", "must be at least 5 minutes")
    if not profile.lifetime <= profile.max_lifetime:
        raise InvalidProfile("max_lifetime", "must not be shorter than lifetime")
    if profile.max_lifetime > _MAX_LIFETIME:
        raise InvalidProfile("max_lifetime", f"must not be longer than {_MAX_LIFETIME.days}d")
    if profile.backdate > min(_MAX_BACKDATE, profile.lifetime):
        raise InvalidProfile("backdate", "must be at most two days and not longer than lifetime")


def _check_names(profile: Profile) -> None:
    for kind in profile.names_required:
        if kind not in profile.names:
            raise InvalidProfile("names_required", f"asks for {kind}, which names does not allow")
    for flag in ("cn_from_san", "san_from_cn", "ip_as_dns"):
        if getattr(profile, flag) and "dns" not in profile.names:
            raise InvalidProfile(flag, "needs dns among names")
    if profile.ip_as_dns and "ip" not in profile.names:
        raise InvalidProfile("ip_as_dns", "needs ip among names")
    # RFC 5280 §4.1.2.6 and §4.2.1.6: something must name the subject.
    if not (profile.names_required or profile.subject or profile.internal):
        raise InvalidProfile(
            "names_required",
            "is empty and subject is empty too, so a certificate could name nobody",
        )


def _check_usages(profile: Profile) -> None:
    if not profile.key_algorithms:
        raise InvalidProfile("key_algorithms", "must name at least one algorithm")
    if _SIGNING_USAGES.isdisjoint(profile.key_usage):
        # RFC 4945 §5.1.3.2. It also keeps one bit set for every kind of key (RFC 5280 §4.2.1.3).
        raise InvalidProfile("key_usage", "must name digitalSignature or nonRepudiation")
    usages = profile.extended_key_usage
    if profile.authenticates_as == "gateway" and usages and not {"client_auth", "any"} & {*usages}:
        raise InvalidProfile(
            "authenticates_as", "needs client_auth, any, or no extended_key_usage at all"
        )
    if profile.ocsp_no_check and "ocsp_signing" not in usages:
        raise InvalidProfile("ocsp_no_check", "belongs to profiles with the ocsp_signing usage")


def _check_public(profile: Profile) -> None:
    if profile.internal:
        raise InvalidProfile("internal", "is only for the profiles of the program itself")
    if "ocsp_signing" in profile.extended_key_usage:
        # RFC 6960 §4.2.2.2: the holder could answer for every certificate of the authority.
        raise InvalidProfile(
            "extended_key_usage", "must not hold ocsp_signing: the service makes its own signers"
        )
