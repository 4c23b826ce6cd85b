"""From options and environment to a service: which URL, which root, which credential."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from core.errors import InvalidInput, NotAuthenticated
from core.secret import Secret
from ikewarden.cli.place import ADMIN_TOKEN, ROOT_CERTIFICATE, api_url, find_directory
from ikewarden.client import Service, authorities_in

_LONGEST = 4096
_BLANK = b" \t\r\n"


class ServiceNotNamed(InvalidInput):
    """Nothing says where the service is."""

    code = "service_not_named"
    next_step = "Give --url, set IKEWARDEN_URL, or name the directory of an instance with --dir."


class CredentialMissing(NotAuthenticated):
    """There is no token and no client certificate."""

    code = "credential_not_given"
    next_step = (
        "Give a token with --token-file or IKEWARDEN_TOKEN, or a certificate with --cert and --key."
    )


class TokenUnusable(InvalidInput):
    """A token that cannot be read, is none, or that others can read too."""

    code = "token_unusable"


def find_service(given: Mapping[str, Path | str], environ: Mapping[str, str]) -> Service:
    """The service that options (`dir`, `url`, `ca_file`, `token_file`, `cert`, `key`) and environment name.

    An option wins over the environment, that over the directory of an instance. A directory named by an option is
    meant whole: then IKEWARDEN_URL and its like are for something else and are not used. The token in a directory is
    sent only to a service that proves itself by the root in the same directory, which another file may hold too. Raises
    ServiceNotNamed, CredentialMissing, TokenUnusable, InstanceUnreadable, ConnectionUnusable.
    """
    named = given.get("dir")
    outside = {} if named else environ
    directory = find_directory(Path(named) if named else None, environ)
    url = given.get("url") or outside.get("IKEWARDEN_URL") or api_url(directory, environ)
    if not url:
        raise ServiceNotNamed(f"There is no instance in {directory}, and no URL of a service.")
    certificate = _path(given, outside, "cert", "IKEWARDEN_CERT_FILE")
    ca_file = _path(given, outside, "ca_file", "IKEWARDEN_CA_FILE")
    token = _token(given, outside)
    root = directory / ROOT_CERTIFICATE
    if token is None and certificate is None and os.path.lexists(directory / ADMIN_TOKEN):
        _check_root(ca_file, root)
        ca_file = root  # what was compared is what is trusted
        token = token_from_file(directory / ADMIN_TOKEN)
    if token is None and certificate is None:
        raise CredentialMissing("There is nothing to prove to the service who you are.")
    return Service(
        url=str(url),
        ca_file=ca_file or root,
        token=token,
        certificate=certificate,
        key=_path(given, outside, "key", "IKEWARDEN_KEY_FILE"),
    )


def _path(
    given: Mapping[str, Path | str], outside: Mapping[str, str], option: str, variable: str
) -> Path | None:
    value = given.get(option) or outside.get(variable)
    return Path(value) if value else None


def _token(given: Mapping[str, Path | str], outside: Mapping[str, str]) -> Secret | None:
    if "token_file" in given:
        return token_from_file(Path(given["token_file"]))
    if "cert" in given:
        return None  # who shows a certificate means to be known by it
    if outside.get("IKEWARDEN_TOKEN"):
        return _usable(os.fsencode(outside["IKEWARDEN_TOKEN"]), "IKEWARDEN_TOKEN")
    if outside.get("IKEWARDEN_TOKEN_FILE"):
        return token_from_file(Path(outside["IKEWARDEN_TOKEN_FILE"]))
    return None


def _check_root(ca_file: Path | None, root: Path) -> None:
    """Make sure that the token beside `root` is for services that prove themselves by `ca_file`."""
    if ca_file is not None and authorities_in(ca_file) != (
        authorities_in(root) if root.exists() else None
    ):
        raise CredentialMissing(
            f"The token in {root.parent} is for a service that proves itself by {root}, and {ca_file} holds another "
            "root: it is kept back."
        )


def token_from_file(path: Path) -> Secret:
    """The token in a file, without blanks around it. Raises TokenUnusable, also where others may read the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TokenUnusable(
            f"The token file {path} cannot be read: {error.strerror}.",
            next_step="Name a file that holds a token of `ikewarden token create`, and nothing else.",
        ) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            raise TokenUnusable(
                f"The token file {path} is open to others (mode {stat.S_IMODE(mode):04o}).",
                next_step=f"Run chmod 600 '{path}', and make a new token if others had it.",
            )
        # Only the opening must not wait: a pipe is read to its end, as in --token-file <(…).
        os.set_blocking(descriptor, True)
        content = b""
        while len(content) <= _LONGEST and (more := os.read(descriptor, _LONGEST)):
            content += more
    except OSError as error:
        raise TokenUnusable(f"The token file {path} cannot be read: {error.strerror}.") from None
    finally:
        os.close(descriptor)
    return _usable(content, f"The token file {path}")


def _usable(content: bytes, source: str) -> Secret:
    token = content.strip(_BLANK)
    if not token or len(token) > _LONGEST or any(not 0x20 < octet < 0x7F for octet in token):
        raise TokenUnusable(
            f"{source} holds no token.",
            next_step="A token is one word, as `ikewarden token create` prints it.",
        )
    return Secret(token)
