"""All faults that are planted, as data. Those of an area stand in a module of their own."""

from typing import Final

from tests.ike.audit.corpus import (
    access_faults,
    configuration_faults,
    exposure_faults,
    key_faults,
    secret_faults,
    windows_faults,
)
from tests.ike.audit.corpus.planting import Fault

FAULTS: Final[tuple[Fault, ...]] = (
    *access_faults.FAULTS,
    *exposure_faults.FAULTS,
    *secret_faults.FAULTS,
    *key_faults.FAULTS,
    *configuration_faults.FAULTS,
    *windows_faults.FAULTS,
)
