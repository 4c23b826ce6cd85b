"""Lines on their way: none is lost without a word."""

from datetime import timedelta

import pytest

from api.syslog.delivery import Delivery, Room
from api.syslog.reading import MOST_DEVICES, Origin, Reading
from api.syslog.senders import Sender, Senders
from api.syslog.tally import Tally
from fleet.monitoring import shown
from ike.agent.watching.crush import MOST
from pki.desk import Desk
from tests.fixtures.desk import NOW, OPERATOR
from tests.fleet.crew import enlist

# The records are not what is tested.
pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
SCAN = b"<164>Nov 29 12:00:00 asa %ASA-4-750003: Local:192.0.2.1:500 Remote:203.0.113.9:500 "
SCAN += b"Username:x IKEv2 Negotiation aborted due to ERROR: No proposal chosen"
LINE = b"<13>Nov 29 12:00:00 x sshd[1]: nothing of interest"


def test_what_the_kernel_drops_may_be_of_any_device_that_sends_over_udp(desk: Desk) -> None:
    names = ("gone.example", "udp1.example", "udp2.example", "tcp.example", "silent.example")
    for name in names:
        enlist(desk, name)
    delivery = Delivery(desk, "s", Tally(), Room())
    senders = [Sender.parse(f"192.0.2.{n} = {name}") for n, name in enumerate(names)]
    reading = Reading(Senders(senders), delivery, Tally())
    for host, transport, days in ((0, "udp", 2), (1, "udp", 0), (2, "udp", 0), (3, "tcp", 0)):
        reading.hear(Origin(f"192.0.2.{host}", transport), LINE, NOW - timedelta(days=days))
    reading.note_dropped(0, NOW)
    reading.tick(NOW)
    delivery.deliver(NOW)
    assert shown.figures(desk, OPERATOR).counters == {}
    reading.note_dropped(5, NOW)
    reading.close(NOW)
    delivery.deliver(NOW)
    assert shown.figures(desk, OPERATOR).counters == {
        ("udp1.example", "lost"): 5,
        ("udp2.example", "lost"): 5,
    }


def test_a_device_that_is_forgotten_for_others_owes_nothing(desk: Desk) -> None:
    enlist(desk, "gw.example")
    delivery = Delivery(desk, "s", Tally(), Room())
    reading = Reading(Senders([Sender.parse("10.0.0.0/8 = gw.example")]), delivery, Tally())
    for _ in range(MOST + 5):
        reading.hear(Origin("10.1.0.1", "udp"), SCAN, NOW)
    for number in range(MOST_DEVICES):
        reading.hear(Origin(f"10.2.{number >> 8}.{number & 255}", "udp"), LINE, NOW)
    reading.tick(NOW)
    delivery.deliver(NOW)
    assert shown.figures(desk, OPERATOR).counters == {("gw.example", "left_out"): 5}
