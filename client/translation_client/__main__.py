"""`python -m translation_client`."""

import sys

from translation_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
