"""A PKCS#11 module, loaded and initialised for threads. Only in a process of its own (`hsm.token.worker`)."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pkcs11 import TokenFlag, _pkcs11
from pkcs11 import exceptions as said

from core.errors import IkewardenError
from hsm.errors import (
    HsmAbsent,
    KeyMechanismMissing,
    KeyStoreFull,
    ModuleUnusable,
    PinLocked,
    PinRefused,
    SignerUnavailable,
)

_LOCKING: Final = 2  # CKF_OS_LOCKING_OK
_OK: Final = 0
_USER: Final = (1, 3)  # CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS
_INITIALIZE, _GET_SESSION_INFO = 0, 15  # their places in the list of functions
_LAST_TRY: Final = (TokenFlag.USER_PIN_FINAL_TRY, TokenFlag.USER_PIN_LOCKED)
UNSUPPORTED: Final = (
    said.MechanismInvalid,
    said.MechanismParamInvalid,
    said.DomainParamsInvalid,
    said.KeySizeRange,
    said.KeyTypeInconsistent,
    said.FunctionNotSupported,
    said.AttributeTypeInvalid,
    said.AttributeValueInvalid,
    said.TemplateInconsistent,
)
_TOLD: Final[tuple[tuple[tuple[type[Exception], ...], type[IkewardenError], str], ...]] = (
    (
        (
            said.PinIncorrect,
            said.PinInvalid,
            said.PinLenRange,
            said.PinLocked,
            said.PinExpired,
            said.UserPinNotInitialized,
        ),
        PinRefused,
        "The token does not take the PIN",
    ),
    (
        (
            said.NoSuchToken,
            said.TokenNotPresent,
            said.TokenNotRecognised,
            said.DeviceRemoved,
            said.SlotIDInvalid,
        ),
        HsmAbsent,
        "The token is not there",
    ),
    ((said.SessionCount,), SignerUnavailable, "The token gives no more sessions"),
    ((said.DeviceMemory,), KeyStoreFull, "The token has no room"),
    (UNSUPPORTED, KeyMechanismMissing, "The token cannot do that"),
)


class _InitializeArguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS (PKCS#11 v2.40 §3.7): no functions for mutexes, so that the module uses the system's."""

    _fields_ = (
        ("functions", ctypes.c_void_p * 4),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


class _FunctionList(ctypes.Structure):
    """CK_FUNCTION_LIST (PKCS#11 v2.40 §3.6), as far as it is used."""

    _fields_ = (("version", ctypes.c_ubyte * 2), ("at", ctypes.c_void_p * 16))


class _SessionInfo(ctypes.Structure):
    """CK_SESSION_INFO (PKCS#11 v2.40 §3.4)."""

    _fields_ = tuple((name, ctypes.c_ulong) for name in ("slot", "state", "flags", "error"))


class Module:
    """A module that is loaded and initialised for threads: what `pkcs11` knows of it (`library`), and what not.

    `pkcs11` itself would initialise it without CKF_OS_LOCKING_OK, which tells the module that there is one thread only:
    SoftHSM2 then takes no locks at all. Raises ModuleUnusable; SignerUnavailable where it is a module, but does not
    start: its device may be away.
    """

    def __init__(self, path: str) -> None:
        self._functions = ctypes.POINTER(_FunctionList)()
        try:
            found = ctypes.CDLL(path).C_GetFunctionList(ctypes.byref(self._functions))
            # __init__ would initialise it once more.
            make: Any = _pkcs11.lib.__new__
            self.library = make(_pkcs11.lib, path)
        except (OSError, AttributeError, said.PKCS11Error) as error:
            raise ModuleUnusable(f"{path} is no PKCS#11 module ({_kind(error)}).") from None
        if found == _OK:
            start = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)(self._at(_INITIALIZE))
            found = start(ctypes.byref(_InitializeArguments(flags=_LOCKING)))
        if found != _OK:
            raise SignerUnavailable(
                f"The PKCS#11 module {path} does not start (0x{found:x}).",
                next_step="Look at the device, and whether the module finds its own configuration in the service's "
                "environment (SOFTHSM2_CONF, for instance).",
            )

    def is_logged_in(self, session: Any) -> bool:
        """Whether the session is alive and the user logged in: a token that was away forgets that."""
        prototype = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p)
        look, told = prototype(self._at(_GET_SESSION_INFO)), _SessionInfo()
        return bool(look(session.handle, ctypes.byref(told)) == _OK and told.state in _USER)

    def _at(self, number: int) -> int:
        return int(self._functions.contents.at[number])


def find(module: Module, label: str, serial: str) -> Any:
    """The token of this label, serial number, or both. Raises HsmAbsent, SignerUnavailable; PinLocked where the token
    says that the next wrong PIN would lock it, or that it is locked.
    """
    with told():
        slots = module.library.get_slots(token_present=True)
        found = [token for slot in slots if (token := _in(slot, label, serial))]
    name = " ".join(filter(None, (label, serial)))
    if not found:
        raise HsmAbsent(f"The token {name} is in no slot.")
    if len(found) > 1:
        raise HsmAbsent(
            f"There are {len(found)} tokens {name}.",
            next_step="Give [keys.pkcs11] serial beside the label.",
        )
    if any(flag in found[0].flags for flag in _LAST_TRY):
        raise PinLocked(f"The token {name} is locked, or would be with one more wrong PIN.")
    return found[0]


def serial_of(token: Any) -> str:
    """Its serial number as text."""
    return str(token.serial.decode("utf-8", "replace").strip(" \0"))


def _in(slot: Any, label: str, serial: str) -> Any:
    """The token in a slot, if it is the one; a broken one in another slot does no harm."""
    try:
        token = slot.get_token()
        ready = TokenFlag.TOKEN_INITIALIZED in token.flags
    except said.PKCS11Error:
        return None
    fits = label in ("", token.label) and serial in ("", serial_of(token))
    return token if fits and ready else None


@contextmanager
def told() -> Iterator[None]:
    """Turn what a module says into errors of ours. What is not known is SignerUnavailable."""
    try:
        yield
    except said.PKCS11Error as error:
        for kinds, ours, words in _TOLD:
            if isinstance(error, kinds):
                raise ours(f"{words} ({_kind(error)}).") from error
        raise SignerUnavailable(f"The token failed ({_kind(error)}).") from error


def _kind(error: Exception) -> str:
    """The library's name of the error; its texts may quote what was given."""
    return type(error).__name__
