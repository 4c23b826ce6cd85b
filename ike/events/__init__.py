"""What the logs of IKE daemons say, as values: pure parsers, one a daemon, and the files they read."""
