"""The secrets audit of one host: who can read the keys, and are they worth reading? Works with no server.

Three steps: what is there is looked at (discovery, looking and their like: all that touches files), rules judge what
was seen (`Rule` modules: pure, no file, no clock), and findings are told in the format that was asked for.
"""
