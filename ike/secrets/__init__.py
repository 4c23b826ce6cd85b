"""The secrets and connections that stand in a gateway's files: read, matched, judged. Nothing here writes.

The parsers, the ranking and the judging of strength are pure: text in, values out. `tree` and `reading` open files.
"""
