"""Whose lines are lost where nobody can tell."""

from datetime import timedelta

import pytest

from api.syslog.delivery import Delivery, Room
from api.syslog.reading import Origin, Reading
from api.syslog.senders import Sender, Senders
from api.syslog.tally import Tally
from fleet.monitoring import shown
from pki.desk import Desk
from tests.fixtures.desk import NOW, OPERATOR
from tests.fleet.crew import enlist

# The records are not what is tested.
pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
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
