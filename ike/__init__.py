"""On the gateway: IKE daemons, the agent that feeds them. Works on the base install, with no server of ours in reach.

Imports nothing of ours but `core` and `pki.x509` (held by import-linter).
"""
