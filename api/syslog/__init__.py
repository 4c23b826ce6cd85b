"""The door for devices that run no agent: their syslog, over UDP, TCP and TLS, becomes events of their gateways."""
