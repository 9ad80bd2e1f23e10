"""The subcommand `report`."""

import re

from translation_client.cli.display import write, write_document
from translation_client.cli.errors import DONE, FAILED, UsageError
from translation_client.cli.options import Options, Parser
from translation_client.cli.sandbox import open_sandbox

FORMATS = {
    "text": ("text/plain", "^warning ", "^note "),
    "json": ("application/json", '"severity": ?"warning"', '"severity": ?"note"'),
    "junit": ("application/xml", "<failure ", "<system-out>"),
}
"""The media type of each format, and the patterns of a warning and of a note in it."""


def report(options: Options) -> int:
    """Prints the report card and returns the exit status that `--fail-on` asks for."""
    name = options.format or ("json" if options.json else "text")
    if options.json and name != "json":
        raise UsageError(f"--json and --format {name} exclude each other: give one of the two")
    media_type, warning, note = FORMATS[name]
    with open_sandbox(options) as sandbox:
        if name == "json":
            card = write_document(sandbox.report().raw, compact=options.json)
        else:
            card = sandbox.report_as(media_type).rstrip("\n")
            if name == "junit":
                card = "".join(char if char.isprintable() or char == "\n" else f"&#{ord(char)};" for char in card)
            write(*card.split("\n"))
    failing = {"never": (), "warnings": (warning,), "notes": (warning, note)}[options.fail_on]
    return FAILED if any(re.search(pattern, card, re.MULTILINE) for pattern in failing) else DONE


def add_grading(parser: Parser) -> None:
    """Adds the flags of `report`."""
    parser.add_argument(
        "--format", choices=("text", "json", "junit"), help="the card's format (default text, with --json json)"
    )
    parser.add_argument(
        "--fail-on", choices=("never", "warnings", "notes"), help="exit with 1 for such findings (default never)"
    )
