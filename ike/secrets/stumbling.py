"""What nobody foresaw while a file was read: told as a problem of that file, so that the rest is still read.

It is a fault of ikewarden, and is called so. The message names the kind of the failure and where in the program it
happened, and quotes nothing: what the program was at may be a secret.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

from core.errors import IkewardenError
from ike.secrets.values import Place, Problem


@contextmanager
def stumbling(place: Place, problems: list[Problem], what: str = "it") -> Iterator[None]:
    """What fails within is told among the problems, as one of `what` at this place. Errors that are meant for the
    person who asked are passed on.
    """
    try:
        yield
    except IkewardenError:
        raise
    except OSError as error:
        problems.append(Problem(place, error.strerror or "it cannot be read"))
    except BaseException as error:
        if not (isinstance(error, Exception) or _is_panic(error)):
            raise
        problems.append(Problem(place, _message(what, error)))  # must not hide all others


def _is_panic(error: BaseException) -> bool:
    """Whether Rust code gave up, as cryptography's has over some keys. Its class is no Exception, so that nobody
    catches it by chance, and cannot be imported.
    """
    return type(error).__name__ == "PanicException"


def _message(what: str, error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return (
        f"the audit stumbled over {what} ({type(error).__name__} in {where}): a fault of ikewarden, please report it;"
        " the rest goes on"
    )
