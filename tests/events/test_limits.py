"""Events as the service takes them."""

from ike.events.event import SaEvent
from ike.events.limits import limited


def test_what_fits_stays() -> None:
    event = SaEvent("auth_failed", 1, 5.0, peer="192.0.2.1", ike_id=7, spi_in="0a1B", seconds=1.5)
    assert limited(event) is event


def test_what_does_not_fit_is_cut_or_left_out() -> None:
    event = SaEvent(
        *("auth_failed", 1, -5.0),
        peer="p" * 999,
        identity="\ud800" + "i" * 5000,
        ike_id=1 << 63,
        child_id=-1,
        spi_in="0x12",
        spi_out="a" * 33,
        seconds=float("inf"),
    )
    found = limited(event)
    assert found == SaEvent("auth_failed", 1, peer="p" * 255, identity="?" + "i" * 1023)
