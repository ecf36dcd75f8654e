"""`python -m hdpainter_nb`: the command `hdpainter-nb`."""

import sys

from hdpainter_nb.command import main

if __name__ == "__main__":
    sys.exit(main())
