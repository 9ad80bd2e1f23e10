"""`python3 client.py --username … --password …`, and `from client import TranslationStatusClient`."""

import sys

from translation_client.compat.start import TranslationStatusClient

__all__ = ["TranslationStatusClient"]

if __name__ == "__main__":
    from translation_client.cli import main

    sys.exit(main())
