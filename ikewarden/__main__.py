"""`python -m ikewarden` is the program."""

import sys

from ikewarden.main import main

if __name__ == "__main__":
    sys.exit(main())
