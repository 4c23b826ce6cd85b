"""SA monitoring: events that gateways report, the rules that look at them, and the alerts that come of it."""
