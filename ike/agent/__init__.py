"""The agent of a gateway: makes its key, enrolls, feeds the IKE daemon, renews, and tells the service what it found."""
