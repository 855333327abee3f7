"""`python -m skfdrmfl`: the command line."""

import sys

from skfdrmfl.compare._cli import main

if __name__ == "__main__":
    sys.exit(main())
