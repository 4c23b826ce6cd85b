"""The dashboards for Grafana. `python -m monitoring.dashboards` writes their files, and a test compares these with it.

Figures of the records are the same from every replica, hence `max`; what processes count is added up, hence `sum`.
"""

from pathlib import Path
from typing import Final

from monitoring.dashboards.certificates import CERTIFICATES
from monitoring.dashboards.fleet import FLEET
from monitoring.dashboards.overview import OVERVIEW
from monitoring.dashboards.sas import SAS
from monitoring.dashboards.service import SERVICE

PLACE: Final = Path(__file__).parent.parent / "grafana"
DASHBOARDS: Final = (OVERVIEW, CERTIFICATES, FLEET, SAS, SERVICE)
