"""Keys and requests made on this side: the private key never leaves this machine."""

import ipaddress
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from core.errors import Conflict, InvalidInput
from hsm.keys import new_key
from hsm.ports import KeyAlgorithm, PrivateKey
from ikewarden.cli.files import SECRET, write_new
from pki.x509.keys import key_algorithm
from pki.x509.names import NAME_KINDS, GeneralName
from pki.x509.signing import default_hash

_NOT_IN_FILE_NAMES: Final = re.compile(r"[^A-Za-z0-9._@-]+")
_LONGEST_STEM: Final = 200


class SubjectMalformed(InvalidInput):
    """Text that is no distinguished name."""

    code = "subject_malformed"
    next_step = "Write it as RFC 4514 does, most specific part first: CN=gw1,O=Example."


class PendingKeyUnusable(Conflict):
    """A key that an earlier run left behind cannot be used for this one."""

    code = "pending_key_unusable"


def typed(text: str) -> GeneralName:
    """The name that a person wrote without its kind: an address is `ip:`, with an @ `email:`, else `dns:`.

    With a kind (`uri:…`, `dn:…`) it is what it says. Raises InvalidName.
    """
    try:
        ipaddress.ip_address(text)
    except ValueError:
        pass
    else:
        return GeneralName.of("ip", text)
    if text.partition(":")[0] in NAME_KINDS and ":" in text:
        return GeneralName.parse(text)
    return GeneralName.of("email" if "@" in text else "dns", text)


def file_stem(name: GeneralName) -> str:
    """The beginning of file names for a certificate with this name; safe in every directory."""
    stem = _NOT_IN_FILE_NAMES.sub("-", name.value).strip(".-")[:_LONGEST_STEM]
    return stem or "certificate"


def signing_request(key: PrivateKey, names: Sequence[GeneralName], subject: str) -> str:
    """A request for these names and RFC 4514 subject ("" for none), signed by the key: PKCS#10, PEM.

    Raises SubjectMalformed.
    """
    try:
        distinguished = x509.Name.from_rfc4514_string(subject)
    except ValueError:
        raise SubjectMalformed("The subject is not a distinguished name.") from None
    builder = x509.CertificateSigningRequestBuilder().subject_name(distinguished)
    if names:
        alternatives = x509.SubjectAlternativeName([name.to_x509() for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(key, default_hash(key.public_key())).public_bytes(Encoding.PEM).decode()


def pending_key(path: Path, kind: KeyAlgorithm) -> tuple[PrivateKey, bool]:
    """The key in `path`, and whether it is new: one that an earlier run left there is used again.

    It is on disk, PKCS#8 in PEM with mode 0600, before anybody can ask for a certificate for it. Raises
    PendingKeyUnusable and OSError.
    """
    if os.path.lexists(path):
        return _left_behind(path, kind), False
    key = new_key(kind)
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_new(path, content, SECRET)
    return key, True


def _left_behind(path: Path, kind: KeyAlgorithm) -> PrivateKey:
    advice = f"A certificate may exist for it. If it is not needed, remove {path}; then try again."
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if (
            not stat.S_ISREG(status.st_mode)
            or status.st_mode & 0o077
            or status.st_uid != os.geteuid()
        ):
            raise PendingKeyUnusable(f"{path} is not a key file of ours alone.", next_step=advice)
        content = file.read(65536)
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError):
        raise PendingKeyUnusable(f"{path} holds no private key.", next_step=advice) from None
    if not isinstance(key, PrivateKey) or key_algorithm(key.public_key()) != kind:
        raise PendingKeyUnusable(
            f"{path} holds another kind of key than {kind}.",
            next_step=f"Give the --key-type of that key, or: {advice}",
        )
    return key
