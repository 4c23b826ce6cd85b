"""An audit in the formats that people and programs read. Pure: values in, text out.

Names of files and connections come from whoever may write on the host. No form lets them act: not in a terminal, a
browser, a spreadsheet or a parser.
"""
