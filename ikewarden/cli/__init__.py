"""The command line. Modules here import little, so that `--help` is quick; commands import late what they need."""
