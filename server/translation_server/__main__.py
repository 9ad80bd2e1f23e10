"""`python -m translation_server`: the settings' most used as flags, everything else from the environment and `.env`."""

import argparse
import os
import signal

from translation_server.version import __version__

FLAGS = {
    "--host": "the address to listen on",
    "--port": "the port to listen on; 0 takes a free one",
    "--workers": "how many processes serve",
    "--database-url": "where jobs are kept: sqlite:///path/to/file or postgresql://user@host/name",
}


def main() -> None:
    """Serves until a signal ends it; a flag wins over the environment, which wins over `.env`."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to read again
    from translation_server.serving import serve  # noqa: PLC0415 - the import takes most of a second; a SIGHUP may come

    parser = argparse.ArgumentParser(
        prog="translation-server",
        description="A stand-in for a slow, asynchronous job API.",
        epilog="Every setting is an environment variable or a line in .env; .env.example lists them. "
        "API_USERNAME and API_PASSWORD are required.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    for flag, meaning in FLAGS.items():
        parser.add_argument(flag, help=meaning)
    for setting, value in vars(parser.parse_args()).items():
        if value is not None:
            os.environ[setting.upper()] = value
    serve()


if __name__ == "__main__":
    main()
