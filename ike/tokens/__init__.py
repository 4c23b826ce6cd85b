"""Private keys in PKCS#11 tokens, as a gateway uses them: made there, used there, never read.

Only `ike.tokens.token` needs the library of the extra `token`, and runs in a process of its own; everything else works
on the base install.
"""
