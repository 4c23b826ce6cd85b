"""What the pages say is held against what the program does."""
