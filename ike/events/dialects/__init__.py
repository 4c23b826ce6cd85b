"""What each daemon writes, and what it means: a parser for each, pure."""
