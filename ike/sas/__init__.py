"""The SAs of one host as they are now: read from daemons, kernels and what Windows prints; keys are never kept."""
