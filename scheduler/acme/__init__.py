"""Looking for the proofs of ACME clients, over the network: a place where strangers choose what is connected to."""
