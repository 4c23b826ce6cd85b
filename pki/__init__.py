"""Certificates as a business: authorities, issuance, revocation, publication. `pki.x509` is its pure part."""
