"""What happens by the clock: jobs under leases, and work after commit."""
