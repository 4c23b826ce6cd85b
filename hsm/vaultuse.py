"""What a Vault or OpenBao server is used for, and so what is said when it does not serve.

The same server may keep shared secrets and sign: what goes wrong with it is the same, and whom it concerns is not. So a
conversation (hsm/vaultwire.py) knows troubles, and a `Use` turns each into an error with its code and its next step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from hsm.errors import KeyStoreError


class Trouble(Enum):
    """Why a server does not do what it was asked."""

    UNREACHABLE = auto()
    SLOW = auto()
    UNTRUSTED = auto()  # it or we cannot prove who we are
    NO_FILE = auto()  # a certificate file of ours cannot be used
    UNINITIALIZED = auto()
    SEALED = auto()
    OUT_OF_SERVICE = auto()
    QUOTA = auto()
    ELSEWHERE = auto()  # a standby that redirects
    FAILING = auto()
    REFUSED = auto()
    NO_MOUNT = auto()
    NOT_SHOWN = auto()  # there is no mount, or none that we may see
    NOT_UNDERSTOOD = auto()
    LOGIN = auto()  # it does not take what we log in with
    CREDENTIAL = auto()  # we have nothing to log in with


# Where nothing stands here, the error class has its own.
_NEXT_STEPS: Final[Mapping[Trouble, str]] = {
    Trouble.UNTRUSTED: "Look at {server} ca_file (and certificate_file), and at the name in {server} url.",
    Trouble.NO_FILE: "Look at {server} ca_file, certificate_file and key_file.",
    Trouble.SEALED: "Unseal it; {goes_on}.",
    Trouble.QUOTA: "{relief}.",
    Trouble.ELSEWHERE: "Set {server} url to the active node, or to what finds it.",
    Trouble.NO_MOUNT: "Look at {mount} and {server} namespace; enable the engine if there is none yet.",
    Trouble.NOT_SHOWN: "Look at {mount} and {server} namespace; compare the policy with `ikewarden vault policy`.",
    Trouble.NOT_UNDERSTOOD: "Look at {server} url and namespace, and at {mount}: `ikewarden vault check`.",
    Trouble.LOGIN: "Look at {server} auth, its fields and auth_mount, and at the role in the store.",
    Trouble.CREDENTIAL: "Put it where {server} says, readable by this service alone.",
}


@dataclass(frozen=True)
class Use:
    """What a server is used for. `server` is the section of the settings that names it, `mount` the setting that names
    the engine; `goes_on` says what does so once the server is back, `relief` what helps where its quota is used up.

    `away` is the class of troubles that pass, `refused` that of those that do not; `kinds` has those that have a class
    of their own.
    """

    server: str
    mount: str
    goes_on: str
    relief: str
    away: type[KeyStoreError]
    refused: type[KeyStoreError]
    kinds: Mapping[Trouble, type[KeyStoreError]]

    def error(
        self,
        trouble: Trouble,
        message: str,
        details: Mapping[str, object] | None = None,
        *,
        next_step: str = "",
    ) -> KeyStoreError:
        """The error to raise. `next_step`, where somebody knows better than this table."""
        default = self.refused if trouble in _REFUSALS else self.away
        said = _NEXT_STEPS.get(trouble, "").format(
            server=self.server, mount=self.mount, goes_on=self.goes_on, relief=self.relief
        )
        return self.kinds.get(trouble, default)(
            message, next_step=next_step or said, details=details
        )


_REFUSALS: Final = frozenset(
    {
        Trouble.REFUSED,
        Trouble.NO_MOUNT,
        Trouble.NOT_SHOWN,
        Trouble.NOT_UNDERSTOOD,
        Trouble.LOGIN,
        Trouble.CREDENTIAL,
    }
)
