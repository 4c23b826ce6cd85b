"""What the agent tells of an SA."""

from dataclasses import replace

from ike.agent import report
from ike.daemons.port import ChildSa, IkeSa
from tests.lab.handmade import NOW

SA = IkeSa(
    "1",
    "site",
    "ESTABLISHED",
    2,
    "192.0.2.1",
    "192.0.2.2",
    "left",
    "right",
    established=True,
    spi_initiator="C1C2C3C4C5C6C7C8",
    children=(ChildSa("net", "INSTALLED", "c1", "c2", protocol="ESP", rekey_seconds=60),),
)


def slot(spi: str | None, version: int = 3) -> dict[str, object]:
    seen = None if spi is None else {"version": version, "spi_initiator": spi, "spi_responder": ""}
    return {"authenticated": seen}


def test_an_sa_tells_which_secrets_authenticated_it() -> None:
    secrets = {
        "hub-psk": slot("c1c2c3c4c5c6c7c8"),
        "hub-ppk": slot("c1c2c3c4c5c6c7c8", 1),
        "other": slot("00000000000000ff"),
        "fresh": slot(None),
    }
    told = report.sas_report([report.sa_document(SA, secrets)], NOW)
    (sa,) = told["sas"]
    assert sa["secrets"] == [
        {"name": "hub-psk", "version": 3},
        {"name": "hub-ppk", "version": 1},
    ]
    assert (sa["children"][0]["protocol"], sa["children"][0]["rekey_seconds"]) == ("ESP", 60)


def test_an_sa_without_spis_is_nobodys() -> None:
    bare = replace(SA, spi_initiator="")
    assert report.sa_document(bare, {"x": slot("")})["secrets"] == []
