"""Writes the files."""

from monitoring.dashboards import DASHBOARDS, PLACE
from monitoring.dashboards.grafana import text


def main() -> None:
    """Write all files."""
    PLACE.mkdir(exist_ok=True)
    for each in DASHBOARDS:
        (PLACE / f"{each.name}.json").write_text(text(each), "utf-8")


if __name__ == "__main__":
    main()
