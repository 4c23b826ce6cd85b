"""The fleet: gateways, tunnels, what each gateway should have, and what it says it has."""
