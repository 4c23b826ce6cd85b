"""End-entity certificates before they are signed: a profile, an issuer and a request become to-be-signed bytes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from core.errors import InvalidInput
from pki.x509.authority import Pointers
from pki.x509.keys import key_algorithm
from pki.x509.names import GeneralName
from pki.x509.profile import SUBJECT_ATTRIBUTES, Profile
from pki.x509.signing import Hash, PublicKey, Recorder, chosen_hash

# Upper bounds of RFC 5280 appendix A.1, and of RFC 1274 for a user id; all others are held to the widest.
_MAX_COMMON_NAME = 64
_BOUNDS = {
    NameOID.COMMON_NAME: _MAX_COMMON_NAME,
    NameOID.ORGANIZATION_NAME: 64,
    NameOID.ORGANIZATIONAL_UNIT_NAME: 64,
    NameOID.SERIAL_NUMBER: 64,
    NameOID.LOCALITY_NAME: 128,
    NameOID.STATE_OR_PROVINCE_NAME: 128,
}
_WIDEST = 256
_COMMON_KINDS = ("dns", "email", "ip")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_FORMS = {
    NameOID.COUNTRY_NAME: re.compile(r"[A-Za-z]{2}"),  # ISO 3166, as X.520 §6.3.1 says
    NameOID.SERIAL_NUMBER: re.compile(r"[A-Za-z0-9 '()+,./:=?-]+"),  # PrintableString
    NameOID.DOMAIN_COMPONENT: re.compile(r"[A-Za-z0-9-]+"),
}


class NameKindRefused(InvalidInput):
    """The profile does not carry names of this kind."""

    code = "name_kind_refused"
    next_step = "Leave the name out, or choose a profile that carries it."


class NameMissing(InvalidInput):
    """Without a subjectAltName no IKE daemon can match the peer's identity."""

    code = "name_missing"
    next_step = (
        "Name every IKE identity of the peer: after `cert issue`, in subjectAltName, or in `names`."
    )


class SubjectRefused(InvalidInput):
    """An attribute of the subject is one that no certificate may carry as it is."""

    code = "subject_refused"
    next_step = "Correct this attribute of the subject in the request, or leave it out."


@dataclass(frozen=True)
class Subject:
    """Whom a certificate names."""

    name: x509.Name
    names: tuple[GeneralName, ...]

    def constrained(self) -> list[GeneralName]:
        """Everything that an authority's name constraints apply to (RFC 5280 §4.2.1.10)."""
        found = list(self.names)
        if list(self.name):
            found.append(GeneralName("dn", self.name.rfc4514_string()))
        if not any(name.kind == "dns" for name in self.names):
            # OpenSSL then holds a common name that looks like a host name to the constraints on host names. Others
            # take more for one: a dot at its end, a wildcard.
            for common in self.name.get_attributes_for_oid(NameOID.COMMON_NAME):
                host = _host(str(common.value))
                if host is not None:
                    found.append(GeneralName("dns", host))
        return found

    def implied(self) -> "Subject":
        """The same, with no more in the subject than the names say: if it has a common name, that is one of them."""
        commons = self.name.get_attributes_for_oid(NameOID.COMMON_NAME)
        own = {name.value for name in self.names if name.kind in _COMMON_KINDS}
        fitting = [str(each.value) for each in commons if each.value in own]
        chosen = next(iter(fitting), _common_name(self.names)) if commons else None
        kept = [] if chosen is None else [x509.NameAttribute(NameOID.COMMON_NAME, chosen)]
        return replace(self, name=x509.Name(kept))


def _host(common: str) -> str | None:
    """A common name as the host name, or wildcard, that somebody may take it for."""
    text = common.strip(" .").lower()
    return text if _HOST.fullmatch(text.replace("*", "x")) else None


@dataclass(frozen=True)
class Draft:
    """What will be signed. `preview` is the same certificate with a dummy signature, for the linter."""

    tbs: bytes
    preview: x509.Certificate
    digest: Hash | None


def subject_for(profile: Profile, requested: x509.Name, names: Iterable[GeneralName]) -> Subject:
    """Choose subject and subjectAltName as the profile says, from what was asked for.

    Raises NameKindRefused, NameMissing, SubjectRefused, InvalidName (a common name that is to become a dNSName and
    cannot).
    """
    wanted = list(dict.fromkeys(names))
    common = requested.get_attributes_for_oid(NameOID.COMMON_NAME)
    if profile.san_from_cn and not wanted and common and "dns" in profile.names:
        wanted.append(GeneralName.parse(f"dns:{common[0].value!s}"))
    for name in wanted:
        if name.kind not in profile.names:
            raise NameKindRefused(f"The profile {profile.name!r} does not carry {name}.")
    needed = profile.names_required
    if needed and not any(name.kind in needed for name in wanted):
        one_of = "one of the kinds " if len(needed) > 1 else ""
        kinds = ", ".join(needed)
        raise NameMissing(f"The profile {profile.name!r} needs a name of {one_of}{kinds}.")
    subject = _subject_name(profile, requested, wanted)
    if profile.ip_as_dns:
        dotted = [n for n in wanted if n.kind == "ip" and ":" not in n.value]
        # Windows looks for a dialled address among the dNSNames; names.py would rightly refuse it there.
        wanted += [GeneralName("dns", name.value) for name in dotted]
    return Subject(subject, tuple(dict.fromkeys(wanted)))


def _subject_name(profile: Profile, requested: x509.Name, names: list[GeneralName]) -> x509.Name:
    allowed = {SUBJECT_ATTRIBUTES[key] for key in profile.subject}
    if profile.cn_from_san:
        allowed.discard(NameOID.COMMON_NAME)
    kept = [usable_attribute(attribute) for attribute in requested if attribute.oid in allowed]
    if profile.cn_from_san:
        common = _common_name(names)
        if common is not None:
            kept.append(x509.NameAttribute(NameOID.COMMON_NAME, common))
    return x509.Name(kept)


def usable_attribute(
    attribute: x509.NameAttribute[str | bytes],
) -> x509.NameAttribute[str | bytes]:
    """Write an attribute anew in the string type of RFC 5280 §4.1.2.4, whatever it came in. Raises SubjectRefused."""
    oid, value = attribute.oid, attribute.value
    form = _FORMS.get(oid)
    if (
        not isinstance(value, str)
        or not value.strip()
        or not value.isprintable()
        or len(value) > _BOUNDS.get(oid, _WIDEST)
        or (form is not None and not form.fullmatch(value))
    ):
        raise SubjectRefused(f"The subject's {attribute.rfc4514_attribute_name} cannot be used.")
    if oid == NameOID.COMMON_NAME and "*" in value and _host(value) is not None:
        # As with names: no constraint and no permission could tell all the hosts that it stands for.
        raise SubjectRefused("The subject's CN is a wildcard, which is not issued.")
    try:
        return x509.NameAttribute(oid, value)
    except ValueError:  # longer than the library writes: it counts octets of UTF-8
        raise SubjectRefused(
            f"The subject's {attribute.rfc4514_attribute_name} is too long."
        ) from None


def _common_name(names: Iterable[GeneralName]) -> str | None:
    for kind in _COMMON_KINDS:
        for name in names:
            if name.kind == kind and len(name.value) <= _MAX_COMMON_NAME:
                return name.value
    return None


class Mould:
    """One profile under one issuer: everything that is the same in all its certificates, built once."""

    def __init__(
        self, profile: Profile, issuer: x509.Certificate, issuer_key: PublicKey, pointers: Pointers
    ) -> None:
        """`pointers` may hold `{shard}` in its CRL URL."""
        self._issuer = issuer.subject
        self._issuer_key = issuer_key
        self._pointers = pointers
        self._sharded = pointers.crl is not None and "{shard}" in pointers.crl
        self._digest = chosen_hash(issuer_key, profile.hash)
        self._profile = profile
        self._before = _fixed_extensions(profile, issuer_key)
        self._after = [] if self._sharded else pointers.extensions()

    def draft(
        self,
        subject: Subject,
        public_key: PublicKey,
        *,
        serial: int,
        not_before: datetime,
        not_after: datetime,
        shard: int,
    ) -> Draft:
        """Build the to-be-signed part. Times are rounded down to whole seconds, as X.509 has no others."""
        extensions = [
            *self._before,
            _key_usage(self._profile, public_key),
            x509.Extension(
                x509.SubjectKeyIdentifier.oid,
                False,
                x509.SubjectKeyIdentifier.from_public_key(public_key),
            ),
        ]
        if subject.names:
            # RFC 5280 §4.1.2.6: with an empty subject the alternative name is critical.
            critical = not list(subject.name)
            extensions.append(
                x509.Extension(
                    x509.SubjectAlternativeName.oid,
                    critical,
                    x509.SubjectAlternativeName([name.to_x509() for name in subject.names]),
                )
            )
        extensions += self._after or self._sharded_pointers(shard)
        recorder = Recorder(self._issuer_key)
        preview = x509.CertificateBuilder(
            subject_name=subject.name,
            issuer_name=self._issuer,
            public_key=public_key,
            serial_number=serial,
            not_valid_before=not_before.replace(microsecond=0),
            not_valid_after=not_after.replace(microsecond=0),
            extensions=extensions,
        ).sign(recorder.key, self._digest)
        return Draft(recorder.tbs, preview, self._digest)

    def _sharded_pointers(self, shard: int) -> list[x509.Extension[x509.ExtensionType]]:
        if not self._sharded or self._pointers.crl is None:
            return []
        url = self._pointers.crl.replace("{shard}", str(shard))
        return Pointers(url, self._pointers.ocsp, self._pointers.ca_issuers).extensions()


def _key_usage(profile: Profile, key: PublicKey) -> x509.Extension[x509.ExtensionType]:
    # RFC 8410 §5, RFC 8813 §3: keyEncipherment and the like only where the kind of key can do it.
    value = profile.key_usage_extension(key_algorithm(key))
    return x509.Extension(value.oid, profile.key_usage_critical, value)


def _fixed_extensions(
    profile: Profile, issuer_key: PublicKey
) -> list[x509.Extension[x509.ExtensionType]]:
    values: list[tuple[x509.ExtensionType | None, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (profile.extended_key_usage_extension(), False),
        (profile.policies_extension(), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), False),
        (x509.OCSPNoCheck() if profile.ocsp_no_check else None, False),
    ]
    return [x509.Extension(value.oid, critical, value) for value, critical in values if value]
