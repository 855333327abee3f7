"""`python -m skfdrmfl`: the command line."""

import sys

from skfdrmfl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
