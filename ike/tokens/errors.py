"""What can go wrong with a token. The key and certificate in use stay with all of them."""

from core.errors import Conflict, InvalidInput, NotFound, Unavailable


class TokenUriInvalid(InvalidInput):
    """Not a PKCS#11 URI that names one token (RFC 7512)."""

    code = "token_uri_invalid"
    next_step = "Write it so: pkcs11:token=LABEL?module-path=/usr/lib/….so&pin-source=file:/etc/ikewarden/token-pin"


class TokenLibraryMissing(Unavailable):
    """This installation cannot speak PKCS#11."""

    code = "token_library_missing"
    next_step = "In a clone of ikewarden, run: pip install '.[token]'"


class TokenModuleUnusable(InvalidInput):
    """The file at module-path is no PKCS#11 module that works here."""

    code = "token_module_unusable"
    next_step = (
        "Look whether the path is right, and whether the module finds its own configuration in the agent's "
        "environment (SOFTHSM2_CONF, TPM2_PKCS11_STORE)."
    )


class TokenAbsent(Unavailable):
    """The token is not in any slot of the module, or was taken out."""

    code = "token_absent"
    next_step = "Put it in; the agent goes on by itself. `pkcs11-tool --module PATH -L` lists what is there."


class PinUnreadable(InvalidInput):
    """The file with the PIN cannot be read, or others can read it too."""

    code = "token_pin_unreadable"
    next_step = "Make it a file of the agent's user with mode 0600 and the PIN as its only line."


class PinRefused(Conflict):
    """The token does not take the PIN. It was tried once and is not tried again, so that the token is not locked."""

    code = "token_pin_refused"
    next_step = (
        "Correct the file that pin-source names; when it has changed the agent tries once more."
    )


class TokenFull(Unavailable):
    """The token has no room for another key, which a renewal needs beside the one in use."""

    code = "token_full"
    next_step = "Delete what is not needed from the token; nothing of it was changed."


class TokenKeyUnsupported(InvalidInput):
    """The token cannot make this kind of key, or cannot sign with it."""

    code = "token_key_unsupported"
    next_step = "Choose another key_type: ec-p256, ec-p384 or rsa-3072, as far as the token can."


class TokenKeyMissing(NotFound):
    """The key that should be in the token is not."""

    code = "token_key_missing"
    next_step = "If this is another token than before, enroll again with --force."


class TokenSlow(Unavailable):
    """The token or its module did not answer in time."""

    code = "token_slow"
    next_step = (
        "Look whether the token is in its place and used by nobody else; the agent tries again."
    )


class TokenFailed(Unavailable):
    """The token or its module failed in a way that says no more."""

    code = "token_failed"
    next_step = "Look at the module's own log; the agent tries again by itself."
