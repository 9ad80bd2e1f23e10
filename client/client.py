"""Runs the command (`python3 client.py --username … --password …`); exports `TranslationStatusClient`."""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback for Ctrl-C during the imports; main() takes over

from translation_client.compat.start import TranslationStatusClient

__all__ = ["TranslationStatusClient"]

if __name__ == "__main__":
    from translation_client.cli import main
    from translation_client.cli.options import Options

    Options.log_file = "client.log"  # this program has always kept a log; the installed command does not
    sys.exit(main())
