"""The log that can be checked, without a database: Merkle tree, signed heads, what a row is in it. Pure and light."""
