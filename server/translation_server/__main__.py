"""`python -m translation_server`: serves; or lists, shows and checks the files of dialects, and prints schemas.

There are flags for the most used settings; all others come from the environment and `.env`.
"""

import argparse
import gc
import os
import signal
import sys

from translation_server.version import __version__

FLAGS = {
    "--host": "the address to listen on",
    "--port": "the port to listen on; 0 takes a free one",
    "--workers": "the number of server processes",
    "--database-url": "where jobs are stored: sqlite:///path/to/file or postgresql://user@host/name",
}

SHELLS = ("bash", "zsh", "fish")


def main() -> None:
    """Serves until a signal stops it. Flags override the environment, which overrides `.env`."""
    gc.disable()  # until the server is built: collections would take a tenth of the start
    if hasattr(signal, "SIGHUP"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])  # it waits until the server can reload its files
    from translation_server import dialect_command  # only now: a SIGHUP may come during these slow imports
    from translation_server.serving import serve

    parser = argparse.ArgumentParser(
        prog="translation-server",
        description="A stand-in for a slow, asynchronous job API.",
        epilog="Every setting is an environment variable or a line in .env; .env.example lists them. "
        "API_USERNAME and API_PASSWORD are required.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--completion", choices=SHELLS, help="print what a shell needs to complete this command")
    for flag, meaning in FLAGS.items():
        parser.add_argument(flag, help=meaning)
    dialect_command.add_to(parser)
    options = vars(parser.parse_args())
    if shell := options.pop("completion"):
        from translation_server.completion import completion

        sys.stdout.write(completion(parser, shell))
        return
    if run := options.pop("run", None):
        raise SystemExit(run(options.pop("names")))
    for setting, value in options.items():
        if value is not None:
            os.environ[setting.upper()] = value
    serve()


if __name__ == "__main__":
    main()
