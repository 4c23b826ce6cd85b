"""Keys in a PKCS#11 token: an HSM, a smart card, SoftHSM2.

`store` is the key store, `signers` its keys as `cryptography` keys. `process` starts the process that loads the module
(`worker`, `session`, `module`), for one process of the service each. Modules are strangers' code: they hang, crash,
do not survive a fork, and SoftHSM2 leaves errors behind in the OpenSSL that Python's TLS uses too. In a process of
their own they do no harm, and a new process is a new start for a token that went away and came back.
"""
