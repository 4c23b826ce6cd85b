"""What happens to the SAs of the agent's own gateway: gathered, kept on disk, told to the service."""
