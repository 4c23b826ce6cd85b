"""Words every room shares: the error tree and values that must not be printed."""
