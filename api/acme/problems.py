"""Errors as ACME has them (RFC 8555 §6.7): the type and the status of each class, the nearest ancestor deciding."""

import json
from collections.abc import Mapping
from typing import Any, Final

from api.errors import MalformedRequest, MediaTypeRefused, MethodNotAllowed
from api.problems import MEDIA_TYPE, RETRY_AFTER, status_of
from core.errors import (
    Conflict,
    IkewardenError,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    TooFast,
    TooLarge,
    Unavailable,
)
from pki.acme import refusals
from pki.acme.revoking import RevocationRefused
from pki.actors import OutsideScope
from pki.compromise import KeyCompromised
from pki.refusals import LintRefused
from pki.revocation import AlreadyRevoked, BadReason
from pki.x509.csr import CsrExtensionRefused, CsrMalformed, CsrSignatureInvalid, CsrTooLarge
from pki.x509.draft import NameKindRefused, NameMissing, SubjectRefused
from pki.x509.keys import KeyNotAllowed, WeakKey
from pki.x509.names import InvalidName

TYPE: Final = "urn:ietf:params:acme:error:"
_KINDS: Final[Mapping[type[IkewardenError], tuple[str, int]]] = {
    refusals.NonceRefused: ("badNonce", 400),
    refusals.AlgorithmRefused: ("badSignatureAlgorithm", 400),
    refusals.KeyRefused: ("badPublicKey", 400),
    refusals.AccountUnknown: ("accountDoesNotExist", 400),
    refusals.ExternalAccountRequired: ("externalAccountRequired", 403),
    refusals.ContactRefused: ("invalidContact", 400),
    refusals.ContactUnsupported: ("unsupportedContact", 400),
    refusals.IdentifierUnsupported: ("unsupportedIdentifier", 400),
    refusals.IdentifierRefused: ("rejectedIdentifier", 400),
    refusals.OrderNotReady: ("orderNotReady", 403),
    refusals.RequestRefused: ("badCSR", 400),
    refusals.ProfileUnknown: ("invalidProfile", 400),
    refusals.AlreadyReplaced: ("alreadyReplaced", 409),
    RevocationRefused: ("unauthorized", 403),
    AlreadyRevoked: ("alreadyRevoked", 400),
    BadReason: ("badRevocationReason", 400),
    InvalidName: ("rejectedIdentifier", 400),
    OutsideScope: ("rejectedIdentifier", 403),
    **dict.fromkeys(
        (
            CsrMalformed,
            CsrTooLarge,
            CsrSignatureInvalid,
            CsrExtensionRefused,
            KeyNotAllowed,
            WeakKey,
            KeyCompromised,
            LintRefused,
            NameKindRefused,
            NameMissing,
            SubjectRefused,
        ),
        ("badCSR", 400),
    ),
    MalformedRequest: ("malformed", 400),
    MediaTypeRefused: ("malformed", 415),
    MethodNotAllowed: ("malformed", 405),
    InvalidInput: ("malformed", 400),
    NotFound: ("malformed", 404),
    Conflict: ("malformed", 409),
    TooLarge: ("malformed", 413),
    NotAuthenticated: ("unauthorized", 401),
    NotPermitted: ("unauthorized", 403),
    TooFast: ("rateLimited", 429),
    Unavailable: ("serverInternal", 503),
    IkewardenError: ("serverInternal", 500),
}


def kind_of(error: IkewardenError) -> tuple[str, int]:
    """The type of an error, without its prefix, and its status."""
    return next(_KINDS[base] for base in type(error).__mro__ if base in _KINDS)


def body(error: IkewardenError, request_id: str) -> bytes:
    """The problem document of an error; `code` and `next_step` are as at every other door."""
    kind, status = kind_of(error)
    shown = status < 500 or status_of(error) == 503
    document: dict[str, Any] = {
        "type": TYPE + kind,
        "detail": error.message if shown else "Something went wrong on our side.",
        "status": status,
        "code": error.code,
        "request_id": request_id,
    }
    if shown and error.next_step:
        document["next_step"] = error.next_step
    if kind == "badSignatureAlgorithm":
        document["algorithms"] = ["RS256", "ES256", "ES384", "EdDSA"]  # RFC 8555 §6.2
    return json.dumps(document, separators=(",", ":")).encode()


def headers(error: IkewardenError) -> dict[str, str]:
    """The headers that go with it."""
    found = {"Content-Type": MEDIA_TYPE}
    status = kind_of(error)[1]
    if status == 503 or "retry_after" in error.details:
        found["Retry-After"] = str(error.details.get("retry_after", RETRY_AFTER))
    if "location" in error.details:  # RFC 8555 §7.3.5
        found["Location"] = str(error.details["location"])
    return found


def proof(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The error of a challenge as it is shown (RFC 8555 §8)."""
    if error is None:
        return None
    return {
        "type": TYPE + str(error["kind"]),
        "detail": error["detail"],
        "status": error["status"],
    }
