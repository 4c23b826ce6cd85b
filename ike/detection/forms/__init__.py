"""An analysis of SA logs in the formats that people and programs read. Pure: values in, text out.

Identities and names of connections come from whoever may send a packet. No form lets them act: not in a terminal, a
browser or a parser.
"""
